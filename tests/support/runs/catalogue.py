"""Catalogues for tests, made from the sample's photographs: any number of records, some of them bad."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support import ROOT

SAMPLE = ROOT / "configs" / "sample"
INSTRUCTIONS = (
    "rotate it a quarter turn clockwise",
    "make it black and white, then mirror it",
    "crop it square and shrink it to 50%",
    "brighten it by 20% and put a 4 px red border around it",
    "flip it upside down; make it sepia; then sharpen it",
)


def make_catalogue(folder: Path, records: int, size: int = 96) -> Path:
    """A folder with small copies of the sample's photographs and `manifest.jsonl` over them.

    Of every fifty records one has an instruction nobody understands and one an image that isn't there.
    """
    (folder / "images").mkdir(parents=True)
    names = []
    for path in sorted((SAMPLE / "images").iterdir()):
        image = Image.open(path)
        image.thumbnail((size, size))
        image.convert("RGB").save(folder / "images" / f"{path.stem}.png")
        names.append(f"images/{path.stem}.png")
    with open(folder / "manifest.jsonl", "w") as manifest:
        for i in range(records):
            manifest.write(json.dumps(record(i, names)) + "\n")
    return folder / "manifest.jsonl"


def record(i: int, names: list[str]) -> dict[str, Any]:
    image, instruction = names[i % len(names)], INSTRUCTIONS[i % len(INSTRUCTIONS)]
    if i % 50 == 17:
        instruction = "make it black and white, then frobnicate the gizmo"
    if i % 50 == 33:
        image = "images/missing.png"
    return {"record_id": f"rec-{i:05d}", "image": image, "instruction": instruction, "sku": i}


def copy_sample(folder: Path) -> Path:
    """A copy of the sample catalogue; returns its manifest."""
    shutil.copytree(SAMPLE, folder)
    return folder / "manifest.jsonl"


def settings(manifest: Path | str, output: Path | str, **more: Any) -> dict[str, Any]:
    """A config with small shards, so that a test sees many."""
    base: dict[str, Any] = {
        "input": {"manifest": str(manifest)},
        "output": {"uri": str(output)},
        "workers": {"min": 1, "max": 2, "records_in_flight": 8, "shard_size": 8},
        "backend": "inline",
    }
    return base | more
