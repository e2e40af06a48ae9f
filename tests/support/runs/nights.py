"""A catalogue over many nights: a manifest that changes, and runs over it that are counted."""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from mira_batch.catalogue.current import read_catalogue
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.load import load_config
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunStopped
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.launch import make_job
from mira_batch.runtime import run as runner
from mira_batch.storage.catalogue.bucketfiles import read_bucket
from mira_batch.storage.catalogue.place import Catalogue, open_catalogue
from mira_batch.storage.catalogue.snapshot import find_newest
from mira_batch.storage.stores import Store, open_store
from tests.support.models.counted import counted, read_edits
from tests.support.runs.catalogue import settings

STEPS = 2
_POLICY: dict[str, Any] = {"type": "simulated", "steps": {"exact": {"*": STEPS}}}
_WORKERS: dict[str, Any] = {"min": 1, "max": 1, "records_in_flight": 4, "shard_size": 4}


@dataclass
class Nights:
    """Its own folder with a manifest, one image a record, and `out` for the runs."""

    folder: Path
    """For the log of edits; and for all else, where there is no other place."""
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    place: str = ""
    """The directory of manifest, images and runs, if it is another."""
    storage: StorageConfig = field(default_factory=StorageConfig)
    editor: dict[str, Any] | None = None
    """In place of one that counts its edits and does nothing else."""
    added: int = 0
    """Records there ever were."""

    @property
    def log(self) -> Path:
        return self.folder / "edits.log"

    def add(self, count: int, instruction: str = "make it sepia") -> list[str]:
        """New records, and an image for each."""
        names = [f"rec-{self.added + i:04d}" for i in range(count)]
        for name in names:
            self.added += 1
            self.rows[name] = {"record_id": name, "image": f"{name}.png", "instruction": instruction}
            self.paint(name, self.added)
        return names

    @property
    def store(self) -> Store:
        return open_store(self.place or str(self.folder), self.storage)

    @property
    def output(self) -> str:
        return f"{self.place or self.folder}/out"

    def open_catalogue(self) -> Catalogue:
        """What its runs have made together."""
        return open_catalogue(self.output, "edit", self.storage)

    def paint(self, name: str, shade: int, **how: Any) -> None:
        """Another image under the name; the same one in another file, if the shade is what it was."""
        sink = io.BytesIO()
        Image.new("RGB", (12, 8), (shade % 256, shade // 256, 77)).save(sink, "PNG", **how)
        self.store.put(f"{name}.png", sink.getvalue())

    def configure(self, **more: Any) -> BulkEditConfig:
        self.store.put("m.jsonl", "".join(json.dumps(row) + "\n" for row in self.rows.values()).encode())
        base = settings(
            f"{self.place or self.folder}/m.jsonl",
            self.output,
            storage=self.storage.model_dump(mode="json"),
            policy=_POLICY,
            editor=self.editor or counted(self.log),
            workers=_WORKERS,
        )
        return load_config(base | more)

    def run(
        self, stop_after: int | None = None, more: dict[str, Any] | None = None, **call: Any
    ) -> RunSummary:
        """A night. With `stop_after` it is cut short once so many records are committed. Then one record is
        run at a time, and takes longer than a commit, so that others are left."""
        slow: dict[str, Any] = {}
        if stop_after is not None:
            slow = {
                "policy": _POLICY | {"service": {"seconds": 0.02}},
                "workers": _WORKERS | {"records_in_flight": 1},
            }
        job, stop = make_job(self.configure(**slow | (more or {}))), StopRequest()

        class Watch(Progress):
            def committed(self, summary: RunSummary) -> None:
                if stop_after is not None and summary.committed >= stop_after:
                    stop.ask(RunEnd.deadline, "the night is over")

        try:
            return runner.run(job, Watch(), stop, **call)
        except RunStopped as early:
            assert stop_after is not None, early
            return early.summary

    def plan(self, **more: Any) -> RunSummary:
        return runner.plan(make_job(self.configure(**more)))

    @property
    def edits(self) -> int:
        """How many edits were begun so far."""
        return read_edits(self.log).begun.total() if self.log.exists() else 0

    @property
    def again(self) -> int:
        """How many of them had been begun before."""
        return read_edits(self.log).repeated if self.log.exists() else 0

    def runs(self) -> list[str]:
        folders = open_store(self.output, self.storage).list_folders()
        return sorted(name for name in folders if name != "catalogue")

    def current(self) -> dict[str, str]:
        """Status by record of the catalogue as it is."""
        table = read_catalogue(self.output, ["record_id", "status"], self.storage)
        return dict(zip(table["record_id"].to_pylist(), table["status"].to_pylist(), strict=True))

    def owners(self) -> set[str]:
        """The runs that have made what is in the catalogue now."""
        catalogue = self.open_catalogue()
        snapshot = find_newest(catalogue.store)
        tables = [read_bucket(catalogue.store, snapshot, bucket) for bucket in range(len(snapshot.files))]
        return {row["run"] for table in tables for row in table.to_pylist() if row["current"]}

    def state_files(self) -> int:
        store = open_store(self.output, self.storage)
        keys = (entry.key for name in self.runs() for entry in store.list(f"{name}/state"))
        return sum(key.endswith(".step") for key in keys)


def count_causes(summary: RunSummary) -> Counter[str]:
    """Records by the cause for which they are run, or not."""
    return Counter({name: cause.records for name, cause in summary.causes.items()})


def in_background(call: Any) -> tuple[threading.Thread, list[Any]]:
    """Call it in a thread; what it gave is in the list once the thread has ended."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    return thread, found
