"""Edits that look at the image: fitting it into a size, and what an image has no room for."""

from __future__ import annotations

import pytest
from PIL import Image

from mira_batch.core.actions import parse_action
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, JudgeRequest, PolicyRequest
from mira_batch.core.types import Edit, ErrorKind, Frame
from mira_batch.models.embedded.grammar.parse import parse
from mira_batch.models.embedded.operations.geometry import Fit
from mira_batch.models.embedded.operations.operation import NotForThisImage
from mira_batch.models.embedded.pillow_editor import PillowEditor
from mira_batch.models.embedded.rules_judge import RulesJudge
from mira_batch.models.embedded.rules_policy import RulesPolicy

RED, NAVY = (255, 0, 0), (0, 0, 128)


def opaque(mode: str = "RGB") -> Frame:
    return frame_of(Image.new(mode, (40, 20), "red"))


def cut_out() -> Frame:
    image = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    image.paste((*RED, 255), (10, 5, 30, 15))
    return frame_of(image)


def propose(instruction: str, original: Frame) -> Edit | Exception:
    (answer,) = RulesPolicy().propose([PolicyRequest("r", instruction, original, original, (), 0)])
    if isinstance(answer, Exception):
        return answer
    action = parse_action(answer)
    assert isinstance(action, Edit), "it stops, having done nothing"
    return action


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((80, 80), (0, 20, 80, 60)),  # up
        ((20, 20), (0, 5, 20, 15)),  # down
        ((40, 21), (0, 0, 40, 20)),  # as it is
        ((100, 20), (30, 0, 70, 20)),
        ((3, 50), (0, 24, 3, 26)),
    ],
)
def test_fit_scales_the_whole_image_and_pads_it_in_the_centre(
    size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    made = Fit(*size, "navy").apply(opaque().pixels)
    assert made.size == size
    for x in range(size[0]):
        for y in range(size[1]):
            inside = box[0] <= x < box[2] and box[1] <= y < box[3]
            assert made.getpixel((x, y)) == (RED if inside else NAVY), (x, y)


def test_fit_keeps_an_image_of_that_ratio_whole_and_its_transparency() -> None:
    made = Fit(80, 40, "navy").apply(cut_out().pixels)
    assert made.size == (80, 40) and made.getpixel((0, 0)) == (0, 0, 0, 0)
    padded = Fit(80, 60, "navy").apply(cut_out().pixels)
    assert padded.getpixel((0, 0)) == (*NAVY, 255) and padded.getpixel((0, 30)) == (0, 0, 0, 0)
    assert padded.getpixel((40, 30)) == (*RED, 255)


def test_fit_never_loses_a_thin_image() -> None:
    assert Fit(10, 10).apply(Image.new("RGB", (5_000, 1), "red")).getpixel((5, 4)) == RED


WISHES = ["white background please", "put it on white", "Add a white background", "Background: white"]


@pytest.mark.parametrize("instruction", WISHES)
def test_a_background_comes_behind_what_is_transparent(instruction: str) -> None:
    answer = propose(instruction, cut_out())
    assert isinstance(answer, Edit)
    assert answer.instruction == "flatten the transparent areas of the image onto white"
    (made,) = PillowEditor().apply([EditRequest("r", instruction, cut_out(), cut_out(), 0, 0)])
    assert isinstance(made, Image.Image) and made.mode == "RGB"
    assert (made.getpixel((0, 0)), made.getpixel((20, 10))) == ((255, 255, 255), RED)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("instruction", WISHES)
def test_an_opaque_image_has_no_room_for_a_background(instruction: str, mode: str) -> None:
    image = opaque(mode)
    answer = propose(instruction, image)
    assert isinstance(answer, RecordError) and answer.kind == ErrorKind.instruction_unclear
    assert "no transparent parts" in str(answer) and "can't cut things out" in str(answer)
    (judged,) = RulesJudge().score([JudgeRequest("r", instruction, image, image, "")])
    assert isinstance(judged, RecordError) and judged.kind == ErrorKind.instruction_unclear
    (edited,) = PillowEditor().apply([EditRequest("r", instruction, image, image, 0, 0)])
    assert isinstance(edited, RecordError) and "no transparent parts" in str(edited)


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ('write "É"', "the embedded font has no 'É', only unaccented letters and common signs"),
        ("crop it to 50x10 px", "an image of 40x20 pixels can't be cropped to 50x10"),
        ("trim 100 px off the left", "this would give an image of -60x20 pixels; each side needs at least 1"),
    ],
)
def test_what_cannot_be_made_of_an_image_is_said_in_words_alone(instruction: str, words: str) -> None:
    answer = propose(instruction, opaque())
    assert isinstance(answer, RecordError) and (answer.kind, str(answer)) == ("instruction_unclear", words)
    image = opaque()
    (edited,) = PillowEditor().apply([EditRequest("r", instruction, image, image, 0, 0)])
    assert isinstance(edited, RecordError) and (edited.kind, str(edited)) == ("editor_failed", words)


def test_flattening_an_opaque_image_changes_nothing() -> None:
    (flatten,) = parse("flatten it onto white")
    assert flatten.apply(opaque().pixels).tobytes() == opaque().pixels.tobytes()


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("shrink it to 50 px wide", "40x20 pixels; it can't be reduced to 50x25"),
        ("scale it down to 50x10", "can't be reduced to 50x10"),
        ("bring the longest side down to 80 px", "can't be reduced to 80x40"),
        ("enlarge it to a height of 10 px", "can't be enlarged to 20x10"),
        ("upscale it to 30x30", "can't be enlarged to 30x30"),
    ],
)
def test_to_shrink_never_enlarges_nor_the_reverse(instruction: str, message: str) -> None:
    (operation,) = parse(instruction)
    with pytest.raises(NotForThisImage, match=message):
        operation.apply(opaque().pixels)
    answer = propose(instruction, opaque())
    assert isinstance(answer, RecordError) and answer.kind == ErrorKind.instruction_unclear


@pytest.mark.parametrize(
    ("instruction", "size"),
    [
        ("shrink it to 20 px wide", (20, 10)),
        ("reduce it to a height of 20 px", (40, 20)),
        ("enlarge it to 80x20", (80, 20)),
        ("bring the longest side up to 60 px", (60, 30)),
        ("resize it to 60 px wide", (60, 30)),
    ],
)
def test_sizes_that_go_the_way_that_was_said(instruction: str, size: tuple[int, int]) -> None:
    (operation,) = parse(instruction)
    assert operation.apply(opaque().pixels).size == size
