"""What a run's results add up to, from one pass over their small columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mira_batch.config.shared import StorageConfig
from mira_batch.core.receipts import Tally
from mira_batch.core.types import Status
from mira_batch.core.usage import Usage
from mira_batch.storage import schema
from mira_batch.storage.run import layout
from mira_batch.storage.run.results import results_dataset
from mira_batch.storage.stores import Store

_SMALL = ["status", "stop_reason", "error_kind", "num_steps", "seconds", "cost"]


@dataclass(frozen=True)
class Totals:
    """All records of a run: what they add up to, and where each one is."""

    tally: Tally
    """Without `resumed_steps`, which results don't say."""
    files: Sequence[str]
    starts: Sequence[int]
    """Of each file, the position of its first row in the run."""
    failed: Any
    """A bool for each record, in the run's order."""


def read_totals(store: Store, storage: StorageConfig) -> Totals:
    """The totals of the results in a run's directory, which may have none yet.

    Memory holds a byte for each record and a name for each file.

    Raises:
        StoreError: the results can't be listed.
        pa.ArrowException, OSError: a result file can't be read.
    """
    tally = Tally()
    starts: dict[str, int] = {}
    failed = [np.zeros(0, bool)]
    if any(layout.shard_of(entry.key) is not None for entry in store.list("results")):
        # Footers are not kept: those of a hundred thousand shards would fill the memory.
        scanner = results_dataset(store.uri, storage).scanner(
            columns=_SMALL, cache_metadata=False, fragment_readahead=16
        )
        for batch, fragment in scanner.scan_batches():
            starts.setdefault(fragment.path, tally.records)
            tally += _count_batch(batch)
            failed.append(batch["status"].to_numpy(zero_copy_only=False) == Status.failed)
    return Totals(tally, list(starts), list(starts.values()), np.concatenate(failed))


def _count_batch(batch: pa.RecordBatch) -> Tally:
    seconds = {field.name: float(_sum(batch["seconds"].field(field.name))) for field in schema.SECONDS}
    return Tally(
        records=batch.num_rows,
        ok=_count_values(batch["status"]).get(Status.ok, 0),
        steps=int(_sum(batch["num_steps"])),
        errors=_count_values(batch["error_kind"]),
        stops=_count_values(batch["stop_reason"]),
        usage=Usage(seconds, float(_sum(batch["cost"]))),
    )


def _sum(column: Any) -> Any:
    return column.to_numpy().sum()


def _count_values(column: Any) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in column.drop_null().value_counts().to_pylist()}
