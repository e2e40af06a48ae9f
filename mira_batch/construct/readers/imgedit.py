"""ImgEdit's multi-turn part: JSON files of `{"data": [{input_images, output_images, prompt}, …]}`, one
session each (or a list of such, or JSON lines), with images beside them.

Where a turn does not begin from the image before it (version backtracking), the session is no chain and is
left out, and so is one whose prompt speaks of a round by its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mira_batch.config.construct import ImgEditConfig
from mira_batch.construct.readers.found import (
    Found,
    FoundTurn,
    Left,
    locate,
    need,
    need_text,
    need_unicode,
    read_file,
    read_lines,
)
from mira_batch.core.errors import DataSetError
from mira_batch.storage.published import read_json

_ROUND = re.compile(r"\bround\s*\d", re.IGNORECASE)


def read(config: ImgEditConfig) -> Iterator[Found | Left]:
    """The sessions below a folder, or of one file.

    Raises:
        DataSetError: there are none, or a file is laid out otherwise.
    """
    data = locate(config.data)
    base = data if data.is_dir() else data.parent
    root = base if config.images is None else locate(config.images)
    files = [data] if data.is_file() else sorted([*data.rglob("*.json"), *data.rglob("*.jsonl")])
    if not files:
        raise DataSetError(f"{data}: holds no .json or .jsonl file; give the unpacked Multiturn folder")
    for file in files:
        for number, (place, row) in enumerate(_read_rows(file)):
            name = f"{file.relative_to(base).with_suffix('')}-{number}"
            yield _read_session(name, place, row, root if config.images else file.parent)


def _read_rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if file.suffix == ".jsonl":
        yield from read_lines(file)
        return
    found = read_json(file)
    need_unicode(str(file), found)
    for row in found if isinstance(found, list) else [found]:
        if not isinstance(row, Mapping):
            raise DataSetError(f"{file}: holds a {type(row).__name__}, no session")
        yield str(file), row


def _read_session(name: str, place: str, row: Mapping[str, Any], root: Path) -> Found | Left:
    need(place, row, ("data",))
    turns: list[FoundTurn] = []
    first: bytes | None = None
    before: str | None = None
    entries = row["data"]
    if not isinstance(entries, list) or not entries:
        raise DataSetError(f"{place}: data is no list of turns")
    for number, entry in enumerate(entries, 1):
        where = f"{place}: turn {number}"
        if not isinstance(entry, Mapping):
            raise DataSetError(f"{where}: is no object")
        need(where, entry, ("input_images", "output_images", "prompt"))
        given, made = (_take_one(where, entry, key) for key in ("input_images", "output_images"))
        if given is None or made is None or (before is not None and given != before):
            return Left("no_chain")
        prompt = need_text(where, entry, "prompt")
        if _ROUND.search(prompt):
            return Left("cites_a_round")
        image = read_file(where, root, made)
        if first is None:
            first = read_file(where, root, given)
        if image is None or first is None:
            return Left("no_image")
        turns.append(FoundTurn(prompt, image))
        before = made
    assert first is not None
    return Found(name, first, tuple(turns))


def _take_one(where: str, entry: Mapping[str, Any], name: str) -> str | None:
    """The one image; None where there are several."""
    value = entry[name]
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise DataSetError(f"{where}: {name} is {value!r:.80}; names of images are needed")
    return names[0] if len(names) == 1 else None
