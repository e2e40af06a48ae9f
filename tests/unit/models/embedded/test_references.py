"""What "it" may stand for besides the image: where letters or a border may be meant, nothing is guessed."""

from __future__ import annotations

import pytest

from mira_batch.models.embedded.grammar.parse import InstructionUnclear, parse

DOUBTFUL = (
    "add a border and make it 20 px wide",
    "Add a white border. It should be 20 px wide.",
    "Put a frame around the picture; make it 5% bigger",
    "add a black border and make it a bit darker",
    'write "SALE" at the top and make it 20% bigger',
    'write "SALE" at the top, then make it 20% bigger',
    'Write "SALE" at the top. Make it a little darker.',
    'put "SALE" in the middle and blur it slightly',
    'add a watermark "ACME" and rotate it 45 degrees clockwise',
    'write "SALE" in white with a 2 px black border',
    'add the text "SALE" in white and a 3px black outline',
    'write "SALE" in red, on a white background',
    'write "SALE" in red letters with a white background',
    "frame it round",
    "Border: round",
    "touch up the brightness",
    "Please touch up the contrast.",
)
CLEAR = {
    "add a border, then rotate it 90 degrees clockwise": ["Border", "Rotate"],
    "add a 20 px border and resize the image to 50%": ["Border", "Scale"],
    "add a border and resize it to 800x600": ["Border", "Resize"],
    'write "SALE" at the top, then make it black and white': ["WriteText", "Grayscale"],
    'write "SALE" at the top and crop it square': ["WriteText", "CropRatio"],
    'write "SALE" at the top, then scale the image to 50%': ["WriteText", "Scale"],
    'write "SALE" at the top and add a 5 px black border around the image': ["WriteText", "Border"],
    '1. write "SALE" at the top\n2. make it 20% bigger': ["WriteText", "Scale"],
    "put a 5 px black border all round": ["Border"],
    "put a 4 px border round the image": ["Border"],
    "a touch brighter please": ["Brightness"],
    "add a border, then resize the photo so that its longest side is 800 px": ["Border", "ResizeSide"],
    'write "SALE" at the top and make this picture 20% bigger': ["WriteText", "Scale"],
}


@pytest.mark.parametrize("instruction", DOUBTFUL)
def test_where_two_things_may_be_meant_it_is_refused(instruction: str) -> None:
    with pytest.raises(InstructionUnclear):
        parse(instruction)


@pytest.mark.parametrize("instruction", CLEAR)
def test_what_can_only_be_the_image_is_done(instruction: str) -> None:
    assert [type(operation).__name__ for operation in parse(instruction)] == CLEAR[instruction]


@pytest.mark.parametrize("text", ["LINE ONE\nLINE TWO", "A\tB", "A   B"])
def test_a_text_is_written_as_it_is_or_not_at_all(text: str) -> None:
    with pytest.raises(InstructionUnclear):
        parse(f'write "{text}" at the top')


def test_a_no_break_space_in_a_text_is_a_space() -> None:
    (written,) = parse('write "10\u00a0EUR" at the top')
    assert "10 EUR" in str(written)
