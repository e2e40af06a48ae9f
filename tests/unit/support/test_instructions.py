from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from mira_batch.models.embedded.operations import colour, geometry, text
from mira_batch.models.embedded.operations.operation import Operation, check_colour
from tests.support.instructions import FOLDER, Entry, judge_answer, load_corpus

CORPORA = sorted(path.stem for path in FOLDER.glob("*.jsonl"))

FIT = re.compile(r"fit the image into [1-9]\d*x[1-9]\d* pixels with a (\S+) background")
FILLINGS = [
    (r" in \* ", " in white "),
    (r" \* letters ", " medium letters "),
    (r" at the \*$", " at the bottom"),
    (r" \* (?=border|background)", " white "),
    (r"\*", "5"),
]
"""Something that fits, for a star in each place."""


def entry(*right: list[str]) -> Entry:
    return Entry("x-1", "some", "realistic", "do it", list(right), False)


NUMBER, SIDE = r"([\d.]+)", r"(\d+)"
CHANGES = {"brightness": colour.Brightness, "contrast": colour.Contrast, "saturation": colour.Saturation}


def change(way: str, what: str, percent: str) -> Operation:
    return CHANGES[what](float(percent) * (1 if way == "in" else -1))


def crop_sides(parts: str) -> Operation:
    sides = re.findall(rf"{NUMBER}(%| pixels) off the (left|top|right|bottom)", parts)
    return geometry.CropSides(
        **{side: float(much) for much, _, side in sides}, unit="%" if sides[0][1] == "%" else "px"
    )


def write_text(words: str, faint: str | None, ink: str, size: Any, position: Any) -> Operation:
    return text.WriteText(re.sub(r"\\(.)", r"\1", words), position, ink, size, bool(faint))


FORMS: list[tuple[str, Callable[..., Operation]]] = [
    ("make the image black and white", colour.Grayscale),
    ("make the image sepia", colour.Sepia),
    ("invert the colors of the image", colour.Invert),
    ("apply autocontrast to the image", colour.Autocontrast),
    ("mirror the image horizontally", lambda: geometry.Flip("horizontal")),
    ("flip the image vertically", lambda: geometry.Flip("vertical")),
    (
        rf"rotate the image {NUMBER} degrees (counter)?clockwise(?: with (\S+) corners)?",
        lambda much, counter, fill: geometry.Rotate(float(much) * (-1 if counter else 1), fill),
    ),
    (
        rf"crop the image to the central {SIDE}x{SIDE} pixels",
        lambda width, height: geometry.CropSize(int(width), int(height)),
    ),
    (
        rf"crop the image to the aspect ratio {NUMBER}:{NUMBER}",
        lambda width, height: geometry.CropRatio(float(width), float(height)),
    ),
    (
        rf"crop {NUMBER}(%| pixels) off every side of the image",
        lambda much, unit: geometry.CropSides(*[float(much)] * 4, unit="%" if unit == "%" else "px"),
    ),
    (r"crop (.+ off the .+) of the image", crop_sides),
    (
        rf"resize the image to {SIDE}x{SIDE} pixels",
        lambda width, height: geometry.Resize(int(width), int(height)),
    ),
    (rf"resize the image to a width of {SIDE} pixels", lambda much: geometry.Resize(width=int(much))),
    (rf"resize the image to a height of {SIDE} pixels", lambda much: geometry.Resize(height=int(much))),
    (
        rf"resize the image so that its (longest|shortest) side is {SIDE} pixels",
        lambda side, much: geometry.ResizeSide(int(much), side),
    ),
    (rf"scale the image to {NUMBER}%", lambda much: geometry.Scale(float(much))),
    (r"pad the image to a square with a (\S+) background", geometry.PadSquare),
    (
        rf"add a {NUMBER}(%| pixel) (\S+) border around the image",
        lambda much, unit, ink: geometry.Border(float(much), "%" if unit == "%" else "px", ink),
    ),
    (rf"(in|de)crease the ({'|'.join(CHANGES)}) of the image by {NUMBER}%", change),
    (rf"blur the image with a radius of {NUMBER} pixels", lambda much: colour.Blur(float(much))),
    (rf"sharpen the image by {NUMBER}%", lambda much: colour.Sharpen(float(much))),
    (rf"tint the image (\S+) by {NUMBER}%", lambda ink, much: colour.Tint(ink, float(much))),
    (rf"posterize the image to {SIDE} levels", lambda levels: colour.Posterize(int(levels))),
    (r"flatten the transparent areas of the image onto (\S+)", colour.Flatten),
    (r'write "(.+)" (faintly )?in (\S+) (small|medium|large) letters at the (.+)', write_text),
]
"""The operations by their sentences alone: what the grammar makes of those is not asked."""


