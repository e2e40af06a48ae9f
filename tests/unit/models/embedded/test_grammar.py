"""What people write, and the operations it means."""

from __future__ import annotations

import json
import pickle
import time

import pytest

from mira_batch.models.embedded.grammar.parse import MAX_EDITS, MAX_INSTRUCTION, InstructionUnclear, parse
from mira_batch.models.embedded.operations.colour import (
    Autocontrast,
    Blur,
    Brightness,
    Contrast,
    Flatten,
    Grayscale,
    Invert,
    Posterize,
    Saturation,
    Sepia,
    Sharpen,
    Tint,
)
from mira_batch.models.embedded.operations.geometry import (
    Border,
    CropRatio,
    CropSides,
    CropSize,
    Flip,
    PadSquare,
    Resize,
    ResizeSide,
    Rotate,
    Scale,
)
from mira_batch.models.embedded.operations.operation import Operation
from mira_batch.models.embedded.operations.text import WriteText
from tests.support import ROOT

SAMPLE = ROOT / "configs" / "sample" / "manifest.jsonl"
MIRROR, UPEND = Flip("horizontal"), Flip("vertical")

ONE_EDIT: list[tuple[str, Operation]] = [
    ("turn it upside down", Rotate(180)),
    ("Rotate the image 90 degrees clockwise.", Rotate(90)),
    ("rotate left", Rotate(-90)),
    ("rotate it to the right by 90", Rotate(90)),
    ("Could you rotate it 90° counter-clockwise?", Rotate(-90)),
    ("turn the photo a quarter turn anticlockwise", Rotate(-90)),
    ("give it a half turn", Rotate(180)),
    ("rotate 450 degrees", Rotate(90)),
    ("rotate -30 degrees", Rotate(-30)),
    ("rotate by forty-five degrees with a light blue background", Rotate(45, "lightblue")),
    ("rotate 10.5° to the left, fill the corners with black", Rotate(-10.5, "black")),
    ("mirror", MIRROR),
    ("flip it horizontally", MIRROR),
    ("make a mirror image", MIRROR),
    ("flip the picture upside down", UPEND),
    ("flip top to bottom", UPEND),
    ("crop it square", CropRatio(1, 1)),
    ("crop to a 4:5 aspect ratio", CropRatio(4, 5)),
    ("crop it to a centred 300 x 300 square", CropSize(300, 300)),
    ("crop to 640×480 px", CropSize(640, 480)),
    ("crop the central 80%", CropSides(10, 10, 10, 10, "%")),
    ("crop 10% off the left and 20% off the right", CropSides(left=10, right=20, unit="%")),
    ("trim the left by 20 px and the top and bottom by 10 px", CropSides(20, 10, 0, 10)),
    ("cut 20 pixels off all four sides", CropSides(20, 20, 20, 20)),
    ("resize it to 640 by 480", Resize(640, 480)),
    ("make it 300 px wide and 200 px high", Resize(300, 200)),
    ("scale it to 1,200 px wide, keeping the aspect ratio", Resize(width=1200)),
    ("reduce it to a height of 200 pixels", Resize(height=200)),
    ("resize so that the longest side is 512 px", ResizeSide(512)),
    ("make the shorter edge 256 pixels", ResizeSide(256, "shortest")),
    ("make it twice as large", Scale(200)),
    ("double the size", Scale(200)),
    ("shrink to 50%", Scale(50)),
    ("shrink it by 20 %", Scale(80)),
    ("make the image 50% larger", Scale(150)),
    ("make it 2 times smaller", Scale(50)),
    ("half the size, please", Scale(50)),
    ("reduce it by half", Scale(50)),
    ("pad to a square with a white background", PadSquare()),
    ("pad the image to a square, dark green", PadSquare("darkgreen")),
    ("put a 12 px red border around it", Border(12, "px", "red")),
    ("give it a thick #ff8800 frame", Border(24, "px", "#ff8800")),
    ("add 20px of white padding on all sides", Border(20, "px", "white")),
    ("add a border, 5 %, #F00", Border(5, "%", "red")),
    ("add some white space around it", Border(5, "%", "white")),
    ("make it black and white", Grayscale()),
    ("B&W please", Grayscale()),
    ("turn it grey", Grayscale()),
    ("convert to gray scale", Grayscale()),
    ("desaturate", Grayscale()),
    ("Remove all the colour!", Grayscale()),
    ("apply a sepia filter", Sepia()),
    ("give it a sepia tone", Sepia()),
    ("invert the colours", Invert()),
    ("turn it into a negative", Invert()),
    ("brighten by 20%", Brightness(20)),
    ("make it a bit brighter", Brightness(15)),
    ("make it much darker", Brightness(-50)),
    ("turn the brightness down by 10 percent", Brightness(-10)),
    ("set the brightness to 120%", Brightness(20)),
    ("brightness -20%", Brightness(-20)),
    ("make it half as bright", Brightness(-50)),
    ("increase the contrast", Contrast(25)),
    ("give it more contrast", Contrast(25)),
    ("lower the contrast by 15", Contrast(-15)),
    ("reduce the contrast to 80%", Contrast(-20)),
    ("make it 20% less saturated", Saturation(-20)),
    ("desaturate slightly", Saturation(-15)),
    ("make the colours twice as vivid", Saturation(100)),
    ("boost the saturation a lot", Saturation(50)),
    ("blur it", Blur(4)),
    ("apply a Gaussian blur with a radius of 2.5", Blur(2.5)),
    ("make it slightly blurry", Blur(1.5)),
    ("sharpen the photo by 200%", Sharpen(200)),
    ("make it a little sharper", Sharpen(80)),
    ("tint it #ff8800 at 30%", Tint("#ff8800", 30)),
    ("give it a strong blue tint", Tint("blue", 70)),
    ('add the text "SALE" in the bottom right corner', WriteText("SALE", "bottom right")),
    ('caption: "Hello, you and me; then rotate"', WriteText("Hello, you and me; then rotate")),
    (r'write "say \"hi\"" in the middle', WriteText('say "hi"', "center")),
    (
        "write 'it's mine' in large yellow letters at the top",
        WriteText("it's mine", "top", "yellow", "large"),
    ),
    ("put the watermark “© me” in the lower left", WriteText("© me", "bottom left", faint=True)),
    ('watermark it with "draft"', WriteText("draft", "bottom right", faint=True)),
    ("flatten the transparent background onto white", Flatten()),
    ("make the transparent areas navy", Flatten("navy")),
    ("posterise to four levels", Posterize(4)),
    ("posterize", Posterize()),
    ("auto-contrast", Autocontrast()),
]

