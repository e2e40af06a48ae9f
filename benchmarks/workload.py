"""Manifests, images and configs to measure with."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

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


def read_picture(path: Path) -> Image.Image:
    """In RGB, its file closed again."""
    with Image.open(path) as image:
        return image.convert("RGB")


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
