"""Reads the rows of a CSV manifest. Every line of the file is in a row, or is a reject."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from mira_batch.core.errors import ManifestError
from mira_batch.core.text import clean_text, show_text
from mira_batch.storage.manifest.encodings import MOST_TEXT, decode, pass_over_line

_IMAGE = re.compile(r"^\s*\w+://|\.(png|jpe?g|webp|tiff?|bmp|gif|avif|hei[cf])\s*$", re.IGNORECASE)
csv.field_size_limit(2**31 - 1)
"""Python's own limit is 131,072 characters a field; `_Lines` bounds whole rows."""


def read_csv_rows(
    reader: io.BufferedReader, encoding: str, path: str, image: str
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """The rows of a CSV file as `read_raw_rows` gives them. Blank lines between rows are none.

    What is not valid CSV is a problem of each of its lines: a quote that is never closed takes all that
    follow with it, and nobody can tell which of them are rows. The same holds of a row with other rows within
    its quotes: they were closed by chance, by a quote in a later row.

    Args:
        reader: at the start of the text.
        encoding: of the text.
        path: of the file.
        image: the column with the image, by which rows within quotes are told.

    Raises:
        ManifestError: the header is not valid CSV, or names a column twice.
        read_errors(): the file can't be read to its end.
    """
    with decode(reader, encoding, "") as text:
        lines = _Lines(text)
        rows = csv.reader(lines, strict=True)
        header = _read_header(rows, encoding, path)
        width = len(header)
        unnamed = [index for index, name in enumerate(header) if not name]
        if len(unnamed) == 1:  # nothing can be mistaken for it
            unnamed = []
        image_index = header.index(image) if image in header else None
        while True:
            start = lines.begin_row()
            problem = None
            try:
                row = next(rows)
                if len(lines.of_row) > 1 and image_index is not None:
                    problem = _find_rows_within(lines.of_row, start, width, image_index)
            except StopIteration:
                return
            except (csv.Error, _TooLong) as error:
                row, problem = [], _explain(error)
            if problem:
                yield f"{path}:{start}", problem
                for line in range(start + 1, lines.number + 1):
                    yield f"{path}:{line}", f"belongs to the row that begins in line {start}, which {problem}"
                continue
            if len(row) > width:
                yield f"{path}:{start}", f"has more fields than the header ({width})"
            elif unnamed and (lost := [i + 1 for i in unnamed if i < len(row) and row[i]]):
                yield (
                    f"{path}:{start}",
                    f"has a value in column {lost[0]}, which has no name, as others have none",
                )
            elif row:
                yield f"{path}:{start}", dict(zip(header, row, strict=False))


class _TooLong(Exception):
    pass


class _Lines:
    """Hands a file's lines to a csv reader, counts them, and bounds what is read for one row."""

    __slots__ = ("_left", "_readline", "_text", "number", "of_row")

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._readline = text.readline
        self._left = MOST_TEXT
        self.number = 0
        """Of the last line that was handed out, from 1."""
        self.of_row: list[str] = []
        """Those of the current row."""

    def begin_row(self) -> int:
        """The number of the next row's first line."""
        self._left, self.of_row = MOST_TEXT, []
        return self.number + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:
            self.number += 1
            pass_over_line(self._text, line, ("\n", "\r"))
            raise _TooLong
        if not line:
            raise StopIteration
        self.number += 1
        self.of_row.append(line)
        return line


def _find_rows_within(lines: Sequence[str], start: int, width: int, image: int) -> str | None:
    """What to say about a row that has taken other rows within its quotes; None where nothing looks like it.

    Args:
        lines: of the row.
        start: number of the first.
        width: how many columns there are.
        image: the index of that with the image.
    """
    for number, line in enumerate(lines[1:], start + 1):
        is_last = number == start + len(lines) - 1
        fields = next(csv.reader([line.partition('"')[0] if is_last else line]), [])
        whole = image + 1 < len(fields) if is_last else len(fields) == width
        if whole and _IMAGE.search(fields[image]):
            return (
                f"has a quote that seems never to be closed: within it line {number} looks like a row; close "
                'it, or write "" for a quote that is meant'
            )
    return None


def _explain(error: Exception) -> str:
    if isinstance(error, _TooLong):
        return f"is longer than {MOST_TEXT:,} characters; is there a quote that is never closed?"
    if "unexpected end of data" in str(error):
        return 'is not valid CSV: a quote is never closed; close it, or write "" for a quote that is meant'
    return f"is not valid CSV: {error}"


def _read_header(rows: Iterator[list[str]], encoding: str, path: str) -> list[str]:
    try:
        header = next((row for row in rows if row), [])
    except (csv.Error, _TooLong) as error:
        raise ManifestError(f"{path}: its header {_explain(error)}") from error
    if re.fullmatch("sep=.?", header[0] if header else "", re.IGNORECASE) and not any(header[1:]):
        raise ManifestError(
            f"{path}: its first line, {','.join(header)}, is for spreadsheets; delete it, and separate the "
            "columns by commas"
        )
    for index, name in enumerate(header, start=1):
        if clean_text(name, len(name)) != name:
            raise ManifestError(
                f"{path}: its header is not valid {encoding.upper()}: column {index} is "
                f"{show_text(name, 80)}; set input.encoding to what the file is written in (cp1252, say), or "
                "save it as UTF-8"
            )
    refuse_columns_twice(path, [name for name in header if name], header)
    return header


def refuse_columns_twice(path: str, names: Sequence[str], header: Sequence[str] | None = None) -> None:
    """Refuse a file that names a column twice: of two values one would be lost.

    Args:
        path: of the file.
        names: the columns to look at.
        header: all columns, by which places are counted; None takes `names`.

    Raises:
        ManifestError: it does; it names both places.
    """
    if len(set(names)) == len(names):
        return
    columns = list(header or names)
    twice = next(name for name in names if columns.count(name) > 1)
    first = columns.index(twice)
    second = columns.index(twice, first + 1)
    raise ManifestError(
        f"{path}: has the column {show_text(twice, 200)!r} twice, as columns {first + 1} and {second + 1}; "
        "rename or remove one of them"
    )
