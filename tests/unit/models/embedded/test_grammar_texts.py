"""Which words are written that stand without quotes: only those in capitals that can be nothing else."""

from __future__ import annotations

import pytest

from mira_batch.models.embedded.grammar.parse import InstructionUnclear, parse
from mira_batch.models.embedded.operations.text import WriteText


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ("Text: HARVEST FAIR", "HARVEST FAIR"),
        ("Caption: LISBON 1974, top", "LISBON 1974"),
        ("Watermark: ©LINDQVIST", "©LINDQVIST"),
        ("watermark: NORTH-SEA 24", "NORTH-SEA 24"),
        ("add watermark PROVISIONAL top left", "PROVISIONAL"),
        ("Add Watermark PROVISIONAL Bottom Right", "PROVISIONAL"),
        ("add the text LINDQVIST & SONS in red", "LINDQVIST & SONS"),
        ("watermark it with PROVISIONAL please", "PROVISIONAL"),
        ('Watermark: "Keep"', "Keep"),
        ('Text: "Remove Background"', "Remove Background"),
    ],
)
def test_words_in_quotes_or_in_capitals_are_written(instruction: str, words: str) -> None:
    (edit,) = parse(instruction)
    assert isinstance(edit, WriteText)
    assert edit.text == words


@pytest.mark.parametrize(
    "instruction",
    [
        *(
            "Text: Erase",
            "Text: Take It Off",
            "Watermark: Leave",
            "Watermark: The Usual",
            "Caption: Too Small",
        ),
        *("Caption: Green Sofa", "Text: Black Italic", "Caption: Lisbon 1974", "Watermark: Lindqvist & Sons"),
        *("add the text Put Slogan Here", "add a watermark Shop Name", "watermark it with Lindqvist"),
        *("Text: Blue", "Text: sharpen", "Text: Sepia", "Text: Crop It Square. Sharpen it"),
        *("watermark it with lindqvist.example.com", "Watermark: www.lindqvist.example/mark.png"),
        *("Text: REMOVE", "Text: NONE", "Watermark: NO", "Watermark: KEEP", "Text: DELETE", "Watermark: YES"),
        *(
            "Text: N/A",
            "Text: TBD",
            "Watermark: OUR LOGO",
            "Text: LEAVE LOGO",
            "Text: SEPIA",
            "Text: TOP LEFT",
        ),
        *("TEXT: HARVEST FAIR", "TEXT: LEAVE IT", "WATERMARK: PROVISIONAL; CROP: 1:1"),
        *("Text: HARVEST!", "Text: HARVEST/FAIR", "Text: HARVEST, TOP", "Text: DR. LIND", "Text: HARVEST 5%"),
        *("add the text HARVEST and NOW", "Text: HARVEST for our shop", "Text: HARVEST (TOP)"),
        *("Size: 90x60; Watermark: Leave; Contrast: +10%", "Crop: 1:1; Text: Erase All; Border: 5 px white"),
    ],
)
def test_other_words_want_quotes(instruction: str) -> None:
    with pytest.raises(InstructionUnclear, match="put the text in quotes"):
        parse(instruction)