def read_operation(sentence: str) -> Operation:
    for pattern, build in FORMS:
        if found := re.fullmatch(pattern, sentence):
            return build(*found.groups())
    raise AssertionError(f"no operation describes itself as {sentence!r}")


@pytest.mark.parametrize(
    ("right", "answer", "verdict"),
    [
        ([["rotate the image 90 degrees clockwise"]], ["rotate the image 90 degrees clockwise"], "right"),
        (
            [["rotate the image 90 degrees clockwise"]],
            ["rotate the image 90 degrees counterclockwise"],
            "wrong",
        ),
        ([["make the image sepia"]], ["make the image sepia", "make the image sepia"], "wrong"),
        ([["make the image sepia"]], [], "wrong"),
        ([["make the image sepia"]], None, "refused"),
        ([["make the image sepia"], ["scale the image to 50%"]], ["scale the image to 50%"], "right"),
        ([["make the image sepia", "scale the image to 50%"]], ["scale the image to 50%"], "wrong"),
        (
            [["make the image sepia", "scale the image to 50%"]],
            ["scale the image to 50%", "make the image sepia"],
            "wrong",
        ),
        ([], None, "right"),
        ([], [], "wrong"),
        ([], ["make the image sepia"], "wrong"),
        ([[]], [], "right"),
        ([[]], None, "refused"),
    ],
)
def test_edits_count_in_their_order_and_only_the_right_ones(
    right: list[list[str]], answer: list[str] | None, verdict: str
) -> None:
    assert judge_answer(entry(*right), answer) == verdict


@pytest.mark.parametrize(
    ("right", "answer", "verdict"),
    [
        ("sharpen the image by *%", "sharpen the image by 12.5%", "right"),
        ("sharpen the image by *%", "sharpen the image by %", "wrong"),
        ("sharpen the image by 5%", "sharpen the image by 50%", "wrong"),
        ("sharpen the image by 1.5%", "sharpen the image by 125%", "wrong"),
        ("increase the contrast of the image by *%", "decrease the contrast of the image by 20%", "wrong"),
        ("add a * pixel * border around the image", "add a 9 pixel #00ff7f border around the image", "right"),
        ("add a * pixel * border around the image", "add a 9% white border around the image", "wrong"),
        ('write "A" in * * letters at the *', 'write "A" in white large letters at the bottom left', "right"),
        (
            'write "A" in * * letters at the *',
            'write "A" faintly in white large letters at the left',
            "wrong",
        ),
        ('write "A" in * * letters at the top', 'write "A" in white large letters at the top left', "wrong"),
        ('write "A" in * * letters at the *', 'write "B" in white large letters at the left', "wrong"),
    ],
)
def test_a_star_is_any_amount_or_name_in_its_place(right: str, answer: str, verdict: str) -> None:
    assert judge_answer(entry([right]), [answer]) == verdict


@pytest.mark.parametrize("name", CORPORA)
def test_right_answers_are_sentences_of_the_operations(name: str) -> None:
    for one in load_corpus(name):
        for sentence in (sentence for right in one.right for sentence in right):
            if found := FIT.fullmatch(sentence.replace("*", "white")):
                check_colour(found[1])
                continue
            for pattern, filling in FILLINGS:
                sentence = re.sub(pattern, filling, sentence)
            assert read_operation(sentence).describe() == sentence, one.id


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_has_enough_of_either_set_and_its_fields_make_sense(name: str) -> None:
    corpus = load_corpus(name)
    assert [one.id for one in corpus] == [f"{name}-{place:03}" for place in range(1, len(corpus) + 1)]
    assert {one.set for one in corpus} == {"realistic", "trap"}
    assert sum(one.set == "realistic" for one in corpus) >= 240
    assert sum(one.set == "trap" for one in corpus) >= 110
    assert all(one.may_refuse for one in corpus if not one.right)
    assert all(one.right for one in corpus if one.set == "realistic")


def test_no_instruction_stands_twice() -> None:
    instructions = [
        " ".join(one.instruction.casefold().split()) for name in CORPORA for one in load_corpus(name)
    ]
    assert len(instructions) == len(set(instructions)) >= 360
