"""How a result says that it came to be."""

from __future__ import annotations

import pytest

from mira_batch.core.source_type import (
    ENHANCED,
    GENERATIVE,
    VOCABULARY,
    find_generative,
    find_result_type,
    find_type_problem,
    name_source_type,
)

WHOLLY = "trainedAlgorithmicMedia"


@pytest.mark.parametrize(
    ("source", "editor", "edited", "said"),
    [
        ("", GENERATIVE, True, GENERATIVE),
        ("digitalCapture", GENERATIVE, True, GENERATIVE),
        ("", ENHANCED, True, ENHANCED),
        ("digitalCapture", ENHANCED, True, ENHANCED),
        ("digitalCapture", "", True, "digitalCapture"),
        ("", "", True, ""),
        # Nothing was edited: the source's own stays, whatever it is.
        ("digitalCapture", GENERATIVE, False, "digitalCapture"),
        ("somethingOfTomorrow", GENERATIVE, False, "somethingOfTomorrow"),
        ("", GENERATIVE, False, ""),
        # A mark that an image is made up is never taken away, or made weaker.
        (WHOLLY, GENERATIVE, True, WHOLLY),
        (WHOLLY, ENHANCED, True, WHOLLY),
        (WHOLLY, "", True, WHOLLY),
        (GENERATIVE, ENHANCED, True, GENERATIVE),
        ("digitalCreation", ENHANCED, True, "digitalCreation"),
        ("digitalCreation", GENERATIVE, True, GENERATIVE),
        ("somethingOfTomorrow", ENHANCED, True, "somethingOfTomorrow"),
        ("", WHOLLY, True, WHOLLY),
    ],
)
def test_what_a_result_says(source: str, editor: str, edited: bool, said: str) -> None:
    assert find_result_type(source, editor, edited) == said


def test_names_are_those_of_the_vocabulary() -> None:
    assert name_source_type(VOCABULARY + WHOLLY) == WHOLLY
    assert name_source_type(f" https{VOCABULARY[4:]}{WHOLLY}/ ") == WHOLLY
    for text in (
        "",
        WHOLLY,
        VOCABULARY,
        f"{VOCABULARY}a b",
        f"{VOCABULARY}{'a' * 65}",
        f"x{VOCABULARY}{WHOLLY}",
    ):
        assert name_source_type(text) == ""


def test_a_signed_manifest_is_asked_for_generative_types_only() -> None:
    wholly, partly = ((VOCABULARY + name).encode() for name in (WHOLLY, GENERATIVE))
    assert find_generative(b"\0x" + wholly + b"\xff") == WHOLLY
    assert find_generative(wholly + b" " + partly) == GENERATIVE
    assert find_generative((VOCABULARY + "digitalCapture").encode()) == ""


def test_what_an_editor_may_say() -> None:
    assert all(find_type_problem(value) == "" for value in (None, GENERATIVE, ENHANCED, WHOLLY))
    for value in ("", "ai", VOCABULARY + GENERATIVE, 3):
        assert "source_type should be None or one of algorithmicMedia" in find_type_problem(value)
