"""Workers that share a model out among them (FSDP2) learn what workers learn that have it whole each."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mira_batch.config.shared import StorageConfig
from mira_batch.storage.stores import open_store
from mira_batch.train.checkpoints import find_owner, list_whole
from tests.support.runs.together import train_together
from tests.support.runs.trainings import read_metrics, settings_of
from tests.support.samples import write_samples

pytestmark = [pytest.mark.slow]

FULL: dict[str, Any] = {
    "tuning": {"type": "full"},
    "optimizer": {"learning_rate": 1e-3, "max_grad_norm": 0.5},
    "max_steps": 3,
    "batch": 1,
    "accumulate": 2,
    "gradient_checkpointing": True,
    "validation": {"every": 2, "samples": 3},  # of which one worker has two, and the other one
    "checkpoints": {"every": 1, "keep": 20},
    "log_every": 1,
    "backend": "ray",
}


@pytest.fixture(scope="module")
def outputs(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of the same training by two workers: whole, shared out, and shared out in two calls."""
    root = tmp_path_factory.mktemp("sharded")
    data, model = write_samples(root / "data", train=16), tiny_models / "qwen2.5-vl"
    found = {name: root / name for name in ("whole", "shared", "gone on")}
    whole, shared, gone_on = (
        settings_of(model, data, output, workers={"num": 2, "strategy": strategy}, **FULL)
        for output, strategy in zip(found.values(), ("ddp", "fsdp2", "fsdp2"), strict=True)
    )
    train_together([whole, shared, partial(copy_killed, found["shared"], found["gone on"]), gone_on])
    return found


def copy_killed(output: Path, to: Path) -> None:
    """What a kill after the second checkpoint would have left of a training."""
    shutil.copytree(output, to)
    for name in ("result.json", "metrics.jsonl", "README.md"):
        (to / name).unlink()
    for name in ("model", "checkpoints/00000003"):
        shutil.rmtree(to / name)


def read_model(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


def test_all_weights_become_those_of_workers_that_have_them_whole(
    outputs: dict[str, Path], tiny_models: Path
) -> None:
    whole, shared = (read_model(outputs[name]) for name in ("whole", "shared"))
    before = load_file(tiny_models / "qwen2.5-vl" / "model.safetensors")
    assert {name: w.shape for name, w in shared.items()} == {name: w.shape for name, w in before.items()}
    for name, weight in whole.items():
        assert torch.allclose(shared[name], weight, rtol=0, atol=1e-5), name
        if "visual" not in name:
            assert float((weight - before[name]).abs().max()) > 1e-3, f"{name} learned nothing"
    config = "model/config.json"
    assert (outputs["shared"] / config).read_text() == (outputs["whole"] / config).read_text()


def test_figures_are_those_of_workers_that_have_it_whole(outputs: dict[str, Path]) -> None:
    whole, shared = (read_metrics(outputs[name]) for name in ("whole", "shared"))
    assert [line.keys() for line in shared] == [line.keys() for line in whole]
    assert {"grad_norm", "loss", "val_loss", "sight"} <= {name for line in whole for name in line}
    for line, other in zip(shared, whole, strict=True):
        assert line == pytest.approx(other, rel=1e-4)


def test_gone_on_with_it_ends_with_the_same_bytes(outputs: dict[str, Path]) -> None:
    for name in ("model/model.safetensors", "metrics.jsonl"):
        assert (outputs["gone on"] / name).read_bytes() == (outputs["shared"] / name).read_bytes()


def test_each_worker_keeps_its_own_part_of_a_checkpoint(outputs: dict[str, Path]) -> None:
    store = open_store(str(outputs["shared"]), StorageConfig())
    assert list_whole(store) == [3, 2, 1]
    names = {path.name.split(".")[0]: path for path in (outputs["shared"] / "checkpoints/00000002").iterdir()}
    assert {"learned_0", "learned_1", "optimizer_0", "optimizer_1"} < names.keys()
    assert find_owner("optimizer_1.pt") == 1 and find_owner("trainer_state.json") is None
    first, second = (names[f"optimizer_{rank}"].stat().st_size for rank in (0, 1))
    (whole,) = (outputs["whole"] / "checkpoints/00000002").glob("optimizer.pt.*")
    assert second == pytest.approx(first, rel=0.1)
    assert first < 0.6 * whole.stat().st_size, "each worker has the whole of it"
