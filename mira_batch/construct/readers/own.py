"""Sessions of the user's own: JSON lines or Parquet of session_id, image, turns and, if wanted, instruction,
independent and licence; a turn is {instruction, image, thought}. Images are paths below the file's folder (or
`images`), or bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.construct import SessionsConfig
from mira_batch.construct.readers.found import (
    Found,
    FoundTurn,
    Left,
    locate,
    need,
    need_text,
    read_file,
    read_lines,
)
from mira_batch.core.errors import DataSetError
from mira_batch.storage.stores import shorten_error

_NEEDED = ("session_id", "image", "turns")
_KNOWN = frozenset({*_NEEDED, "instruction", "independent", "licence"})
_KNOWN_TURN = frozenset({"instruction", "image", "thought"})


def read(config: SessionsConfig) -> Iterator[Found | Left]:
    """The sessions of a file.

    Raises:
        DataSetError: a column is unknown or lacks, a value is none, or a session_id is there twice.
    """
    file = locate(config.data)
    if not file.is_file():
        raise DataSetError(f"{file}: give the file of the sessions, .jsonl or .parquet")
    root = locate(config.images) if config.images else file.parent
    seen: set[str] = set()
    for place, row in _read_parquet(file) if file.suffix == ".parquet" else read_lines(file):
        need(place, row, _NEEDED)
        if unknown := sorted(set(map(str, row)) - _KNOWN):
            raise DataSetError(
                f"{place}: {', '.join(unknown)} is unknown; there are {', '.join(sorted(_KNOWN))}"
            )
        name = need_text(place, row, "session_id")
        if name in seen:
            raise DataSetError(f"{place}: the session {name!r:.80} was there before; take one of both out")
        seen.add(name)
        yield _read_session(name, place, row, root)


def _read_session(name: str, place: str, row: Mapping[str, Any], root: Path) -> Found | Left:
    independent = row.get("independent")
    if not isinstance(independent, bool | None):
        raise DataSetError(f"{place}: independent is {independent!r:.80}; true or false is needed")
    if not isinstance(row["turns"], list) or not row["turns"]:
        raise DataSetError(f"{place}: turns is no list of turns")
    original = _take_image(place, row["image"], root)
    if original is None:
        return Left("no_original")
    turns = []
    for number, turn in enumerate(row["turns"], 1):
        where = f"{place}: turn {number}"
        if not isinstance(turn, Mapping):
            raise DataSetError(f"{where}: is no object")
        if unknown := sorted(set(map(str, turn)) - _KNOWN_TURN):
            raise DataSetError(
                f"{where}: {', '.join(unknown)} is unknown; there are {', '.join(sorted(_KNOWN_TURN))}"
            )
        image = None
        if turn.get("image") is not None and (image := _take_image(where, turn["image"], root)) is None:
            return Left("no_image")
        thought = turn.get("thought")
        turns.append(FoundTurn(need_text(where, turn, "instruction"), image, thought or ""))
    whole, licence = (row.get(key) and need_text(place, row, key) for key in ("instruction", "licence"))
    return Found(
        name,
        original,
        tuple(turns),
        independent=bool(independent),
        complex=whole or None,
        licence=licence or None,
    )


def _take_image(place: str, value: Any, root: Path) -> bytes | None:
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str) and value:
        return read_file(place, root, value)
    if isinstance(value, bytes) and value:
        return value
    raise DataSetError(f"{place}: its image is {value!r:.80}; a path or bytes are needed")


def _read_parquet(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        with pq.ParquetFile(file) as parquet:
            number = 0
            for batch in parquet.iter_batches(16):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file}: row {number}", row
    except (pa.ArrowException, OSError) as error:
        raise DataSetError(f"{file}: can't be read: {shorten_error(error)}") from error
