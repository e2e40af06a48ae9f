"""Reads a manifest's lines of JSON, an object a line."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from mira_batch.core.errors import ManifestError
from mira_batch.core.text import clean_text
from mira_batch.storage.manifest.encodings import MOST_TEXT, UTF8, read_lines

_ARRAY = re.compile(rb"\s*\[\s*(\{|$)")
"""How a whole file begins that is one array of objects."""
_LONG_NUMBER = re.compile(r"\d[\d.]{15}|\d[eE]-\d{3}")
"""What a float may round, or take for 0; up to 15 digits it never does."""


def read_json_rows(
    reader: io.BufferedReader | io.BytesIO, encoding: str, path: str, first_line: int
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """The rows of lines of JSON as `read_raw_rows` gives them. Blank lines are none.

    Args:
        reader: at the start of a line.
        encoding: of the text.
        path: of the file.
        first_line: the number of the first line in the file.

    Raises:
        ManifestError: the file is one array.
        read_errors(): it can't be read to its end.
    """
    is_first = first_line == 1
    for number, line in enumerate(read_lines(reader, encoding), first_line):
        if line is None:
            yield f"{path}:{number}", f"is longer than {MOST_TEXT:,} bytes; write one object a line"
        elif line.strip():
            if is_first and _ARRAY.match(line):
                raise ManifestError(
                    f"{path}: is one JSON array; write one object a line (jq -c '.[]' does it)"
                )
            yield f"{path}:{number}", _read_object(line, encoding)
        else:
            continue
        is_first = False


def _read_object(line: bytes, encoding: str) -> dict[str, Any] | str:
    """A line's object, or what is wrong with it."""
    try:
        text = line.decode()
        row = _load(text)
        if isinstance(row, dict):
            return row if _is_plain(row, text) else _load_strictly(text)
    except UnicodeDecodeError as error:
        if encoding != UTF8:
            return f"is not valid {encoding.upper()}"
        byte = f"{line[error.start]:#04x}"
        return f"is not valid UTF-8 (byte {error.start + 1} is {byte}); see input.encoding"
    except json.JSONDecodeError as error:
        if line.startswith(codecs.BOM_UTF8):  # files that were joined have one in the middle
            return _read_object(line.removeprefix(codecs.BOM_UTF8), encoding)
        place = f"character {error.pos + 1}"
        if error.pos >= len(error.doc.rstrip()):
            place += ", the line's end; write one object a line, as jq -c . does"
        return f"is not valid JSON: {error.msg} ({place})"
    except _Unkept as error:
        return clean_text(str(error), 200)
    except (ValueError, RecursionError) as error:
        return f"is not valid JSON: {error}"
    return "is JSON, but not an object {…}"


class _Unkept(ValueError):
    """JSON that Python would read otherwise than it is written."""


def _is_plain(row: dict[str, Any], text: str) -> bool:
    """Whether nothing was lost in reading: no key twice, no number that a float changes.

    By the number of quotes, which costs little: a key that was there twice has left its own in the text.
    Escaped quotes and nested values are left to reading it more carefully.
    """
    strings, floats = len(row), False
    for value in row.values():
        kind = type(value)
        if kind is str:
            strings += 1
        elif kind is float and value - value == 0:
            floats = True
        elif kind is dict or kind is list or kind is float:
            return False
    if floats and _LONG_NUMBER.search(text):
        return False
    return text.count('"') == 2 * strings


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        first = names.index(twice)
        second = names.index(twice, first + 1)
        raise _Unkept(f"gives the key {twice!r} twice in one object, as key {first + 1} and key {second + 1}")
    return found


def _make_float(text: str) -> float | Decimal:
    """A number as a float where it is one that was written out, in however many digits; else exactly."""
    value = float(text)
    if (len(text) < 17 and 1e-300 < abs(value) < 1e300) or repr(value) == text:
        return value
    if value - value != 0 or (not value and re.match("[-.0]*[1-9]", text)):
        raise _Unkept(f"holds the number {text[:40]}, which no 64-bit float can hold")
    if not value:
        return value
    exact = Decimal(text)
    written = (Decimal(repr(value)), Decimal(f"{value:.17g}"), Decimal(value))
    return value if exact in written else exact


_load = json.JSONDecoder().decode
_load_strictly = json.JSONDecoder(object_pairs_hook=_make_object, parse_float=_make_float).decode
