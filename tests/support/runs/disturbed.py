"""Runs that something happened to, and the same runs left alone: their results must be equal."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.receipts import Progress
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.edits import verify_edits

CLI = [sys.executable, "-m", "mira_batch.cli"]
Results = dict[str, tuple[Any, ...]]


class Notes(Progress):
    """Keeps what people would be told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def results(where: str, storage: StorageConfig | None = None) -> Results:
    """What a run gave, by record: how it ended, its image's bytes and its steps'."""
    columns = ["record_id", "status", "stop_reason", "error_kind", "num_steps", "image"]
    rows = read_outputs(where, storage=storage).select(columns).to_pylist()
    steps: dict[str, list[tuple[Any, ...]]] = {row["record_id"]: [] for row in rows}
    for step in read_trajectories(where, storage=storage).to_pylist():
        told = (step["index"], step["instruction"], step["seed"], step["after"], _digest(step["image"]))
        steps[step["record_id"]].append(told)
    return {
        row.pop("record_id"): (
            *(v for k, v in row.items() if k != "image"),
            _digest(row["image"]),
            tuple(own),
        )
        for row, own in zip(rows, steps.values(), strict=True)
    }


def _digest(image: dict[str, Any] | None) -> str:
    return hashlib.sha256(image["bytes"]).hexdigest() if image else ""


def left_alone(config: BulkEditConfig, folder: Path, log: Path | None = None) -> Results:
    """The results of the same pipeline, run in this process into `folder` with nothing in its way.

    `log` is the log of a counting editor; it is removed, and so is its `hold` to be set up afterwards.
    """
    quick = {"replicas": 4, "max_batch": 64}
    changes = {
        "backend": "inline",
        "output": config.output.model_copy(update={"uri": str(folder)}),
        "editor": config.editor.model_copy(update=quick),
        "workers": config.workers.model_copy(update={"records_in_flight": 64}),
    }
    summary = run(config.model_copy(update=changes))
    assert summary.complete
    if log is not None:
        log.unlink()
    return results(summary.run)


def assert_whole(where: str, config: BulkEditConfig, records: int) -> None:
    """Every planned record is there exactly once, with images and steps that fit."""
    verdict = verify_edits(open_store(where, config.storage))
    assert verdict.problems == []
    assert verdict.planned == verdict.committed == records


def until(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def find_below(folder: Path, ending: str) -> list[Path]:
    """The files below a folder whose names end so, sorted. Others may delete what is there at this moment,
    upon which `Path.glob` would raise."""
    return sorted(
        Path(at, name) for at, _, names in os.walk(folder) for name in names if name.endswith(ending)
    )


def config_file(folder: Path, settings: dict[str, Any]) -> tuple[Path, BulkEditConfig]:
    """A config for the command line, and the same for this process."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path, load_config(settings)


def start(config: Path, *arguments: str, group: bool = False, **environment: str) -> subprocess.Popen[str]:
    """`mira-batch run` in a process of its own; with `group` in a process group, as a terminal's job."""
    return subprocess.Popen(
        [*CLI, "run", "--config", str(config), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
        start_new_session=group,
    )


def heard(process: subprocess.Popen[str], words: str) -> str:
    """What a driver prints until it says these words."""
    assert process.stdout is not None
    so_far = ""
    for line in process.stdout:
        so_far += line
        if words in line:
            return so_far
    raise AssertionError(f"it ended without saying {words!r}: {so_far}")