SEVERAL: list[tuple[str, tuple[Operation, ...]]] = [
    (
        "rotate it a quarter turn clockwise, then make it black and white and put a 12 px red border around",
        (Rotate(90), Grayscale(), Border(12, "px", "red")),
    ),
    (
        'Mirror the photo, crop it square; brighten by 20% & add the text "SALE" in the bottom right corner',
        (MIRROR, CropRatio(1, 1), Brightness(20), WriteText("SALE", "bottom right")),
    ),
    ("1. Rotate it by 90°\n2. mirror it\n3) blur it", (Rotate(90), MIRROR, Blur(4))),
    ("- mirror it\n- invert it", (MIRROR, Invert())),
    ("Step 1: mirror. Step 2: invert.", (MIRROR, Invert())),
    ("Do the following: first blur it, next sharpen it; finally mirror it.", (Blur(4), Sharpen(150), MIRROR)),
    ("blur (radius 5) then mirror, followed by sepia", (Blur(5), MIRROR, Sepia())),
    ("increase brightness and contrast by 20%", (Brightness(20), Contrast(20))),
    ("increase the contrast by 10% and the brightness by 20%", (Contrast(10), Brightness(20))),
    ("raise the contrast by 10%, lower the brightness by 20%", (Contrast(10), Brightness(-20))),
    ("brightness -20%, contrast +10%", (Brightness(-20), Contrast(10))),
    ("flip it both horizontally and vertically", (MIRROR, UPEND)),
    ("rotate left and rotate right", (Rotate(-90), Rotate(90))),
    ("mirror it and mirror it", (MIRROR, MIRROR)),
    # None of these second edits may be taken for a part of the first.
    ("pad to a square and turn it gray", (PadSquare(), Grayscale())),
    ("mirror it and turn it upside down", (MIRROR, Rotate(180))),
    ("sharpen it and turn it by 90", (Sharpen(150), Rotate(90))),
    ("make it brighter, make it sharper", (Brightness(25), Sharpen(150))),
]

