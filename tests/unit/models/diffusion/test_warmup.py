"""The first call of a loaded pipeline, which a GPU makes at load: what it finds is said in one message.

Here it is made on the CPU, on tiny pipelines of the real classes.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from mira_batch.core.errors import ConfigError
from mira_batch.models.diffusion.speed import find_denoiser
from mira_batch.models.tiny.diffusion import PIPELINES
from tests.support.models import pipelines
from tests.support.models.pipelines import apart, request

pytestmark = pytest.mark.usefixtures("one_thread")
build = partial(pipelines.build, steps=3)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_that_works_is_warmed_up_and_leaves_nothing_behind(
    folders: dict[str, Path], name: str
) -> None:
    editor = build(folders, name, speed={"cache": "taylorseer"})
    (first,) = editor.apply([request(0)])
    seen: list[Any] = []
    hook = find_denoiser(editor._pipe).register_forward_pre_hook(lambda *_: seen.append(1))
    editor.warm_up()
    hook.remove()
    assert len(seen) == 2, "two steps, of however many there are"
    assert apart(first, editor.apply([request(0)])[0]) == 0


def test_it_is_not_made_at_load_on_a_cpu(folders: dict[str, Path]) -> None:
    assert build(folders)._finite == []


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
def test_two_steps_are_numbers_where_one_is_none(folders: dict[str, Path]) -> None:
    stretched = {"shift_terminal": 0.02}  # as Qwen-Image's is
    build(folders, scheduler=stretched).warm_up()
    with pytest.raises(ConfigError, match=r"editor\.dtype: .*NaN.*editor\.steps"):
        build(folders, scheduler=stretched, steps=1).warm_up()


def test_weights_that_overflow_name_the_dtype(folders: dict[str, Path]) -> None:
    editor = build(folders, dtype="float16")
    with torch.no_grad():
        editor._pipe.vae.decoder.conv_in.weight.mul_(60_000)
    with pytest.raises(ConfigError, match=r"editor\.dtype: in float16 .*NaN.*; take bfloat16 or float32"):
        editor.warm_up()


def test_activations_without_room_name_the_ways_out(folders: dict[str, Path]) -> None:
    editor = build(folders)
    editor._pipe.transformer.register_forward_pre_hook(lambda *_: torch.empty(10**15))
    with pytest.raises(
        ConfigError, match=r"editor\.weights: .* no room for one edit of 4,096 pixels"
    ) as caught:
        editor.warm_up()
    for way in ("editor.area", "offload: model", "policy.devices", "policy.gpu_memory_fraction"):
        assert way in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "suspects"),
    [
        ({}, r"see whether torch and diffusers were made for this GPU"),
        ({"speed": {"vae_tiling": True}}, r"try it without editor\.speed\.vae_tiling"),
        ({"options": {"max_sequence_length": 32}}, r"try it without editor\.options"),
    ],
)
def test_any_other_fault_names_what_may_be_to_blame(
    folders: dict[str, Path], settings: dict[str, Any], suspects: str
) -> None:
    editor = build(folders, **settings)
    with torch.no_grad():  # as a kernel that can't work with what it gets
        editor._pipe.transformer.proj_out.weight.data = torch.zeros(3, 3)
    with pytest.raises(
        ConfigError, match=rf"editor\.pipeline: the first call of .* on cpu failed: .*; {suspects}"
    ):
        editor.warm_up()
