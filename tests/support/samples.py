"""Samples to train policies on: small images, whose colour decides the answer."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mira_batch.core.actions import format_action
from mira_batch.core.identity import content_hash, frame_of
from mira_batch.core.types import Edit, StopAction
from mira_batch.storage.samples import SAMPLES

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (30, 40, 210), "grey": (90, 90, 90)}


def make_sample(number: int, split: str = "train", **other: Any) -> dict[str, Any]:
    """A sample: an image of one colour is to become of another; every third is done already."""
    names = list(COLOURS)
    now, wanted = names[number % 4], names[(number // 4) % 4]
    begun = number % 2 == 1
    original, current = _paint(now, 40 + number % 20), _paint(wanted if number % 3 == 0 else now, 45)
    stop = begun and number % 3 == 0
    action = StopAction(f"it is {wanted}") if stop else Edit(f"make it {wanted}", f"it is {now}")
    answer = format_action(action)
    row = {
        "sample_id": content_hash(split, str(number)),
        "split": split,
        "kind": "stop" if stop else "continue" if begun else "start",
        "origin": "trajectory",
        "instruction": f"make it {wanted}",
        "original": _encode(original),
        "current": _encode(current) if begun else None,
        "history": [{"instruction": f"make it {wanted}", "accepted": number % 5 != 0}] if begun else [],
        "answer": answer,
        "thought": action.thought,
        "edit": None if stop else f"make it {wanted}",
        "source_digest": f"{split}-{number}",
        "current_digest": frame_of(current).digest,
        "score": None,
        "dataset": "colours",
        "licence": "CC0-1.0",
        "record_id": f"r{number}",
        "run": None,
        "work_id": None,
        "step": int(begun),
    }
    return row | other


def write_samples(folder: Path, train: int = 40, val: int = 6, group: int = 4, files: int = 2) -> Path:
    """Files of samples as construct lays them out, with row groups of `group` samples."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, parts in (("train", train, files), ("val", val, 1)):
        rows = [make_sample(number, split) for number in range(count)]
        for part in range(parts if count else 0):
            write_file(folder / f"{split}-{part:05d}.parquet", rows[part::parts], group)
    return folder


def write_file(path: Path, rows: list[dict[str, Any]], group: int = 4, schema: pa.Schema = SAMPLES) -> Path:
    """One file of samples."""
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=group)
    return path


def _paint(colour: str, side: int) -> Image.Image:
    image = Image.new("RGB", (side, side), COLOURS[colour])
    image.putpixel((side // 2, 3), (255, 255, 255))
    return image


def _encode(image: Image.Image) -> dict[str, Any]:
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}
