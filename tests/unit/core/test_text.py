"""Foreign text: what may be written down, and what may be looked at."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mira_batch.core.errors import describe
from mira_batch.core.text import clean_text, show_text

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Größe 世界 🖼", "Größe 世界 🖼"),
        ("line\none\ttab", "line\none\ttab"),
        (b"Gr\xf6\xdfe".decode("utf-8", "surrogateescape"), r"Gr\xf6\xdfe"),
        ("half \ud83d of a pair", r"half \ud83d of a pair"),
        ("", ""),
    ],
)
def test_only_what_cannot_be_written_is_changed(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_long_text_says_how_much_is_left_out() -> None:
    cleaned = clean_text("a" * 600 + "z" * 600, 300)
    assert cleaned.startswith("a" * 150) and cleaned.endswith("z" * 70)
    assert "[900 characters and more left out]" in cleaned
    assert len(cleaned) == 300


@given(ANY_TEXT, st.integers(0, 100))
def test_cleaned_text_is_utf8_and_clean_already(text: str, most: int) -> None:
    cleaned = clean_text(text, most)
    assert cleaned.encode().decode() == cleaned
    assert clean_text(cleaned, most) == cleaned
    assert len(cleaned) <= most


def test_hidden_characters_are_shown() -> None:
    assert show_text("a\x00b\x1b[31mc\x07\u202eevil\x7f\x85") == "a␀b␛[31mc␇⟨U+202E⟩evil␡⟨U+0085⟩"


@given(ANY_TEXT)
def test_shown_text_moves_no_cursor(text: str) -> None:
    hidden = [c for c in show_text(text) if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not hidden
    assert not any(
        unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF") for c in show_text(text)
    )


def test_an_error_whose_text_raises_is_described() -> None:
    class SaysNothing(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert describe(SaysNothing()).startswith("SaysNothing (its text can't be had")
    assert describe(ValueError("bad \udce9")) == r"ValueError: bad \xe9"
    assert describe(KeyError()) == "KeyError"
