"""The edit job's part of what the runner and the store do for any job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunStopped
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.edit.job import EditJob
from mira_batch.runtime import run as runner
from mira_batch.runtime.attempts import Session
from mira_batch.runtime.prepare import make_spec
from mira_batch.runtime.worker import ShardWorker
from mira_batch.storage import schema
from mira_batch.storage.manifest.listing import ManifestFile
from mira_batch.storage.run import layout, verify
from mira_batch.storage.run.result_file import results_file
from mira_batch.storage.stores.objects import Store, open_store


def spec_of(config: BulkEditConfig, files: Sequence[ManifestFile]) -> layout.RunSpec:
    """What a run over these manifest files is."""
    versions = [(file.path, file.version) for file in files]
    return make_spec(EditJob(config), versions, config.input.manifest)


def open_edit_run(config: BulkEditConfig, files: Sequence[ManifestFile]) -> Store:
    return layout.open_run(spec_of(config, files))


def edit_run_id(config: BulkEditConfig, files: Sequence[ManifestFile]) -> str:
    return spec_of(config, files).name


def edit_results(rows: Iterable[Mapping[str, Any]], footer: Mapping[bytes, str] | None = None) -> memoryview:
    """A result file of these rows."""
    return results_file(rows, schema.RESULTS, footer)


def verify_edits(store: Store) -> verify.Verdict:
    """`mira-batch verify` of a run's directory."""
    config = BulkEditConfig.model_validate(layout.read_run(store)["config"])
    return verify.verify(store, schema.RESULTS, EditJob(config).check_row)


def plan_edits(config: BulkEditConfig, progress: Progress | None = None) -> RunSummary:
    """The run, begun and planned, without any record run."""
    stop = StopRequest()
    stop.ask(RunEnd.deadline, "it is to be planned only")  # a deadline waits for the plan
    try:
        return runner.run(EditJob(config), progress, stop)
    except RunStopped as planned:
        return planned.summary


def read_status(config: BulkEditConfig) -> RunSummary:
    return runner.status(EditJob(config))


def open_worker(config: BulkEditConfig, run: str, session: str, **more: Any) -> ShardWorker:
    """A worker on the run in this directory."""
    return ShardWorker(EditJob(config), open_store(run, config.storage), Session(session), **more)


def find_run(output: str | Path, storage: StorageConfig | None = None) -> Store:
    """The directory of the only run under an output."""
    root = open_store(str(output), storage or StorageConfig(), make=False)
    [name] = [name for name in root.list_folders() if name != "catalogue"]
    return open_store(root.locate(name), storage or StorageConfig(), make=False)