UNCLEAR = [
    ("remove the cat", "remove the cat"),
    ("Please remove the cat, then mirror it", "remove the cat"),
    ("mirror it and then remove the cat", "remove the cat"),
    ("make it black and white except the hat", "except the hat"),
    ("don't invert it", "don't invert it"),
    ("blur the background", "background"),
    ("mirror it, make the sky blue", "make the sky blue"),
    ("make the white background transparent", "transparent"),
    ("replace the white background with a transparent background", None),
    ("change the border to red", "change the border to red"),
    ("rotate it 90 or 180 degrees", "or 180 degrees"),
    ("rotate left rotate right", None),
    ("rotate it 90 degrees clockwise turn it gray", "turn it gray"),
    ("blur it twice", "twice"),
    ("mirror it, 3 times", "3 times"),
    ("crop to the left 20%", "crop to the left 20%"),
    ("reduce the width by 100 px", "reduce the width by 100 px"),
    ("resize to 512", "resize to 512"),
    ("resize it to 640x480, keeping the aspect ratio", None),
    ("flip it", "flip it"),
    ("rotate", "rotate"),
    ("make it blue", "make it blue"),
    ("write hello", "write hello"),
    ('write "hello', None),
    ('write "a" in the corner', None),
    ("brightness 20%", "brightness 20%"),
    ("decrease the brightness to 120%", None),
    ("brighten by 9000%", "brighten by 9000%"),
    ("blur by 0 pixels", "blur by 0 pixels"),
    ("rotate by 99999999999999999999 degrees", None),
    ("restore the original image", "restore the original image"),
]


@pytest.mark.parametrize(("instruction", "operation"), ONE_EDIT)
def test_one_edit_as_people_write_it(instruction: str, operation: Operation) -> None:
    assert parse(instruction) == (operation,)


@pytest.mark.parametrize(("instruction", "operations"), SEVERAL)
def test_several_edits_as_people_write_them(instruction: str, operations: tuple[Operation, ...]) -> None:
    assert parse(instruction) == operations


@pytest.mark.parametrize(("instruction", "words"), UNCLEAR)
def test_unclear_words_are_named_and_nothing_is_guessed(instruction: str, words: str | None) -> None:
    with pytest.raises(InstructionUnclear) as caught:
        parse(instruction)
    assert words is None or caught.value.words == words
    assert f"could not understand '{caught.value.words}'" in str(caught.value)
    assert caught.value.words in instruction


def test_the_message_says_what_would_be_understood() -> None:
    with pytest.raises(InstructionUnclear, match="understood are: rotate, mirror"):
        parse("remove the cat")
    with pytest.raises(InstructionUnclear, match="say horizontally or vertically"):
        parse("flip it")


@pytest.mark.parametrize("instruction", ["", "   \n", "please", "and, then;", "..."])
def test_an_instruction_without_an_edit_is_unclear(instruction: str) -> None:
    with pytest.raises(InstructionUnclear, match="it names no edit"):
        parse(instruction)


def test_length_and_number_of_edits_are_bounded() -> None:
    with pytest.raises(InstructionUnclear, match=f"at most {MAX_INSTRUCTION}"):
        parse("mirror it; " * 400)
    assert len(parse("mirror it; " * MAX_EDITS)) == MAX_EDITS
    with pytest.raises(InstructionUnclear, match=f"at most {MAX_EDITS}"):
        parse("mirror it; " * (MAX_EDITS + 1))


HOSTILE = [
    *(
        '"',
        '\\"',
        "“",
        "'",
        " '",
        "‘a’b",
        "1",
        "1 ",
        "1,111",
        "1:",
        "1x",
        "-",
        "=",
        "= ",
        " ",
        "\n",
        "\u0301",
    ),
    *(
        "a,",
        "and ",
        "blur, ",
        "blur, red, ",
        "rotate ",
        "red ",
        "light ",
        "10% off left ",
        "increase brightness, ",
    ),
    *('write "a", ', "(1) ", "step ", "#fff", "crop 1% left "),
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_costs_little(piece: str) -> None:
    text = (piece * MAX_INSTRUCTION)[:MAX_INSTRUCTION]
    started = time.process_time()
    with pytest.raises(InstructionUnclear):
        parse(text)
    assert time.process_time() - started < 1.0


def test_the_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(InstructionUnclear("the cat", "no cats")))
    assert (error.words, str(error)) == ("the cat", "could not understand 'the cat': no cats")


def test_every_sample_instruction_is_understood_and_together_they_use_every_operation() -> None:
    records = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    assert len(records) == len({r["record_id"] for r in records}) == 24
    used = [parse(r["instruction"]) for r in records]
    assert all(1 <= len(operations) <= 5 for operations in used)
    known = {type(operation) for _, operation in ONE_EDIT}
    assert {type(operation) for operations in used for operation in operations} == known
    assert all((SAMPLE.parent / r["image"]).is_file() for r in records)
