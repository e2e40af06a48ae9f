"""Trainings of a tiny model for the tests: settings, the command, and what it made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml

from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.config.train import SftConfig
from mira_batch.storage.stores import open_store
from mira_batch.train.checkpoints import fetch
from mira_batch.train.editor.run import train as train_editor
from mira_batch.train.run import train
from tests.support import ROOT


def settings_of(model: Path, data: Path, output: Path, /, **other: Any) -> dict[str, Any]:
    """Settings by which a training gives the same bytes each time, in seconds."""
    return {
        "model": {"weights": str(model), "dtype": "float32"},
        "data": {"uri": str(data), "window": 8},
        "output": {"uri": str(output)},
        "tuning": {"type": "lora", "r": 4, "alpha": 8, "dropout": 0.1},
        "optimizer": {"learning_rate": 3e-3},
        "max_steps": 6,
        "batch": 2,
        "precision": "float32",
        "gradient_checkpointing": False,
        "validation": {"every": 3, "samples": 4},
        "checkpoints": {"every": 2},
        "log_every": 2,
        "sight_samples": 2,
        "backend": "inline",
        **other,
    }


def train_here(settings: dict[str, Any], notes: list[str] | None = None) -> dict[str, Any]:
    """A training in this process."""
    return train(SftConfig.model_validate(settings), (notes if notes is not None else []).append)


def start_training(settings: dict[str, Any], file: Path) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    file.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "mira_batch.cli", "train", "policy-sft", "--config", str(file), "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read_metrics(output: Path) -> list[dict[str, Any]]:
    """Lines of its metrics.jsonl."""
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def read_gradients(output: Path) -> list[torch.Tensor]:
    """Those of the first step: AdamW's mean of gradients is then a tenth of them (1 - beta1)."""
    with tempfile.TemporaryDirectory() as folder:
        assert fetch(open_store(str(output), StorageConfig()), 1, Path(folder)) is not None
        state = torch.load(Path(folder) / "optimizer.pt", weights_only=True)["state"]
    return [state[number]["exp_avg"] / 0.1 for number in sorted(state)]


def read_learned(output: Path, folder: str = "adapter") -> dict[str, bytes]:
    """The files of its adapter."""
    return {file.name: file.read_bytes() for file in (output / folder).iterdir()}


def editor_settings_of(pipeline: Path, pairs: Path, output: Path, /, **other: Any) -> dict[str, Any]:
    """The same of an editor; the name of the pipeline's folder is that of its class."""
    return {
        "editor": {
            "pipeline": f"diffusers.{pipeline.name}",
            "weights": str(pipeline),
            "dtype": "float32",
            "area": 64 * 64,
        },
        "data": {"manifest": str(pairs), "split": {"val_fraction": 0.3}},
        "output": {"uri": str(output)},
        "tuning": {"type": "lora", "r": 4, "alpha": 8},
        "optimizer": {"learning_rate": 0.03, "max_grad_norm": 1000},
        "max_steps": 6,
        "batch": 2,
        "precision": "float32",
        "gradient_checkpointing": False,
        "validation": {"every": 3},
        "checkpoints": {"every": 3},
        "log_every": 3,
        "sight_samples": 2,
        "backend": "inline",
        **other,
    }


def train_editor_here(settings: dict[str, Any], notes: list[str] | None = None) -> dict[str, Any]:
    """A training of an editor in this process."""
    return train_editor(EditorSftConfig.model_validate(settings), (notes if notes is not None else []).append)
