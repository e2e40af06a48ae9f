"""Trainings of tiny editors by their own samples for the tests: records, settings, and what was learned.

One thread and one request a call: then nothing depends on what happens to be in flight together, and the same
training gives the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.load import load_own_config
from mira_batch.train.nft.run import train

JUDGE = {"type": "custom", "factory": "tests.support.models.reddish:make_judge"}
RECORDS, SAMPLES = 2, 6


def write_records(folder: Path, count: int, seed: int = 0) -> Path:
    """A manifest of small images, of two shapes in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, rows = np.random.default_rng(seed), []
    for number in range(count):
        size = (64, 64) if number % 2 == 0 else (96, 48)
        Image.fromarray(draw.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(
            folder / f"{number}.png"
        )
        row = {"record_id": f"r{number}", "image": f"{number}.png", "instruction": "make the car red"}
        rows.append(json.dumps(row))
    (folder / "records.jsonl").write_text("\n".join(rows) + "\n")
    return folder / "records.jsonl"


def nft_settings(pipeline: Path, manifest: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """Those of a short training; the name of the pipeline's folder is that of its class."""
    given: dict[str, Any] = {
        "editor": {
            "pipeline": f"diffusers.{pipeline.name}",
            "weights": str(pipeline),
            "dtype": "float32",
            "area": 64 * 64,
        },
        "edit": {
            "input": {"manifest": str(manifest)},
            "sampler": {"steps": 2, "max_batch": 1, "devices": ["cpu"]},
        },
        "rewards": {"judge": JUDGE},
        "filter": {"least_spread": None, "solved_above": None},
        "output": {"uri": str(output)},
        "tuning": {"r": 4, "alpha": 8},
        "iterations": 2,
        "records": RECORDS,
        "rollouts": SAMPLES,
        "epochs": 3,
        "minibatch": 6,
        "batch": 6,
        "loss": {"clip": 1.0},
        "ema": 0.5,
        "optimizer": {"learning_rate": 0.02},
        "precision": "float32",
        "gradient_checkpointing": False,
        "sight_samples": 2,
        "backend": "inline",
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


def teach(settings: dict[str, Any], notes: list[str] | None = None) -> dict[str, Any]:
    """Train in this process."""
    return train(load_own_config(EditorNftConfig, settings), (notes if notes is not None else []).append)


def read_adapters(output: Path) -> dict[str, bytes]:
    """All adapters, and states of the optimiser, by where they are."""
    files = [*output.glob("**/pytorch_lora_weights.safetensors"), *output.glob("**/optimizer.pt")]
    return {str(file.relative_to(output)): file.read_bytes() for file in files}
