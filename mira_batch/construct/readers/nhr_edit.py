"""NHR-Edit: `metadata.jsonl` of source_file_name, edited_file_name, edit_instruction; edits of one image
stand in no order, each is made of the original."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mira_batch.config.construct import NhrEditConfig
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

_NEEDED = ("source_file_name", "edited_file_name", "edit_instruction")


def read(config: NhrEditConfig) -> Iterator[Found | Left]:
    """A session for each source image, of those of its edits that stand together.

    Raises:
        DataSetError: it is no NHR-Edit.
    """
    data = locate(config.data)
    files = [data] if data.is_file() else [data / "train" / "metadata.jsonl", data / "metadata.jsonl"]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise DataSetError(f"{data}: holds no metadata.jsonl, nor train/metadata.jsonl")
    roots = [locate(config.images)] if config.images else [file.parent, file.parent.parent]
    held: tuple[str, list[FoundTurn]] = ("", [])
    missing = 0
    for place, row in read_lines(file):
        need(place, row, _NEEDED)
        source, edited, instruction = (need_text(place, row, name) for name in _NEEDED)
        if source != held[0]:
            yield from _end(file, roots, *held)
            held = (source, [])
        image = _find(place, roots, edited)
        if image is None:
            missing += 1
            yield Left("no_image")
        else:
            held[1].append(FoundTurn(instruction, image))
    yield from _end(file, roots, *held)


def _end(file: Path, roots: list[Path], source: str, turns: list[FoundTurn]) -> Iterator[Found | Left]:
    if not turns:
        return
    image = _find(str(file), roots, source)
    if image is None:
        yield Left("no_image")
    else:
        yield Found(source, image, tuple(turns), chain=False)


def _find(place: str, roots: list[Path], name: str) -> bytes | None:
    return next((data for root in roots if (data := read_file(place, root, name)) is not None), None)
