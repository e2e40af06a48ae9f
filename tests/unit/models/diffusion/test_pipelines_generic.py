"""Classes that nothing is known of go through one plain call, Step1X-Edit's fork through one of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mira_batch.config.models.local import DiffusersConfig
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest
from mira_batch.core.types import Weights
from mira_batch.models.diffusion.canvas import choose_canvas
from mira_batch.models.diffusion.editor import DiffusersEditor
from mira_batch.models.diffusion.pipelines.step1x import STEP1X as STEP1X_FAMILY
from mira_batch.models.diffusion.pipelines.step1x import compute_size_level
from mira_batch.models.diffusion.speed import check_speed
from tests.support.models.step1x import generated_size

KONTEXT, PLUS = "FluxKontextPipeline", "QwenImageEditPlusPipeline"
STEP1X = "tests.support.models.step1x.Step1XEditPipelineV1P2"


pytestmark = pytest.mark.usefixtures("one_thread")


def build(folders: dict[str, Path], name: str, pipeline: str, **settings: Any) -> DiffusersEditor:
    settings = {"dtype": "float32", "steps": 2, "area": 4096} | settings
    config = DiffusersConfig(type="diffusers", pipeline=pipeline, weights=str(folders[name]), **settings)
    return DiffusersEditor(config, Weights(str(folders[name]), name), "cpu")


def request(number: int) -> EditRequest:
    blocks = np.random.default_rng(number).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    image = frame_of(Image.fromarray(blocks).resize((80, 60), Image.Resampling.NEAREST))
    return EditRequest(f"r{number}", f"turn number {number} blue", image, image, number, 0)


def apart(one: Any, other: Any) -> int:
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


def test_step1x_is_called_once_for_each_request_and_does_not_judge_itself(folders: dict[str, Path]) -> None:
    editor = build(folders, KONTEXT, STEP1X)
    assert editor.max_batch == 1
    assert '"guidance": 6.0' in editor.identity
    runs: list[int] = []
    editor._pipe.vae.decoder.register_forward_pre_hook(lambda *_: runs.append(1))
    requests = [request(0), request(1)]
    images = editor.apply(requests)
    assert len(runs) == 2, "with a look back at its result it would run up to three times for each"
    assert [image.size for image in images] == [editor.bucket(r) for r in requests]
    assert apart(images[1], editor.apply(requests[1:])[0]) == 0


def test_step1x_edits_at_the_size_of_the_canvas(folders: dict[str, Path]) -> None:
    editor = build(folders, KONTEXT, STEP1X)
    seen: list[Any] = []
    vae = editor._pipe.vae
    vae.encoder.register_forward_pre_hook(lambda _, x: seen.append(tuple(x[0].shape[2:])))
    vae.decoder.register_forward_hook(lambda _, __, pixels: seen.append(tuple(pixels.shape[2:])))
    (image,) = editor.apply([request(0)])
    assert seen == [image.size[::-1]] * 2, "left alone it edits at 1024² and makes the result smaller"
    with pytest.raises(ConfigError, match=r"editor\.options: size_level follows from editor\.area"):
        build(folders, KONTEXT, STEP1X, options={"size_level": 512})


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.sampled_from([4096, 512 * 512, 1024 * 1024]))
def test_any_canvas_is_one_of_step1x_own_sizes(width: int, height: int, area: int) -> None:
    size = choose_canvas((width, height), area, STEP1X_FAMILY.multiple)
    assert generated_size(size, compute_size_level(size)) == size


def test_step1x_cannot_move_its_weights_part_by_part(folders: dict[str, Path]) -> None:
    settings = {"type": "diffusers", "pipeline": STEP1X, "weights": str(folders[KONTEXT])}
    by_layer, by_part = (DiffusersConfig(**settings, offload=way) for way in ("sequential", "model"))
    check_speed(by_layer, STEP1X_FAMILY, torch.device("cuda"))
    with pytest.raises(ConfigError, match=r"editor\.offload: model can't be used .* none or sequential"):
        check_speed(by_part, STEP1X_FAMILY, torch.device("cuda"))


def test_step1x_may_look_back_if_it_is_asked_to(folders: dict[str, Path]) -> None:
    editor = build(
        folders,
        KONTEXT,
        STEP1X,
        options={"enable_reflection_mode": True, "max_try_cnt": 2},
    )
    (image,) = editor.apply([request(0)])
    assert isinstance(image, Image.Image)


def test_nested_lists_of_images_are_read_too(folders: dict[str, Path]) -> None:
    editor = build(folders, KONTEXT, "tests.support.models.step1x.Nested")
    images = editor.apply([request(0), request(1)])
    assert [image.size for image in images] == [editor.bucket(request(0))] * 2


def test_an_option_that_a_call_does_not_take_is_named(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"editor\.options: strenght can't be given"):
        build(folders, KONTEXT, f"diffusers.{KONTEXT}", options={"strenght": 1})
    with pytest.raises(ConfigError, match=r"editor\.options: sigmas: Qwen"):
        build(folders, PLUS, f"diffusers.{PLUS}", options={"sigmas": [1.0]})


def test_a_class_that_takes_lists_may_be_told_to(folders: dict[str, Path]) -> None:
    together = build(folders, KONTEXT, "tests.support.models.step1x.Lists", batching="per_sample")
    alone = build(folders, KONTEXT, "tests.support.models.step1x.Lists")
    assert (together.max_batch, alone.max_batch) == (8, 1)
    requests = [request(0), request(1)]
    for one, other in zip(together.apply(requests), alone.apply(requests), strict=True):
        assert apart(one, other) <= 1


def test_shared_references_of_an_unknown_class_are_never_batched(folders: dict[str, Path]) -> None:
    assert build(folders, KONTEXT, "tests.support.models.step1x.Lists", batching="shared_refs").max_batch == 1


def test_a_known_class_may_be_told_to_take_one_request_a_call(folders: dict[str, Path]) -> None:
    editor = build(folders, KONTEXT, f"diffusers.{KONTEXT}", batching="none")
    assert editor.max_batch == 1
    assert len(editor.apply([request(0), request(1)])) == 2


def test_an_image_that_a_safety_checker_blackened_fails_its_record(folders: dict[str, Path]) -> None:
    editor = build(folders, KONTEXT, "tests.support.models.step1x.Prudish")
    bad, good = editor.apply([request(0), request(1)])
    assert isinstance(bad, RecordError)
    assert "safety checker" in str(bad)
    assert isinstance(good, Image.Image)


def test_a_class_that_takes_no_image_is_no_editor(folders: dict[str, Path]) -> None:
    with pytest.raises(ConfigError, match=r"takes no image: it is no editor"):
        build(folders, KONTEXT, "tests.support.models.step1x.Painter")
