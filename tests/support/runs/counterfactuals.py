"""Runs in the synthetic world that are gone back into: tasks, and the configs of both jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.config.load import load_own_config
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.tasks import generate_tasks

WORLD = "mira_batch.train.world"
TRIES = 3
"""Continuations from each state."""


def write_tasks(folder: Path) -> list[str]:
    """Four tasks of three clauses each, none of which needs more than three edits."""
    tasks = [task for task in generate_tasks("train", 40) if len(task.kinds) == 3][:4]
    write_manifest(folder / "tasks.parquet", tasks)
    return [task.name for task in tasks]


def edit_settings(folder: Path, ruin: dict[str, int], **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "input": {"manifest": str(folder / "tasks.parquet")},
        "output": {"uri": str(folder / "edited"), "fidelity": False},
        "run_id": "trunk",
        "policy": {
            "type": "custom",
            "factory": "tests.support.models.planted:make_planted",
            "options": {"ruin": ruin},
        },
        "editor": {"type": "custom", "factory": f"{WORLD}:make_editor", "options": {"failures": 0}},
        "backend": "inline",
    }
    return given | more


def configure(trunk: str, output: Path, **more: Any) -> CounterfactualConfig:
    given: dict[str, Any] = {
        "run": trunk,
        "judge": {"type": "custom", "factory": f"{WORLD}:make_judge"},
        "output": {"uri": str(output)},
        "continuations": TRIES,
        "backend": "inline",
    }
    return load_own_config(CounterfactualConfig, given | more)
