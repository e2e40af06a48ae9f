"""What a run's results add up to, from one pass over their small columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mira_batch.config.shared import StorageConfig
from mira_batch.core.receipts import Tally
from mira_batch.core.types import Status
from mira_batch.core.usage import Usage
from mira_batch.report.charts import Histograms
from mira_batch.storage import schema
from mira_batch.storage.run import layout
from mira_batch.storage.run.results import results_dataset, tell_unfinished
from mira_batch.storage.stores import Store

_SMALL = ["status", "stop_reason", "error_kind", "num_steps", "seconds", "cost", "fidelity"]


class Kind(NamedTuple):
    """How a record ended that is not ok."""

    failed: bool
    """Else it is unfinished."""
    reason: str
    """Its error kind or stop reason."""


@dataclass(frozen=True)
class Totals:
    """All records of a run: what they add up to, and where each one is."""

    tally: Tally
    """Without `resumed_steps`, which results don't say."""
    files: Sequence[str]
    starts: Sequence[int]
    """Of each file, the position of its first row in the run."""
    outcomes: Any
    """An int16 for each record, in the run's order: -1 of one that is ok, else a place in `kinds`."""
    kinds: Sequence[Kind]
    """How records that are not ok ended."""
    histograms: Histograms
    """Of their numbers."""


def read_totals(store: Store, storage: StorageConfig) -> Totals:
    """The totals of the results in a run's directory, which may have none yet.

    Memory holds two bytes for each record and a name for each file.

    Raises:
        StoreError: the results can't be listed.
        pa.ArrowException, OSError: a result file can't be read.
    """
    tally = Tally()
    starts: dict[str, int] = {}
    kinds: dict[Kind, int] = {}
    outcomes = [np.zeros(0, np.int16)]
    histograms = Histograms()
    if any(layout.shard_of(entry.key) is not None for entry in store.list("results")):
        # Footers are not kept: those of a hundred thousand shards would fill the memory.
        scanner = results_dataset(store.uri, storage).scanner(
            columns=_SMALL, cache_metadata=False, fragment_readahead=16
        )
        for scanned, fragment in scanner.scan_batches():
            starts.setdefault(fragment.path, tally.records)
            batch = tell_unfinished(scanned)
            tally += _count_batch(batch)
            histograms.add(batch)
            outcomes.append(_number_outcomes(batch, kinds))
    return Totals(
        tally, list(starts), list(starts.values()), np.concatenate(outcomes), list(kinds), histograms
    )


def _count_batch(batch: pa.RecordBatch) -> Tally:
    seconds = {field.name: float(_sum(batch["seconds"].field(field.name))) for field in schema.SECONDS}
    statuses = _count_values(batch["status"])
    return Tally(
        records=batch.num_rows,
        ok=statuses.get(Status.ok, 0),
        unfinished=statuses.get(Status.unfinished, 0),
        steps=int(_sum(batch["num_steps"])),
        errors=_count_values(batch["error_kind"]),
        stops=_count_values(batch["stop_reason"]),
        usage=Usage(seconds, float(_sum(batch["cost"]))),
    )


def _number_outcomes(batch: pa.RecordBatch, kinds: dict[Kind, int]) -> Any:
    """Of each record its `Totals.outcomes`; a kind not met before is added to `kinds`."""
    numbers = np.full(batch.num_rows, -1, np.int16)
    statuses = batch["status"].to_numpy(zero_copy_only=False)
    for place in np.flatnonzero(statuses != Status.ok).tolist():
        failed = statuses[place] != Status.unfinished
        reason = batch["error_kind" if failed else "stop_reason"][place].as_py()
        numbers[place] = kinds.setdefault(Kind(failed, reason or ""), len(kinds))
    return numbers


def _sum(column: Any) -> Any:
    return column.to_numpy().sum()


def _count_values(column: Any) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in column.drop_null().value_counts().to_pylist()}
