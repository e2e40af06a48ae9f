"""The grammar on any operation and on any text."""

from __future__ import annotations

import re
from typing import get_args

from hypothesis import example, given
from hypothesis import strategies as st
from PIL import ImageColor

from mira_batch.models.embedded.grammar.parse import InstructionUnclear, parse
from mira_batch.models.embedded.operations import colour, geometry
from mira_batch.models.embedded.operations.operation import Operation, name_colour
from mira_batch.models.embedded.operations.text import MAX_TEXT, Position, Size, WriteText


def decimals(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers of at most three decimals, ends included."""
    return st.integers(round(low * 1000), round(high * 1000)).map(lambda n: n / 1000)


PIXELS = st.integers(1, 100_000)
COLOURS = st.one_of(
    st.sampled_from(sorted(ImageColor.colormap)),
    st.integers(0, 0xFFFFFF).map(lambda n: f"#{n:06x}"),
).map(name_colour)
CHANGE = decimals(-100, 400)
TEXT = (
    st.text(
        st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=MAX_TEXT
    )
    .map(lambda text: " ".join(text.split()))
    .filter(lambda text: bool(text) and text.isprintable())
)
PX_SIDES = st.tuples(*[st.integers(0, 5_000)] * 4).filter(any).map(lambda s: geometry.CropSides(*s))
PERCENT_SIDES = (
    st.tuples(*[decimals(0, 49.9)] * 4).filter(any).map(lambda s: geometry.CropSides(*s, unit="%"))
)
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(geometry.Rotate, decimals(-179.999, 180), st.none() | COLOURS),
    st.builds(geometry.Flip, st.sampled_from(["horizontal", "vertical"])),
    st.builds(geometry.CropSize, PIXELS, PIXELS),
    st.builds(geometry.CropRatio, decimals(0.001, 10_000), decimals(0.001, 10_000)),
    PX_SIDES,
    PERCENT_SIDES,
    st.builds(geometry.Resize, PIXELS, st.none() | PIXELS),
    st.builds(geometry.Resize, st.none(), PIXELS),
    st.builds(geometry.ResizeSide, PIXELS, st.sampled_from(["longest", "shortest"])),
    st.builds(geometry.Scale, decimals(0.001, 10_000)),
    st.builds(geometry.PadSquare, COLOURS),
    st.builds(geometry.Fit, PIXELS, PIXELS, COLOURS),
    st.builds(geometry.Border, PIXELS, st.just("px"), COLOURS),
    st.builds(geometry.Border, decimals(0.001, 100), st.just("%"), COLOURS),
    st.sampled_from([colour.Grayscale(), colour.Sepia(), colour.Invert(), colour.Autocontrast()]),
    st.builds(colour.Brightness, CHANGE),
    st.builds(colour.Contrast, CHANGE),
    st.builds(colour.Saturation, CHANGE),
    st.builds(colour.Blur, decimals(0.001, 500)),
    st.builds(colour.Sharpen, decimals(1, 500)),
    st.builds(colour.Tint, COLOURS, decimals(0.001, 100)),
    st.builds(colour.Posterize, st.integers(2, 64)),
    st.builds(colour.Flatten, COLOURS),
    st.builds(
        WriteText,
        TEXT,
        st.sampled_from(get_args(Position)),
        COLOURS,
        st.sampled_from(get_args(Size)),
        st.booleans(),
    ),
)
JOINTS = st.sampled_from([", then ", "; ", "\n", ". ", ", ", " and ", " & "])
VOCABULARY = """rotate 90 degrees clockwise left crop off 10% 20 px square and , ; then make it black white
    red border "SALE" bottom right corner twice as large resize to by 640x480 16:9 turn gray increase contrast
    brightness not without #ff8800 - ( ) 1. blur tint a lot half side every transparent background flatten"""
WORDS = st.sampled_from(VOCABULARY.split())


@given(OPERATIONS)
@example(WriteText("0", "top left", "springgreen", "medium"))
@example(geometry.Rotate(-0.001))
def test_every_operation_reads_back_from_its_own_sentence(operation: Operation) -> None:
    assert parse(operation.describe()) == (operation,)


@given(st.lists(OPERATIONS, min_size=1, max_size=5), st.data())
def test_sentences_may_be_joined_in_any_usual_way(operations: list[Operation], data: st.DataObject) -> None:
    text = operations[0].describe()
    for operation in operations[1:]:
        text += data.draw(JOINTS) + operation.describe()
    assert parse(text) == tuple(operations)


UNDERSTOOD = (
    "rotate it 31 degrees clockwise with a red background",
    "crop 11% off the left and 23% off the top",
    "crop it to 16:10, then resize it to 647x413",
    "make it 811 px wide and mirror it",
    "shrink it by 13%, raise the contrast by 17% and the brightness by 19%",
    "make it 21% brighter and 7% more saturated",
    "please put a 14 px navy border around it",
    'write "Lot 12" in large red letters in the top left corner',
    "fit it into 911x613 with a #336699 background",
    "tint it orange by 33%, then sharpen it by 44%",
    "blur it with a radius of 6 px and posterize it to 9 levels",
    "The photo is too dark, brighten it by 29%",
    "Border: 18 px white; Contrast: +8%",
    "flatten it onto ivory, pad it to a square with black",
)
NUMBERS = (
    "37",
    "3.7",
    "37%",
    "37 px",
    "37°",
    "-37",
    "+37%",
    "1:9",
    "371x373",
    "#123456",
    "seven",
    "two thirds",
)
VERBS = (
    "rotate",
    "crop",
    "resize",
    "blur",
    "invert",
    "mirror",
    "sharpen",
    "remove",
    "write",
    "tint",
    "undo",
)
DOUBTS = (
    "not",
    "don't",
    "without",
    "except",
    "unless",
    "if",
    "or",
    "never",
    "no",
    '"SALE"',
    "crimson",
    "sky",
)


@given(st.sampled_from(UNDERSTOOD), st.sampled_from((*NUMBERS, *VERBS, *DOUBTS)), st.data())
def test_no_number_verb_colour_or_negation_is_passed_over(
    instruction: str, more: str, data: st.DataObject
) -> None:
    """One more word, anywhere: the instruction is refused, or it means something else."""
    words = re.findall(r'"[^"]*"|\S+', instruction)
    at = data.draw(st.integers(0, len(words)))
    try:
        changed = parse(" ".join([*words[:at], more, *words[at:]]))
    except InstructionUnclear:
        return
    assert changed != parse(instruction)


@given(st.sampled_from(UNDERSTOOD), st.data())
def test_every_number_of_an_instruction_is_in_its_edits(instruction: str, data: st.DataObject) -> None:
    """Another number in its place makes another edit."""
    numbers = list(re.finditer(r"(?<![\w#])\d+", instruction))
    if numbers:
        number = data.draw(st.sampled_from(numbers))
        other = str(int(number[0]) + data.draw(st.integers(1, 3)))
        changed = parse(instruction[: number.start()] + other + instruction[number.end() :])
        assert changed != parse(instruction)


@given(st.one_of(st.text(max_size=300), st.lists(WORDS, max_size=25).map(" ".join)))
def test_any_text_gives_operations_or_says_what_is_unclear(text: str) -> None:
    try:
        operations = parse(text)
    except InstructionUnclear as unclear:
        assert unclear.words in text
        return
    assert operations
    for operation in operations:
        assert parse(operation.describe()) == (operation,)
