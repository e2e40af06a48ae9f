"""Pico-Banana-400K's multi-turn part: JSON lines of files [{id, url}] (original_input_image, edit_turn1 …,
final_image) and metadata_edit_turn_prompts.

The original is what the owners' mapping script names in `local_input_image`, or a file called as the last
part of its URL below the images' folder, since its URL itself is not fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mira_batch.config.construct import PicoBananaConfig
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


def read(config: PicoBananaConfig) -> Iterator[Found | Left]:
    """The sessions of the file.

    Raises:
        DataSetError: it is laid out otherwise.
    """
    data = locate(config.data)
    file = data if data.is_file() else data / "multi-turn.jsonl"
    root = locate(config.images) if config.images else file.parent
    for number, (place, row) in enumerate(read_lines(file), 1):
        need(place, row, ("files", "metadata_edit_turn_prompts"))
        yield _read_session(str(number), place, row, root)


def _read_session(name: str, place: str, row: Mapping[str, Any], root: Path) -> Found | Left:
    prompts, files = row["metadata_edit_turn_prompts"], row["files"]
    if not isinstance(prompts, list) or not isinstance(files, list):
        raise DataSetError(f"{place}: files and metadata_edit_turn_prompts are lists in this data set")
    urls = {need_text(place, file, "id"): need_text(place, file, "url") for file in files}
    local = row.get("local_input_image")
    original = _find_original(place, root, local, urls.get("original_input_image"))
    if original is None:
        return Left("no_original")
    turns = []
    for number, prompt in enumerate(prompts, 1):
        url = urls.get("final_image" if number == len(prompts) else f"edit_turn{number}")
        image = None if url is None else read_file(place, root, url)
        if image is None:
            return Left("no_image")
        turns.append(FoundTurn(need_text(place, {"prompt": prompt}, "prompt"), image))
    return Found(name, original, tuple(turns)) if turns else Left("no_turns")


def _find_original(place: str, root: Path, local: object, url: str | None) -> bytes | None:
    if isinstance(local, str) and local:
        path = Path(local)
        within = path.relative_to(root) if path.is_absolute() and path.is_relative_to(root) else path
        return None if within.is_absolute() else read_file(place, root, str(within))
    return None if url is None else read_file(place, root, url.rsplit("/", 1)[-1])
