"""Trainings by rollouts in the synthetic world for the tests: the world, settings, and what was learned.

One thread and one request a call: then nothing depends on what happens to be in flight together, and the same
training gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.load import load_own_config
from mira_batch.train.grpo.run import train
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.tasks import generate_tasks
from tests.support.models.taught import write_taught

WORLD = "mira_batch.train.world"
RECORDS, ROLLOUTS = 4, 4


def write_world(folder: Path) -> None:
    """A model that has learned how to answer, and tasks."""
    write_taught(folder / "base")
    write_manifest(folder / "train.parquet", generate_tasks("train", 8))
    write_manifest(folder / "val.parquet", generate_tasks("val", 2))


def settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Those of a short training there."""
    judge = {"type": "custom", "factory": f"{WORLD}:make_judge"}
    given: dict[str, Any] = {
        "model": {"weights": str(folder / "base"), "dtype": "float32"},
        "edit": {
            "input": {"manifest": str(folder / "train.parquet")},
            "editor": {"type": "custom", "factory": f"{WORLD}:make_editor", "options": {"failures": 0.15}},
            "policy": {"max_tokens": 16, "max_batch": 1, "devices": ["cpu"]},
            "limits": {"max_steps": 2, "malformed_retries": 1},
        },
        "rewards": {"judge": judge, "step_cost": 0.05, "malformed_penalty": 0.25},
        "output": {"uri": str(folder / "out")},
        "prompt": {"form": "short"},
        "tuning": {"r": 4},
        "credit": "trajectory",
        "iterations": 2,
        "records": RECORDS,
        "rollouts": ROLLOUTS,
        "minibatch": 8,
        "batch": 8,
        "loss": {"kl_weight": 0.01},
        "optimizer": {"learning_rate": 1e-3},
        "agreement": {"mean": 1e-5, "most": 1e-3},
        "precision": "float32",
        "gradient_checkpointing": False,
        "backend": "inline",
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


def learn(folder: Path, **changes: Any) -> dict[str, Any]:
    """Train in this process."""
    return train(load_own_config(GrpoConfig, settings(folder, **changes)), print)


def read_adapters(folder: Path) -> list[bytes]:
    """Weights of the adapters: of each iteration, and the one that was chosen."""
    name = "adapter/adapter_model.safetensors"
    return [path.read_bytes() for path in (*sorted(folder.glob(f"iterations/*/{name}")), folder / name)]
