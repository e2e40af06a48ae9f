"""The results of edit runs, item by item of the benchmark that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mira_batch.config.shared import StorageConfig
from mira_batch.core.types import Status
from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError
from mira_batch.storage.run.layout import read_edit_run
from mira_batch.storage.run.results import results_dataset
from mira_batch.storage.run.rollouts import refuse_rollouts
from mira_batch.storage.stores import open_store

_LIGHT = ("record_id", "status", "instruction", "error_kind")
_ROWS = 8
"""Rows with their images in memory at once."""


@dataclass(frozen=True, slots=True)
class Edits:
    """Which run has the result of which item."""

    runs: Sequence[str]
    found: Mapping[str, str]
    """The run's directory by record_id, of all that have a result."""
    failed: Mapping[str, str]
    """Kind of error by record_id, of those whose edit failed in each run that has it."""
    storage: StorageConfig

    def explain(self, name: str) -> str:
        """Why there is no result of an item, in words."""
        return f"the edit failed ({self.failed[name]})" if name in self.failed else "not in the run"

    def read(self) -> Iterator[tuple[str, bytes]]:
        """The encoded result of each item that has one, in the order of the runs.

        Raises:
            BenchmarkError: a row has no image.
            StoreError: a result file can't be read.
        """
        for run in self.runs:
            dataset = results_dataset(run, self.storage)
            columns = ["record_id", "image"]
            for batch in dataset.to_batches(columns=columns, batch_size=_ROWS, cache_metadata=False):
                for index in range(batch.num_rows):
                    name = batch["record_id"][index].as_py()
                    if self.found.get(name) != run:
                        continue
                    image = batch["image"][index].as_py()
                    if not image or not image.get("bytes"):
                        raise BenchmarkError(f"{run}: the result of {name} has no image in it")
                    yield name, image["bytes"]


def find_edits(
    runs: Sequence[str], instructions: Mapping[str, str], folder: str, storage: StorageConfig
) -> Edits:
    """Find the results of a benchmark's items. A result of one run goes before a failure of another.

    Args:
        runs: directories of edit runs.
        instructions: by record_id, of all items that there may be.
        folder: of the prepared benchmark, for messages.
        storage: how the runs are reached.

    Raises:
        BenchmarkError: a run has a record that is no item, another instruction of one, or a result that
            another run has as well.
        RunConflict: one is no edit run.
        StoreError: one can't be read.
    """
    found: dict[str, str] = {}
    failed: dict[str, str] = {}
    for run in runs:
        about = read_edit_run(open_store(run, storage, make=False))
        refuse_rollouts(about, run, "a benchmark counts one result of each item")
        for batch in results_dataset(run, storage).to_batches(columns=list(_LIGHT), cache_metadata=False):
            for row in batch.to_pylist():
                name = row["record_id"]
                if name not in instructions:
                    raise BenchmarkError(f"{run}: has {name}, which is no item of {folder}")
                if row["instruction"] != instructions[name]:
                    raise BenchmarkError(f"{run}: {name} was asked for otherwise than in {folder}")
                if row["status"] == Status.failed:
                    failed[name] = str(row["error_kind"])
                elif name in found:
                    raise BenchmarkError(
                        f"{name} has a result in {found[name]} and in {run}; give one of them"
                    )
                else:
                    found[name] = run
    return Edits(runs, found, {name: why for name, why in failed.items() if name not in found}, storage)
