"""What a catalogue has, to compare exports of it with."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mira_batch import read_catalogue
from mira_batch.config.shared import StorageConfig

LEFT_OUT = ("taken_away", "not_selected", "gone", "not_ok", "not_approved")


def good_rows(output: Path | str, storage: StorageConfig | None = None) -> dict[str, dict[str, Any]]:
    """The rows of a catalogue that are ok, by record_id."""
    rows = read_catalogue(str(output), storage=storage).to_pylist()
    return {row["record_id"]: row for row in rows if row["status"] == "ok"}


def pixels(data: bytes | Image.Image) -> np.ndarray[Any, Any]:
    """The pixels of an encoded image."""
    image = data if isinstance(data, Image.Image) else Image.open(io.BytesIO(data))
    return np.asarray(image.convert("RGBA"))


def same_pixels(data: bytes | Image.Image, row: dict[str, Any]) -> bool:
    """Whether an image looks as a catalogue's row has it."""
    return bool(np.array_equal(pixels(data), pixels(row["image"]["bytes"])))


def add_up(found: dict[str, Any]) -> bool:
    """Whether an export's counts are those of all records."""
    return found["records"] == found["exported"] + found["already"] + sum(found[name] for name in LEFT_OUT)


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """What lies in a folder, hidden things too: inode and time of each file."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def visible(folder: Path) -> set[str]:
    """What people see there."""
    return {name for name in files_of(folder) if not name.startswith(".mira-batch/")}


def decide(file: Path, rows: Iterable[dict[str, Any]], verdict: str) -> None:
    """Add decisions about results to a file."""
    with open(file, "a") as lines:
        for row in rows:
            said = {name: row[name] for name in ("record_id", "work_id", "result_digest")}
            lines.write(json.dumps(said | {"decision": verdict, "note": "", "by": "ann"}) + "\n")
