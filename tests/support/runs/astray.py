"""A run of a policy that sometimes goes astray, and constructs over it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from mira_batch import load_config, run
from mira_batch.config.construct import ConstructConfig
from tests.support.runs.catalogue import SAMPLE

GOAL = "make it sepia, then mirror it"
WAYS = {
    "right": ["make it sepia", "mirror it"],
    "detour": ["make it sepia", "flip it upside down", "flip it upside down", "mirror it"],
    "lost": ["rotate it a quarter turn clockwise", "mirror it"],
    "twin": ["make it sepia", "mirror it"],
}
PHOTOGRAPHS = {"right": 0, "detour": 1, "lost": 1, "twin": 0}
"""Which one each record is of: two of each, so that these share their first state."""


def edit_astray(folder: Path) -> Path:
    """A run of a policy that sometimes goes astray, with the exact judge; four photographs, one of them
    twice."""
    (folder / "images").mkdir()
    paths = sorted((SAMPLE / "images").iterdir())[:2]
    with open(folder / "manifest.jsonl", "w") as manifest:
        for name in WAYS:
            image = Image.open(paths[PHOTOGRAPHS[name]]).convert("RGB")
            image.thumbnail((64, 64))
            image.save(folder / "images" / f"{name}.png")
            said = {
                "record_id": name,
                "image": f"images/{name}.png",
                "instruction": GOAL,
                "licence": "CC0-1.0",
            }
            manifest.write(json.dumps(said) + "\n")
    config = {
        "input": {"manifest": str(folder / "manifest.jsonl")},
        "output": {"uri": str(folder / "edited")},
        "policy": {
            "type": "custom",
            "factory": "tests.support.models.wandering:make_policy",
            "options": {"ways": WAYS},
        },
        "editor": {"type": "pillow"},
        "judge": {
            "model": {"type": "custom", "factory": "tests.support.models.wandering:make_judge"},
            "attempts": 1,
            "tolerance": 1.0,
        },
        "backend": "inline",
        "run_id": "r",
    }
    return Path(run(load_config(config)).run)


def configure_construct(run: Path, out: Path, **more: Any) -> ConstructConfig:
    source = {"type": "runs", "uri": str(run)} | more.pop("source", {})
    settings = {"output": {"uri": str(out)}, "sources": [source], "split": {"val_fraction": 0.4}} | more
    return ConstructConfig.model_validate(settings)


def read_samples(out: Path) -> list[dict[str, Any]]:
    files = sorted(out.glob("samples/*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]
