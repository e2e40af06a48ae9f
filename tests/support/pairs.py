"""Pairs to teach an editor by: small images, whose target is of another colour."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = ((64, 64), (96, 64))
"""Of the images, in turn."""
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}


def write_pairs(folder: Path, count: int = 8) -> Path:
    """A manifest of pairs (JSONL) and its images."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, rows = np.random.default_rng(0), []
    for number in range(count):
        size, name = SIZES[number % len(SIZES)], list(COLOURS)[number % len(COLOURS)]
        pixels = draw.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        source = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
        source.save(folder / f"{number}.png")
        Image.blend(source, Image.new("RGB", size, COLOURS[name]), 0.7).save(folder / f"{number}-after.png")
        row = {
            "record_id": f"pair-{number}",
            "original": f"{number}.png",
            "image": f"{number}-after.png",
            "instruction": f"make it {name}",
        }
        rows.append(json.dumps(row))
    (folder / "pairs.jsonl").write_text("\n".join(rows) + "\n")
    return folder / "pairs.jsonl"
