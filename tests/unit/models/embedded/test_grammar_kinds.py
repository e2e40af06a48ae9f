"""The kinds of instruction that once gave a wrong edit without a word: now it is right, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch.models.embedded.grammar import framing
from mira_batch.models.embedded.grammar.parse import InstructionUnclear, parse
from mira_batch.models.embedded.grammar.vocabulary import LEXICON, SPELLER

DICTIONARY = Path("/usr/share/dict/american-english")

SQUARE = "crop the image to the aspect ratio 1:1"
GRAY = "make the image black and white"
RIGHT = "rotate the image 90 degrees clockwise"
LEFT = "rotate the image 90 degrees counterclockwise"
MIRROR = "mirror the image horizontally"
INVERT = "invert the colors of the image"

UNDERSTOOD: dict[str, list[tuple[str, list[str]]]] = {
    "a description that is a whole sentence is no edit": [
        ("The shot is too bright, please darken it by 10%", ["decrease the brightness of the image by 10%"]),
        ("The scan is sideways. Rotate it 90 degrees clockwise.", [RIGHT]),
        ("It's blurred, so sharpen it by 60%", ["sharpen the image by 60%"]),
        ("This picture is a negative; invert it", [INVERT]),
        ("the photo looks flat and dull, add 15% contrast", ["increase the contrast of the image by 15%"]),
        ("Brighten it by 5% because it is too dark", ["increase the brightness of the image by 5%"]),
        ("It is black and white, make it sepia", ["make the image sepia"]),
    ],
    "a size that is stated is no edit": [
        ("The photo is 800x600, crop it square", [SQUARE]),
        ("Original size: 1920 x 1080 px. Make it black and white.", [GRAY]),
    ],
    "a label and its edit are one edit": [
        ("Turn 90°, counterclockwise", [LEFT]),
        ("Frame: add a 7 px red frame", ["add a 7 pixel red border around the image"]),
        ("Border: 4 px navy border", ["add a 4 pixel navy border around the image"]),
        ("Mirroring: mirror it", [MIRROR]),
        ("Brightness - lower the brightness by 5%", ["decrease the brightness of the image by 5%"]),
    ],
    "what is in quotes is written only where something is to be written": [
        ('"crop it square"', [SQUARE]),
        ('write "blur it" at the top', ['write "blur it" in white medium letters at the top']),
        ("“make it sepia, then mirror it”", ["make the image sepia", MIRROR]),
    ],
    "order words": [
        ("first crop it square, then resize to 50x50", [SQUARE, "resize the image to 50x50 pixels"]),
        ("crop it square first, then invert it", [SQUARE, INVERT]),
        ("Before resizing to 50x50, crop it square", [SQUARE, "resize the image to 50x50 pixels"]),
        ("resize to 50x50 after cropping it square", [SQUARE, "resize the image to 50x50 pixels"]),
        ("step 1: mirror it; step 2: invert it", [MIRROR, INVERT]),
        ("1) mirror it 2) invert it 3) crop it square", [MIRROR, INVERT, SQUARE]),
        ("invert it and finally mirror it", [INVERT, MIRROR]),
    ],
    "fractions": [
        ("lower the contrast by a quarter", ["decrease the contrast of the image by 25%"]),
        ("increase the saturation by one third", ["increase the saturation of the image by 33.333%"]),
        ("shrink it to two thirds", ["scale the image to 66.667%"]),
        ("crop a fifth off the left", ["crop 20% off the left of the image"]),
        ("make it a third bigger", ["scale the image to 133.333%"]),
        ("make it half as large", ["scale the image to 50%"]),
        ("make it half bigger", ["scale the image to 150%"]),
        ("make it a quarter smaller", ["scale the image to 75%"]),
    ],
    "a ratio written with x": [
        ("crop it to a 3x2 aspect ratio", ["crop the image to the aspect ratio 3:2"]),
        ("crop to 9 x 16", ["crop the image to the aspect ratio 9:16"]),
        ("square crop, 1x1", [SQUARE]),
        ("crop to 16x9 px", ["crop the image to the central 16x9 pixels"]),
    ],
    "numbers as people write them": [
        ("resize to 1,600 px wide", ["resize the image to a width of 1600 pixels"]),
        ("scale to .5%", ["scale the image to 0.5%"]),
        ("blur with a radius of 1.5 px", ["blur the image with a radius of 1.5 pixels"]),
    ],
    "down and up": [
        ("dim it down by 15%", ["decrease the brightness of the image by 15%"]),
        ("darken down the photo", ["decrease the brightness of the image by 25%"]),
        ("turn the contrast down by 5%", ["decrease the contrast of the image by 5%"]),
        ("scale it down by 30%", ["scale the image to 70%"]),
        ("lighten up the picture by 5%", ["increase the brightness of the image by 5%"]),
    ],
    "dashes as a minus": [
        ("rotate –45 degrees", ["rotate the image 45 degrees counterclockwise"]),
        ("rotate it by —90°", [LEFT]),
        ("brightness −15%", ["decrease the brightness of the image by 15%"]),
    ],
    "watermarks without quotes": [
        (
            "add a watermark SAMPLE in the center",
            ['write "SAMPLE" faintly in white medium letters at the center'],
        ),
        (
            "watermark: STUDIO BERG",
            ['write "STUDIO BERG" faintly in white medium letters at the bottom right'],
        ),
        (
            "watermark it with BERG 2024",
            ['write "BERG 2024" faintly in white medium letters at the bottom right'],
        ),
    ],
    "typing mistakes": [
        ("rotaet it 90 degrees clokwise", [RIGHT]),
        ("incraese contarst by 5%", ["increase the contrast of the image by 5%"]),
        ("sharpne it by 50%", ["sharpen the image by 50%"]),
        ("convert to graysacle", [GRAY]),
    ],
    "brackets around a part of an edit": [
        (
            "pad to 600x400 (with black)",
            ["fit the image into 600x400 pixels with a black background"],
        ),
        ("(1) mirror it (2) invert it", [MIRROR, INVERT]),
        ("brighten by 5% (please), mirror it", ["increase the brightness of the image by 5%", MIRROR]),
    ],
    "a size kept whole": [
        ("pad to 600x400 with black", ["fit the image into 600x400 pixels with a black background"]),
        (
            "Resize to 90x60 keeping the ratio, fill with navy",
            ["fit the image into 90x60 pixels with a navy background"],
        ),
        ("put it on a 500x500 white canvas", ["fit the image into 500x500 pixels with a white background"]),
    ],
}

REFUSED: dict[str, list[tuple[str, str]]] = {
    "what the image is or was": [
        ("The photo is too dark", "The photo is too dark"),
        ("it was brightened by 10%", "it was brightened by 10%"),
        ("the photo is 10% too dark, brighten it", "photo is 10% too dark"),
        ("it isn't sharp, sharpen it", "it isn't sharp"),
        ("cropped to 16:9", "cropped to 16:9"),
        ("the border is 5 px wide", "border is 5 px wide"),
    ],
    "what it shows": [
        ("Photo of a blur, crop it square", "Photo of a blur"),
        ("Mirror, crop it square", "Mirror, crop it square"),
        ("mirror selfie - brighten by 10%", "selfie"),
        ("black and white photo, crop it square", "photo"),
        ("Black and white, crop it square", "Black and white, crop it square"),
        ('image with the caption "NEW", mirror it', 'image with the caption "NEW"'),
    ],
    "a size that may be a fact": [
        ("300x200, crop it square", "300x200"),
        ("Size: 300x200. Crop it square.", "Size: 300x200. Crop it square"),
        ("4000 px wide, scale it to 50%", "4000 px wide, scale it to 50%"),
    ],
    "an edit said twice": [
        ("make it negative, invert it", "make it negative, invert it"),
        ("mirror it and flip it horizontally", "mirror it and flip it horizontally"),
        ("blur it, blur it by 3 px", "blur it, blur it by 3 px"),
        ("make it 10% brighter and darker", "make it 10% brighter and darker"),
    ],
    "quotes without a word for writing": [
        ("apply the 'invert' filter", "apply the 'invert' filter"),
        ('"SALE"', "SALE"),
        ('it is titled "mirror", crop it square', 'it is titled "mirror"'),
    ],
    "another order than the one spoken": [
        ("resize to 50x50, first crop it square", "first"),
        ("Second, invert it. First, mirror it.", "Second,"),
        ("2. invert it 1. mirror it", "2"),
        ("finally invert it. Mirror it.", "Mirror it"),
        ("after cropping it square", "after cropping it square"),
        ("mirror it, second", "second"),
    ],
    "a ratio beside a size": [
        ("crop to 4:3, 80x80", "crop to 4:3, 80x80"),
        ("crop it square and 4:3", "4:3"),
        ("crop to 20x20", "crop to 20x20"),
        ("resize to 4x5", "resize to 4x5"),
    ],
    "an edit in brackets": [
        ("resize to 90x60 (mirror it)", "mirror it"),
        ("crop it square (then brighten it by 10%), invert it", "brighten it by 10%"),
        ("Invert it. (Sharpen it by 40%, mirror it.)", "Sharpen it by 40%"),
        ("(mirror it) invert it", "mirror it"),
        ("crop it square (sharpen it", "sharpen it"),
    ],
    "numbers that can be read in two ways": [
        ("resize to a width of 1.500 px", "resize to a width of 1.500 px"),
        ("make it 3.000 px wide", "make it 3.000 px wide"),
        ("rotate it 2,5 degrees", "rotate it 2,5 degrees"),
        ("brighten by 10-20%", "-20%"),
        ("width 2 000 px", "000 px"),
        ("rotate – 90 degrees", "rotate"),
        ("saturation - 30%", "saturation"),
        ("rotate image 2", "rotate image 2"),
    ],
    "factors for percents": [
        ("darken by 0.3", "darken by 0.3"),
        ("increase contrast by 1.2", "increase contrast by 1.2"),
        ("sharpen by 2", "sharpen by 2"),
        ("set contrast to 1.5", "set contrast to 1.5"),
    ],
    "contradictions": [
        ("shrink it to 110%", "shrink it to 110%"),
        ("enlarge it to 90%", "enlarge it to 90%"),
        ("scale it up to 50%", "scale it up to 50%"),
        ("rotate -90 degrees clockwise", "rotate -90 degrees clockwise"),
        ("rotate left 90 degrees clockwise", "clockwise"),
        ("resize to 40x40 with a width of 90 px", "resize to 40x40 with a width of 90 px"),
        ("resize to 80x60 px keeping the ratio", "resize to 80x60 px keeping the ratio"),
        ("resize to 500x500, white background", "resize to 500x500, white background"),
        ("dim it up", "up"),
    ],
    "negations, conditions, questions, comparisons": [
        ("crop it square but don't resize it", "but don't resize it"),
        ("sharpen it unless it is sharp", "unless it is sharp"),
        ("Should it be mirrored?", "Should it be mirrored"),
        ("sepia?", "sepia"),
        ("make it brighter than the other one", "than the other one"),
        ("either mirror it or invert it", "either mirror it or invert it"),
    ],
    "parts of the image": [
        ("tint the shirt red", "tint the shirt red"),
        ("brighten the left half", "left half"),
        ("add a 5 px border at the bottom", "at the bottom"),
        ("make the sky 10% brighter", "make the sky 10% brighter"),
    ],
    "words that are no typing mistakes": [
        ("crow it square", "crow it square"),
        ("add a 5 px boarder", "add a 5 px boarder"),
        ("crop it sharply square", "crop it sharply square"),
        ("tint it blight", "tint it blight"),
        ("flap it horizontally", "flap it horizontally"),
    ],
}


@pytest.mark.parametrize(("instruction", "edits"), [pair for pairs in UNDERSTOOD.values() for pair in pairs])
def test_it_means_what_it_says(instruction: str, edits: list[str]) -> None:
    assert [operation.describe() for operation in parse(instruction)] == edits


@pytest.mark.parametrize(("instruction", "words"), [pair for pairs in REFUSED.values() for pair in pairs])
def test_it_is_refused_and_its_words_are_quoted(instruction: str, words: str) -> None:
    with pytest.raises(InstructionUnclear) as caught:
        parse(instruction)
    assert caught.value.words == words


@pytest.mark.parametrize(
    "instruction",
    [
        *("add a 7 mm border", "add a 3 pt border", "add three borders", "add a 7px dotted frame"),
        *(
            "add a 2 px black one",
            "add a border, then a 2 px black one",
            "put a 4 cm frame around it",
            "add 7",
        ),
    ],
)
def test_a_number_without_its_unit_is_not_taken_for_degrees(instruction: str) -> None:
    with pytest.raises(InstructionUnclear) as caught:
        parse(instruction)
    assert "degrees" not in caught.value.why


@pytest.mark.parametrize("instruction", ["rotate it to the right twice", "rotate it 1.2 rad", "rotate it 7"])
def test_an_unclear_turn_is_asked_for_its_angle_and_not_given_one(instruction: str) -> None:
    with pytest.raises(InstructionUnclear, match="say how far, such as 90 degrees clockwise"):
        parse(instruction)


def test_no_english_word_is_taken_for_a_typing_mistake() -> None:
    if not DICTIONARY.exists():
        pytest.skip(f"no list of English words at {DICTIONARY}")
    found = {word.strip() for word in DICTIONARY.read_text(encoding="utf-8").splitlines()}
    plain = [word for word in found if word.isascii() and word.isalpha() and word.islower()]
    assert len(plain) > 10_000
    spelled = {word: SPELLER.correct(word) for word in plain}
    assert {word: meant for word, meant in spelled.items() if meant != word} == {}


def test_every_phrase_of_the_rules_compiles() -> None:
    heads = [head for by_word in LEXICON.heads.values() for found in by_word.values() for head in found]
    patterns = [pattern for head in heads for pattern in (head.pattern, *head.details)]
    for index in (framing.INTROS, framing.CONTEXTS, framing.TAILS, framing.LEADS):
        patterns += [pattern for found in index.values() for pattern in found]
    assert len(set(patterns)) > 500
    assert all(pattern.regex.groups >= 0 for pattern in patterns)


def test_a_doubtful_number_is_named() -> None:
    with pytest.raises(InstructionUnclear, match="'1.000' can be read in more than one way"):
        parse("add a 1.000 px border")
