"""What readers find, and what they share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mira_batch.core.errors import DataSetError
from mira_batch.storage.published import find_below
from mira_batch.storage.stores import shorten_error


@dataclass(frozen=True, slots=True)
class FoundTurn:
    """One edit of a session."""

    instruction: str
    image: bytes | None
    """What it gave, encoded; None where there is none."""
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A session as its data set has it."""

    name: str
    image: bytes
    """The original, encoded."""
    turns: tuple[FoundTurn, ...]
    chain: bool = True
    """Each turn goes on from the image of the one before; else all go from the original."""
    independent: bool = False
    """Its owner says that its edits can be made in any order."""
    complex: str | None = None
    """The complex instruction that its owner gives."""
    licence: str | None = None
    """Where it has one of its own."""


@dataclass(frozen=True, slots=True)
class Left:
    """A session that can't be used."""

    why: str
    """In the words of a count: no_image, say."""


def locate(data: str) -> Path:
    """A data set on this machine.

    Raises:
        DataSetError: it is elsewhere, or not there.
    """
    path = Path(data)
    if "://" in data or not path.exists():
        raise DataSetError(
            f"{data}: no such file or directory; data sets are read from a local disk, as downloaded"
        )
    return path


def read_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a file of JSON lines, each after where it stands.

    Raises:
        DataSetError: it can't be read, or a line is no JSON object, or no file could hold its texts.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataSetError(
                        f"{path}: line {number}: is no JSON: {shorten_error(error)}"
                    ) from error
                if not isinstance(row, dict):
                    raise DataSetError(f"{path}: line {number}: is no JSON object")
                if "\\u" in line:
                    need_unicode(f"{path}: line {number}", row)
                yield f"{path}: line {number}", row
    except (OSError, UnicodeDecodeError) as error:
        raise DataSetError(f"{path}: can't be read: {shorten_error(error)}") from error


def need_unicode(place: str, row: object) -> None:
    """See that a JSON document has no half of a character, which nothing could be written with.

    Raises:
        DataSetError: it has.
    """
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise DataSetError(
            f"{place}: holds \\u{ord(half):x}, half of a character (a lone surrogate, as a text that was cut "
            "leaves it); take it out"
        ) from None


def need(place: str, row: Mapping[str, Any], names: Sequence[str]) -> None:
    """See that a row has what its data set's rows have.

    Raises:
        DataSetError: something lacks; it names what there is.
    """
    if lacking := [name for name in names if name not in row]:
        raise DataSetError(
            f"{place}: has no {', '.join(lacking)}, only {', '.join(map(str, row))}; is it this data set's?"
        )


def need_text(place: str, row: Mapping[str, Any], name: str) -> str:
    """A text of a row.

    Raises:
        DataSetError: it is none, or empty.
    """
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataSetError(f"{place}: {name} is {value!r:.80}; a text is needed")
    return value


def read_file(place: str, root: Path, name: str) -> bytes | None:
    """An image's file below a folder; None where it is not there (fetched in part, say).

    Raises:
        DataSetError: its name leads out of the folder.
    """
    path = find_below(root, name)
    if path is None:
        raise DataSetError(f"{place}: the image {name!r:.120} leads out of {root}")
    try:
        return path.read_bytes()
    except OSError:
        return None
