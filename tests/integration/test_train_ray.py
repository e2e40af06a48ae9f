"""Workers that learn together on a real Ray Train: they learn what one learns, and one may be lost."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from mira_batch.config.shared import StorageConfig
from mira_batch.storage.stores import Store, open_store
from mira_batch.train.checkpoints import list_whole
from tests.support.pairs import write_pairs
from tests.support.runs.trainings import (
    editor_settings_of,
    read_gradients,
    read_learned,
    read_metrics,
    settings_of,
    train_editor_here,
    train_here,
)
from tests.support.samples import write_samples

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def kill_a_worker_after_the_first_step(store: Store, killed: list[int], over: threading.Event) -> None:
    while not over.wait(0.1):
        if list_whole(store):
            mine = psutil.Process().children(recursive=True)
            workers = [child.pid for child in mine if "RayTrainWorker" in " ".join(child.cmdline())]
            if workers:
                psutil.Process(workers[-1]).send_signal(signal.SIGKILL)
                killed.append(workers[-1])
                return


SAME: dict[str, Any] = {
    "tuning": {"type": "lora", "r": 4, "alpha": 8},
    "optimizer": {"learning_rate": 1e-3, "max_grad_norm": 1e9},
    "checkpoints": {"every": 1, "keep": 20},
}


def test_two_workers_have_the_gradients_of_one(tiny_models: Path, tmp_path: Path) -> None:
    data, model = write_samples(tmp_path / "data"), tiny_models / "qwen2.5-vl"
    # One batch in place of two, whose answers have different lengths: each token counts alike in both.
    train_here(settings_of(model, data, tmp_path / "one", **SAME, max_steps=1, batch=4))
    two = settings_of(model, data, tmp_path / "two", **SAME, max_steps=1, backend="ray", workers={"num": 2})
    train_here(two)
    outputs = (tmp_path / "one", tmp_path / "two")
    alone, together = (read_gradients(output) for output in outputs)
    assert len(alone) == len(together) == 2 * 7 * 2  # A and B of seven layers of two blocks
    assert max(float(gradient.abs().max()) for gradient in alone) > 0.1
    for gradient, other in zip(alone, together, strict=True):
        assert torch.allclose(gradient, other, rtol=0, atol=1e-5)
    validated = [[line for line in read_metrics(output) if "val_loss" in line] for output in outputs]
    assert validated[1][0] == pytest.approx(validated[0][0])  # which the two share between them


@pytest.mark.soak
def test_two_workers_teach_an_editor_as_one_does(folders: dict[str, Path], tmp_path: Path) -> None:
    pairs, pipeline = write_pairs(tmp_path / "pairs"), folders["FluxKontextPipeline"]
    step: dict[str, Any] = {"batch": 1, "max_steps": 1, "checkpoints": {"every": 1}}
    outputs = [tmp_path / "one", tmp_path / "two"]
    train_editor_here(editor_settings_of(pipeline, pairs, outputs[0], **step, accumulate=2))
    train_editor_here(
        editor_settings_of(pipeline, pairs, outputs[1], **step, backend="ray", workers={"num": 2})
    )
    alone, together = (read_gradients(output) for output in outputs)
    largest = max(float(gradient.abs().max()) for gradient in alone)
    assert len(alone) == len(together) and largest > 0.1
    for gradient, other in zip(alone, together, strict=True):
        assert torch.allclose(gradient, other, rtol=0, atol=1e-4 * largest)
    validated = [[line for line in read_metrics(output) if "val_loss" in line] for output in outputs]
    assert validated[1][0] == pytest.approx(validated[0][0])  # which the two share between them
    files = [sorted(path.name for path in (output / "encoded").rglob("*.safetensors")) for output in outputs]
    assert files[0] == files[1]


@pytest.mark.soak
def test_workers_that_share_a_model_are_killed_and_end_with_the_same_bytes(
    tiny_models: Path, tmp_path: Path
) -> None:
    """An adapter of rank 1: of its matrices with one row only the first worker has a part."""
    data, model = write_samples(tmp_path / "data"), tiny_models / "qwen2.5-vl"
    lora = {"tuning": {"type": "lora", "r": 1, "alpha": 2, "dropout": 0.1}}
    workers = {"num": 2, "retries": 1, "strategy": "fsdp2"}
    calm, killed = (
        settings_of(model, data, tmp_path / name, **SAME | lora, max_steps=12, backend="ray", workers=workers)
        for name in ("calm", "killed")
    )
    train_here(calm)
    notes = list[str]()
    train_and_kill(killed, notes)
    assert any("going on after step" in note for note in notes)
    assert read_learned(tmp_path / "killed") == read_learned(tmp_path / "calm")


def train_and_kill(settings: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """A training of which a worker is killed after the first checkpoint."""
    killed, over = list[int](), threading.Event()
    store = open_store(settings["output"]["uri"], StorageConfig())
    killer = threading.Thread(target=kill_a_worker_after_the_first_step, args=(store, killed, over))
    killer.start()
    try:
        result = train_here(settings, notes)
    finally:
        over.set()
        killer.join()
    assert killed
    return result


@pytest.mark.soak
def test_a_worker_that_dies_is_replaced(tiny_models: Path, tmp_path: Path) -> None:
    data, model = write_samples(tmp_path / "data"), tiny_models / "qwen2.5-vl"
    workers = {"num": 2, "retries": 1}
    two = settings_of(model, data, tmp_path / "two", **SAME, max_steps=12, backend="ray", workers=workers)
    notes = list[str]()
    result = train_and_kill(two, notes)
    assert sum("all begin again from the newest checkpoint" in note for note in notes) == 1
    assert any("going on after step" in note for note in notes)
    assert result["steps"] == 12 and (tmp_path / "two" / "adapter" / "adapter_model.safetensors").exists()
