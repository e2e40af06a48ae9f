"""Manifests, images and configs to measure with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from mira_batch.config.models.simulated import StepCounts
from mira_batch.models.simulated import step_count
from tests.support.runs.catalogue import SAMPLE


def photographs(folder: Path, size: int) -> list[Path]:
    """The sample's photographs as squares of `size` pixels, JPEG as a shop would have them."""
    folder.mkdir(parents=True)
    paths = []
    for path in sorted((SAMPLE / "images").iterdir()):
        image = ImageOps.fit(Image.open(path).convert("RGB"), (size, size))
        paths.append(folder / f"{path.stem}.jpg")
        image.save(paths[-1], quality=90)
    return paths


def manifest(folder: Path, size: int, names: list[str]) -> Path:
    """A JSONL manifest of these record ids over the photographs in `folder`."""
    images = photographs(folder / "images", size)
    rows = [
        {"record_id": name, "image": f"images/{images[i % len(images)].name}", "instruction": "make it nicer"}
        for i, name in enumerate(names)
    ]
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(images: Path, number: int) -> Iterator[dict[str, Any]]:
    """Rows of a large catalogue: an image file each (empty, since a plan opens none), some metadata."""
    for i in range(number):
        folder = images / f"{i // 1000:04d}"
        if i % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{i:06d}.jpg").touch()
        yield {
            "record_id": f"sku-{i:07d}",
            "image": f"images/{folder.name}/{i:06d}.jpg",
            "instruction": "remove the background, then centre it and brighten it a little",
            "shop": f"shop-{i % 97}",
            "price": i % 5000 / 100,
        }


def large_manifests(folder: Path, number: int) -> dict[str, Path]:
    """The same large catalogue as JSONL and as Parquet."""
    found = list(rows(folder / "images", number))
    jsonl, parquet = folder / "manifest.jsonl", folder / "manifest.parquet"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in found))
    pq.write_table(pa.Table.from_pylist(found), parquet, row_group_size=10_000)
    return {"jsonl": jsonl, "parquet": parquet}


def records_with(edits: int) -> list[str]:
    """Record ids of which the simulated policy makes at least so many edits in all: 1 to 8 each, 2.5 on
    average before the cut at 8."""
    names, made = [], 0
    for i in count():
        if made >= edits:
            return names
        names.append(f"rec-{i:06d}")
        made += step_count(names[-1], StepCounts())
    raise AssertionError("unreachable")


def custom(factory: str, **options: Any) -> dict[str, Any]:
    return {"type": "custom", "factory": f"benchmarks.models:{factory}", "options": options}


def config(manifest: Path | str, output: Path | str, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "input": {"manifest": str(manifest)},
        "output": {"uri": str(output)},
        "policy": {"type": "simulated"},
        "editor": {"type": "simulated"},
    }
    return base | more
