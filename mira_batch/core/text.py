"""What foreign text passes through before it enters a row, a file or a terminal.

Models, servers, exceptions and file names may hold anything: lone surrogates, which UTF-8 can't carry
and which would end the writing of a whole shard; control characters, which move a terminal's cursor;
megabytes of HTML. `clean_text` makes text that can be written down, `show_text` such that can be looked at.
"""

from __future__ import annotations

import re

MOST_TEXT = 20_000
"""Characters of one foreign text that a row keeps."""
MOST_MESSAGE = 2_000
"""Characters of one message."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters other than tab and newline, and those that turn the direction of writing."""
_USER = re.compile(r"(?<=://)[^\s/]*@")


def clean_text(text: str, most: int = MOST_TEXT) -> str:
    r"""The same text if it is valid Unicode and short enough; else its faults are written out.

    A byte that could not be decoded (`surrogateescape`) becomes `\xe9`, any other lone surrogate `\ud800`.

    Args:
        text: text of foreign origin.
        most: characters that are kept; of longer text the middle is left out, saying how much.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        text = _SURROGATE.sub(_escape_surrogate, text)
    if len(text) <= most:
        return text
    note = f" … [{len(text) - most:,} characters and more left out] … "
    head = max(0, most - len(note)) * 2 // 3
    tail = max(0, most - len(note) - head)
    return f"{text[:head]}{note}{text[len(text) - tail :]}"[:most]


def show_text(text: str, most: int = MOST_TEXT) -> str:
    """`clean_text`, and characters that nobody would see are made visible: `␀` for NUL, `⟨U+202E⟩`.

    For a terminal or a page: nothing in the result moves a cursor or turns the direction of writing.

    Args:
        text: text of foreign origin.
        most: see `clean_text`.
    """
    return _HIDDEN.sub(_name_hidden, clean_text(text, most))


def hide_passwords(text: str) -> str:
    """The same text, with `***` for the user and password of each URL in it; a token may stand for the user.

    Args:
        text: such as a message that quotes a URI of a manifest.
    """
    return _USER.sub("***@", text)


def _escape_surrogate(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def _name_hidden(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
