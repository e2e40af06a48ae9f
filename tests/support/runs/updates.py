"""The last update of a training by iterations, made anew by other numbers of workers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from mira_batch.runtime.backends import TrainFunction
from tests.support.runs.together import train_together


def update_again(
    function: TrainFunction, before: Path, output: Path, settings: dict[str, Any], workers: int
) -> Path:
    """The last update of a training anew, in a copy of it, by processes of torch's own; the folder of its
    iteration there.

    Args:
        function: of a worker, which updates.
        before: the training's output.
        output: of the copy.
        settings: of the training, which may differ in what is of the update alone.
        workers: how many.
    """
    shutil.copytree(before, output)
    (output / "result.json").unlink()
    files = max((output / "iterations").iterdir())
    for path in (files / name for name in ("update.json", "iteration.json", "optimizer.pt", "encoded.json")):
        path.unlink(missing_ok=True)
    for path in (files / name for name in ("adapter", "trained", "sampling", "lora")):
        shutil.rmtree(path, ignore_errors=True)
    config = settings | {
        "output": {"uri": str(output)},
        "backend": "ray" if workers > 1 else "inline",
        "workers": {"num": workers},
    }
    train_together([{"config": config, "iteration": int(files.name)}], workers, function)
    return files


def read_update(files: Path) -> dict[str, torch.Tensor]:
    """What an update made: adapters, and AdamW's means.

    Args:
        files: the folder of its iteration.
    """
    found = {
        f"{path.parent.name}/{name}": weight
        for path in files.glob("*/*.safetensors")
        for name, weight in load_file(path).items()
    }
    state = torch.load(files / "optimizer.pt", weights_only=True)["state"]
    return found | {f"{n}/{name}": mean for n, means in state.items() for name, mean in means.items()}
