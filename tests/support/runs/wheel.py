"""A flywheel in the synthetic world: settings of its turns, and of a run that takes what they promote.

The editor loses no edit, so that what a policy comes to depends on nothing but its weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mira_batch import launch, load_config
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.load import load_own_config

WORLD = "mira_batch.train.world"
EDITOR = {"type": "custom", "factory": f"{WORLD}:make_editor", "options": {"failures": 0.0}}
POLICY = {"dtype": "float32", "devices": ["cpu"], "sampling": {"max_tokens": 16}}


def wheel_settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a flywheel by which a turn gives the same adapter each time, in seconds."""
    given: dict[str, Any] = {
        "output": {"uri": str(folder / "wheel")},
        "promoted": str(folder / "promoted"),
        "samples": {
            "sources": [{"type": "runs", "uri": str(folder / "nights")}],
            "split": {"val_fraction": 0.0},
        },
        "train": {
            "model": {"weights": str(folder / "base"), "dtype": "float32"},
            "prompt": {"form": "short"},
            "tuning": {"type": "lora", "r": 2},
            "max_steps": 2,
            "batch": 4,
            "precision": "float32",
            "gradient_checkpointing": False,
            "validation": None,
            "sight_samples": 2,
        },
        "edit": {
            "input": {"manifest": str(folder / "heldout.parquet")},
            "editor": EDITOR,
            "policy": POLICY,
            "limits": {"max_steps": 1},
        },
        "evaluate": {
            "judge": {"type": "custom", "factory": f"{WORLD}:make_judge"},
            "controls": {"repeats": 0, "canaries": 0},
        },
        "gate": ["overall>=-1"],
        "max_unscored": 1.0,
        "backend": "inline",
    }
    return given | changes


def configure(folder: Path, **changes: Any) -> FlywheelConfig:
    """Its config."""
    return load_own_config(FlywheelConfig, wheel_settings(folder, **changes))


def show_night(manifest: str, output: str, **more: Any) -> str:
    """A night of the expert's, whose editor loses nothing: what a turn learns from.

    Args:
        manifest: of its records.
        output: where nights lie.
        more: settings beside these.

    Returns:
        The run's directory.
    """
    given = {
        "input": {"manifest": manifest},
        "output": {"uri": output},
        "policy": {"type": "custom", "factory": f"{WORLD}:make_expert"},
        "editor": EDITOR,
        "run_id": "night",
        "backend": "inline",
    }
    return launch.run(load_config(given | more)).run


def night(folder: Path, **changes: Any) -> BulkEditConfig:
    """A run of three records by the policy that is promoted."""
    given = {
        "input": {"manifest": str(folder / "heldout.parquet")},
        "output": {"uri": str(folder / "taken"), "fidelity": False},
        "policy": POLICY
        | {
            "type": "qwen_vl",
            "weights": str(folder / "base"),
            "prompt": {"form": "short"},
            "adapter": {"promoted": str(folder / "promoted")},
        },
        "editor": EDITOR,
        "limits": {"max_steps": 1},
        "workers": {"shard_size": 1, "records_in_flight": 1},
        "first": 3,
        "backend": "inline",
    }
    return load_config(given | changes)
