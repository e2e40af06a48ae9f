"""What the fault tests share: runs over S3 behind the fault proxy, and what must come out of them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from mira_batch import load_config, read_outputs, read_trajectories
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest
from mira_batch.models.embedded.pillow_editor import PillowEditor
from mira_batch.storage.run.layout import shard_of
from mira_batch.storage.run.planfile import read_plan
from mira_batch.storage.stores.objects import Store, open_store
from tests.support import ROOT
from tests.support.runs.catalogue import settings
from tests.support.runs.edits import find_run, verify_edits
from tests.support.servers.fault_proxy import FaultProxy
from tests.support.servers.s3 import S3Server

RECORDS = 34
Outcome = dict[str, tuple[Any, ...]]
"""record_id -> what must be the same however often a run was disturbed."""


class CountingEditor:
    """The embedded editor, a bit slower, which notes each edit it begins in a file."""

    identity = "counting/1"
    max_batch = 4

    def __init__(self, log: str, seconds: float) -> None:
        self._editor = PillowEditor()
        self._log = log
        self._seconds = seconds

    def bucket(self, request: EditRequest) -> Hashable:
        return self._editor.bucket(request)

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        lines = "".join(f"{request.record_id} {request.step}\n" for request in requests)
        with open(self._log, "ab", buffering=0) as log:  # one write: whole, also from several processes
            log.write(lines.encode())
        time.sleep(self._seconds)
        return self._editor.apply(requests)


def make_editor(log: str, seconds: float) -> CountingEditor:
    return CountingEditor(log, seconds)


def counting(log: Path, seconds: float) -> dict[str, Any]:
    """The config of a `CountingEditor`."""
    options = {"log": str(log), "seconds": seconds}
    return {"type": "custom", "factory": "tests.support.runs.faultruns:make_editor", "options": options}


def edits_begun(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


@dataclass(frozen=True)
class Place:
    """A catalogue in the real S3 server, reached through the proxy, and a run over it."""

    s3: S3Server
    proxy: FaultProxy
    folder: Path
    """For what is kept on the disk: the config file and the editor's log."""
    prefix: str

    @property
    def uri(self) -> str:
        return f"s3://{self.s3.bucket}/{self.prefix}"

    def settings(self, **more: Any) -> dict[str, Any]:
        storage = {"endpoint_url": self.proxy.endpoint, "timeout_seconds": 5, "retry_seconds": 30}
        storage |= more.pop("storage", {})
        return settings(f"{self.uri}/catalogue/manifest.jsonl", f"{self.uri}/out", storage=storage, **more)

    def config(self, **more: Any) -> BulkEditConfig:
        return load_config(self.settings(**more))

    def config_file(self, **more: Any) -> Path:
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.settings(**more)))
        return path

    def counting(self, seconds: float = 0.03) -> dict[str, Any]:
        return counting(self.folder / "edits", seconds)

    def edits_begun(self) -> int:
        """By all drivers so far, with a counting editor."""
        return edits_begun(self.folder / "edits")

    @property
    def past(self) -> StorageConfig:
        """How to reach the store past the proxy."""
        return StorageConfig(endpoint_url=self.s3.endpoint)

    def store(self) -> Store:
        """The run's directory, past the proxy."""
        return find_run(f"{self.uri}/out", self.past)

    def durable_edits(self) -> int:
        """Edits that a resumed run will find: in results, and in the step logs of other shards."""
        store = self.store()
        done = {shard_of(entry.key) for entry in store.list("results")}
        return sum(row[3] for row in outcome(store.uri, self.past).values()) + sum(
            int(entry.key.split("/")[1]) not in done
            for entry in store.list("state")
            if entry.key.endswith(".step")
        )

    def await_commits(self, count: int, of: Future[Any] | None = None) -> None:
        """Wait until so many shards are committed.

        Raises: what the run has ended with before, if that is given.
        """
        root = open_store(f"{self.uri}/out", self.past)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if sum("/results/" in entry.key for entry in root.list("")) >= count:
                return
            if of is not None and of.done():
                of.result()
            time.sleep(0.02)
        raise TimeoutError(f"{self.uri}: fewer than {count} shards are committed")


def outcome(run: str, storage: StorageConfig | None = None) -> Outcome:
    """Of the records committed so far. Each is there once."""
    columns = ["record_id", "status", "stop_reason", "error_kind", "num_steps", "image"]
    rows = read_outputs(run, columns, storage).to_pylist()
    assert len({row["record_id"] for row in rows}) == len(rows)
    steps: dict[str, list[Any]] = {}
    for step in read_trajectories(run, images=False, storage=storage).to_pylist():
        kept = (step["index"], step["instruction"], step["before"], step["after"])
        steps.setdefault(step["record_id"], []).append(kept)
    return {
        row["record_id"]: (
            row["status"],
            row["stop_reason"],
            row["error_kind"],
            row["num_steps"],
            digest(row["image"]),
            sorted(steps.get(row["record_id"], [])),
        )
        for row in rows
    }


def digest(image: dict[str, Any] | None) -> str | None:
    """Of a result image's pixels."""
    if image is None:
        return None
    return frame_of(Image.open(io.BytesIO(image["bytes"])).copy()).digest


def check_whole(store: Store, storage: StorageConfig | None, undisturbed: Outcome) -> None:
    """The run is complete and whole, one file a shard, no state left, and equals the undisturbed one."""
    verdict = verify_edits(store)
    assert verdict.problems == []
    assert verdict.planned == verdict.committed == len(undisturbed)
    plan = read_plan(store)
    assert plan is not None and len(list(store.list("results"))) == len(plan.sizes)
    assert list(store.list("state")) == []
    assert outcome(store.uri, storage) == undisturbed


def check_sound(store: Store, storage: StorageConfig | None, undisturbed: Outcome) -> int:
    """What is committed so far is right: no record failed that ought not to. How many that are."""
    found = outcome(store.uri, storage)
    assert found == {name: undisturbed[name] for name in found}
    return len(found)


def cli(config: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`mira-batch run` to its end."""
    with started(config, *arguments, **environment) as process:
        out, err = process.communicate(timeout=90)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextmanager
def started(config: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`mira-batch run` in a process of its own."""
    command = [sys.executable, "-m", "mira_batch.cli", "run", "--config", str(config), *arguments]
    environment = os.environ | environment | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
