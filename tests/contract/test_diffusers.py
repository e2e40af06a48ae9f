"""What the diffusers editor must do with every family of pipelines, on tiny ones of the real classes.

Images are compared in grey levels of 255. A batch against single calls may differ by one level: sums are
taken in another order (1e-6 in float32), which now and then tips a rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mira_batch.config.models.local import DiffusersConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest
from mira_batch.core.types import ErrorKind, Frame, Weights
from mira_batch.models.diffusion.editor import DiffusersEditor
from mira_batch.models.tiny.diffusion import PIPELINES

AREA = 64 * 64
PROMPTS = ["make the sky blue and remove the red car", "turn the dress green", "add a dog"]
every_family = pytest.mark.parametrize("name", PIPELINES)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def editors(folders: dict[str, Path]) -> Any:
    """An editor for each family, built once."""
    return lru_cache(lambda name: build(folders, name))


def build(folders: dict[str, Path], name: str, pipeline: str = "", **settings: Any) -> DiffusersEditor:
    if "Qwen" not in name and not pipeline:
        settings["options"] = {"max_sequence_length": 32} | settings.get("options", {})
    settings = {"dtype": "float32", "steps": 2, "area": AREA} | settings
    config = DiffusersConfig(
        type="diffusers", pipeline=pipeline or f"diffusers.{name}", weights=str(folders[name]), **settings
    )
    return DiffusersEditor(config, Weights(str(folders[name]), f"tiny/{name}"), "cpu")


def photo(number: int, size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Frame:
    """Blocks of colour, others for each number."""
    draw = np.random.default_rng(number)
    blocks = draw.integers(0, 256, (3, 4, len(mode)), dtype=np.uint8)
    return frame_of(Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST))


def request(number: int, **changes: Any) -> EditRequest:
    image = photo(number)
    fields = {"instruction": PROMPTS[number % 3], "image": image, "original": image, "seed": 100 + number}
    return EditRequest(record_id=f"r{number}", step=0, **fields | changes)


def pixels(image: Any) -> np.ndarray:
    return np.asarray(image, dtype=np.int16)


def apart(one: Any, other: Any) -> int:
    """The largest difference, in grey levels."""
    return int(np.abs(pixels(one) - pixels(other)).max())


def singly(editor: DiffusersEditor, requests: Sequence[EditRequest]) -> list[Any]:
    return [editor.apply([request])[0] for request in requests]


# Every family


@every_family
def test_an_edit_is_an_rgb_image_at_the_size_of_the_canvas(editors: Any, name: str) -> None:
    (image,) = editors(name).apply([request(0)])
    assert image.mode == "RGB"
    assert image.size in [(80, 48), (80, 64), (96, 32), (96, 64)], "not the pipelines' own 1024²"
    assert editors(name).bucket(request(0)) == image.size
    assert pixels(image).std() > 5, "an image of one gray would pass any comparison"


@every_family
def test_each_row_of_a_batch_has_its_own_image_and_prompt(editors: Any, name: str) -> None:
    editor = editors(name)
    requests = [request(number) for number in range(3)]
    together, alone = editor.apply(requests), singly(editor, requests)
    assert [apart(a, b) <= 1 for a, b in zip(together, alone, strict=True)] == [True] * 3
    # Both matter, or crossed wires would go unnoticed.
    other_image = [request(n, image=photo(n + 1), original=photo(n + 1)) for n in range(3)]
    other_prompt = [request(n, instruction=PROMPTS[(n + 1) % 3]) for n in range(3)]
    for changed in (other_image, other_prompt):
        moved = editor.apply(changed)
        assert min(apart(a, b) for a, b in zip(together, moved, strict=True)) > 3


@every_family
def test_neighbours_do_not_reach_a_record(editors: Any, name: str) -> None:
    editor = editors(name)
    first, *_ = editor.apply([request(0), request(1), request(2)])
    again, *_ = editor.apply([request(0), request(5), request(7)])
    if name == "FluxKontextPipeline":
        assert apart(first, again) == 0
    assert apart(first, again) <= 1


@every_family
def test_the_seed_decides_and_nothing_else_does(editors: Any, name: str) -> None:
    editor = editors(name)
    first, second, other = singly(editor, [request(0), request(0), request(0, seed=9)])
    assert apart(first, second) == 0
    assert apart(first, other) > 3
    huge = editor.apply([request(0, seed=2**64 - 1)])[0]
    assert huge.size == first.size


@every_family
def test_sizes_that_differ_are_not_stretched_to_the_first(editors: Any, name: str) -> None:
    editor = editors(name)
    tall = photo(4, (48, 90))
    requests = [request(0), request(1, image=tall, original=tall)]
    wide, upright = editor.apply(requests)
    assert wide.size[0] > wide.size[1]
    assert upright.size[0] < upright.size[1]
    assert apart(upright, editor.apply(requests[1:])[0]) == 0


@every_family
def test_the_canvas_is_held_for_the_whole_trajectory(editors: Any, name: str) -> None:
    editor = editors(name)
    first = request(0)
    frame = frame_of(editor.apply([first])[0])
    second = request(0, image=frame)
    assert editor.bucket(second) == editor.bucket(first)
    assert frame_of(editor.apply([second])[0]).size == frame.size


@every_family
def test_alpha_is_kept_apart_and_put_back(editors: Any, name: str) -> None:
    editor = editors(name)
    original = photo(6, mode="RGBA")
    (image,) = editor.apply([request(0, image=original, original=original)])
    assert image.mode == "RGB"
    restored = editor.restore(image, original.pixels)
    assert restored.size == original.size
    assert restored.getchannel("A").tobytes() == original.pixels.getchannel("A").tobytes()
    assert frame_of(original.pixels).digest == original.digest, "a request's image is never changed"


@every_family
def test_identity_names_what_decides_the_pixels(editors: Any, folders: dict[str, Path], name: str) -> None:
    editor = editors(name)
    libraries = ('"diffusers": "', '"transformers": "')
    for part in (name, f"tiny/{name}", '"steps": 2', f'"area": {AREA}', *libraries):
        assert part in editor.identity
    assert editor.identity != build(folders, name, steps=3).identity
    assert editor.identity == build(folders, name, max_batch=2, devices=("cpu",)).identity
    assert editor.apply([]) == []


# Single families


def test_authors_settings_are_taken_where_none_are_given(folders: dict[str, Path]) -> None:
    expected = {
        "FluxKontextPipeline": ('"guidance": 3.5', '"steps": 28'),
        "QwenImageEditPipeline": ('"guidance": 4.0', '"steps": 50'),
        "QwenImageEditPlusPipeline": ('"guidance": 4.0', '"steps": 40'),
        "Flux2KleinPipeline": ('"guidance": 1.0', '"steps": 4'),
    }
    for name, settings in expected.items():
        identity = build(folders, name, steps=None).identity
        assert all(setting in identity for setting in settings), identity


def test_kontext_sees_its_image_at_the_size_of_the_canvas(editors: Any) -> None:
    editor = editors("FluxKontextPipeline")
    shapes: list[Any] = []
    hook = editor._pipe.vae.encoder.register_forward_pre_hook(lambda _, x: shapes.append(x[0].shape))
    (image,) = editor.apply([request(0)])
    hook.remove()
    assert [tuple(shape) for shape in shapes] == [(1, 3, *image.size[::-1])]


@pytest.mark.parametrize("name", ["QwenImageEditPipeline", "QwenImageEditPlusPipeline"])
def test_the_text_encoder_knows_where_in_the_picture_a_token_is(editors: Any, name: str) -> None:
    editor = editors(name)
    places: list[Any] = []
    hook = editor._pipe.text_encoder.model.language_model.register_forward_pre_hook(
        lambda _, __, options: places.append(options["position_ids"]), with_kwargs=True
    )
    editor.apply([request(0)])
    hook.remove()
    # (time, height and width of each token): without M-RoPE there are none, and all three count alike.
    assert places
    assert all(ids is not None and not ids[-2].equal(ids[-1]) for ids in places)


@pytest.mark.parametrize("name", ["QwenImageEditPipeline", "QwenImageEditPlusPipeline"])
def test_guidance_leads_away_from_the_negative_prompt(folders: dict[str, Path], name: str) -> None:
    plain = build(folders, name, guidance=1.0).apply([request(0)])[0]
    guided = build(folders, name, guidance=4.0).apply([request(0)])[0]
    other = build(folders, name, guidance=4.0, negative_prompt="a dog").apply([request(0)])[0]
    assert apart(plain, guided) > 3
    assert apart(guided, other) > 0


def test_our_loop_gives_what_the_pipeline_itself_gives(editors: Any) -> None:
    """At one megapixel of reference, which the pipeline always takes; one step, since that is slow here."""
    import torch

    from mira_batch.models.diffusion.pipelines.batch import Batch, Settings
    from mira_batch.models.diffusion.pipelines.qwen_edit import edit

    pipe, image = editors("QwenImageEditPlusPipeline")._pipe, photo(3, (64, 64)).pixels
    batch = Batch([image], [PROMPTS[0]], [torch.Generator("cpu").manual_seed(5)])
    settings = Settings(steps=1, guidance=4.0, negative_prompt=" ", options={})
    with torch.inference_mode():
        ours = edit(pipe, batch, settings, seen_area=384 * 384, reference=(1024, 1024)).images[0]
        theirs = pipe(
            image=image,
            prompt=PROMPTS[0],
            negative_prompt=" ",
            generator=torch.Generator("cpu").manual_seed(5),
            height=64,
            width=64,
            num_inference_steps=1,
            true_cfg_scale=4.0,
        ).images[0]
    # They undo the latents' scale by dividing by its reciprocal, ours multiplies: the last bit may differ,
    # which now and then rounds to another grey level.
    assert apart(ours, theirs) <= 1
    assert (pixels(ours) != pixels(theirs)).mean() < 0.001


def test_where_attention_takes_no_mask_prompts_of_one_length_share_a_batch(editors: Any) -> None:
    editor = editors("QwenImageEditPlusPipeline")
    masked = DiffusersEditor.__new__(DiffusersEditor)
    masked.__dict__ |= vars(editor)
    from mira_batch.models.diffusion.editor import _make_prompt_counter

    config = editor._config.model_copy(
        update={"speed": editor._config.speed.model_copy(update={"attention": "sage"})}
    )
    masked._counter = _make_prompt_counter(editor._pipe, config, editor._family)
    assert editor.bucket(request(0)) == editor.bucket(request(1)) == editor.bucket(request(2))
    assert masked.bucket(request(0)) != masked.bucket(request(2))
    assert masked.bucket(request(0)) == masked.bucket(request(3))


@pytest.mark.parametrize(
    ("area", "most"), [(1024 * 1024, 1), (900_000, 1), (768 * 768, 4), (512 * 512, 8), (64 * 64, 8)]
)
def test_batches_are_large_where_they_pay(folders: dict[str, Path], area: int, most: int) -> None:
    assert build(folders, "FluxKontextPipeline", area=area).max_batch == most


# Faults of a record


def test_an_image_of_nan_fails_its_record_alone(folders: dict[str, Path]) -> None:
    editor = build(folders, "FluxKontextPipeline")

    def broken(_: Any, __: Any, decoded: Any) -> Any:
        decoded = decoded.clone()
        decoded[1, 0, 5, 5] = float("nan")
        return decoded

    good = editor.apply([request(0), request(1), request(2)])
    editor._pipe.vae.decoder.register_forward_hook(broken)
    first, second, third = editor.apply([request(0), request(1), request(2)])
    assert isinstance(second, RecordError)
    assert second.kind is ErrorKind.editor_failed
    assert "NaN" in str(second)
    assert apart(first, good[0]) == apart(third, good[2]) == 0
