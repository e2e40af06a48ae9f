"""The Pillow editor: one image or one error per request, whatever is asked."""

from __future__ import annotations

import PIL
from PIL import Image

from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.models.embedded.grammar.parse import RESTORE, parse
from mira_batch.models.embedded.pillow_editor import PillowEditor


def gradient(mode: str = "RGB") -> Frame:
    return frame_of(Image.radial_gradient("L").resize((60, 40)).convert(mode))


def request(instruction: str, image: Frame, original: Frame | None = None) -> EditRequest:
    return EditRequest("r", instruction, image, original or image, seed=1, step=0)


def edited(instruction: str, image: Frame, original: Frame | None = None) -> Image.Image:
    [outcome] = PillowEditor().apply([request(instruction, image, original)])
    assert isinstance(outcome, Image.Image), outcome
    return outcome


def test_it_carries_out_an_atomic_edit() -> None:
    image = gradient()
    [invert] = parse("invert it")
    assert edited(invert.describe(), image).tobytes() == invert.apply(image.pixels).tobytes()


def test_several_edits_are_carried_out_in_order() -> None:
    image = gradient()
    wanted = image.pixels
    for operation in parse("add a 5 px red border, then rotate it 90 degrees and blur it"):
        wanted = operation.apply(wanted)
    made = edited("Add a 5 px red border, then rotate it 90 degrees and blur it.", image)
    assert (made.size, made.tobytes()) == (wanted.size, wanted.tobytes())


def test_restoring_gives_the_original_and_not_the_same_object() -> None:
    original, current = gradient("RGBA"), gradient()
    for words in (RESTORE, "Restore the original image."):
        made = edited(words, current, original)
        assert frame_of(made).digest == original.digest
        assert made is not original.pixels


def test_edits_after_restoring_start_from_the_original() -> None:
    original, current = gradient(), frame_of(Image.new("RGB", (9, 9)))
    made = edited(f"{RESTORE}, then mirror it, then invert it", current, original)
    assert made.tobytes() == edited("mirror it, then invert it", original).tobytes()
    [unclear] = PillowEditor().apply([request(f"{RESTORE} to its frame", current, original)])
    assert isinstance(unclear, RecordError)


def test_bad_requests_fail_alone_in_their_slots() -> None:
    image = gradient()
    outcomes = PillowEditor().apply(
        [request(words, image) for words in ("mirror it", "remove the cat", "crop it to 161x10", "mirror it")]
    )
    first, unclear, wide, last = outcomes
    assert isinstance(first, Image.Image) and isinstance(last, Image.Image)
    assert first.tobytes() == last.tobytes()
    assert isinstance(unclear, RecordError) and "could not understand 'remove the cat'" in str(unclear)
    assert isinstance(wide, RecordError) and "60x40 pixels can't be cropped to 161x10" in str(wide)
    assert unclear.kind == wide.kind == ErrorKind.editor_failed


def test_the_input_is_never_changed_and_the_result_is_rgb_or_rgba() -> None:
    for mode in ("RGB", "RGBA"):
        image = gradient(mode)
        for words in ("invert it", 'write "hi"', "turn it sepia", "rotate it 10 degrees", "blur it"):
            assert edited(words, image).mode == mode
            assert frame_of(image.pixels).digest == image.digest


def test_the_identity_names_pillow_since_it_decides_the_pixels() -> None:
    editor = PillowEditor()
    assert f"pillow-{PIL.__version__}" in editor.identity
    assert editor.max_batch >= 1 and editor.bucket(request("mirror it", gradient())) is None
