"""Where results are: one run or all runs of an output, and the rows that stand for their records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.core.types import Status
from mira_batch.storage.catalogue.standing import find_standing_rows

NEEDED = ("record_id", "status", "source_digest", "result_digest", "run", "shard", "row")
"""Columns of the rows that stand for records."""
ROW_BYTES = 2_000
"""What reading a row's small columns takes, about."""
SPLIT_BYTES = 64_000_000
"""What is less than two of these is read in the driver."""


def read_standing(place: str, one_run: bool, config: EvaluateConfig) -> tuple[str, Iterator[pa.Table]]:
    """The output that results lie in, and their rows (schema `SNAPSHOT`): of those that are to be judged, and
    of failed ones, which are counted.

    Args:
        place: a run, or all runs of an output.
        one_run: which of both.
        config: the job's; what `input.where` says is up to the caller.
    """
    found = find_standing_rows(place, one_run, config.storage, rollouts=config.input.against is None)
    wanted = pc.SetLookupOptions(pa.array(sorted({*config.input.wanted, Status.failed.value})))

    def choose(table: pa.Table) -> pa.Table:
        is_wanted = pc.call_function("is_in", [table["status"]], wanted)
        return table.filter(pc.call_function("and", [is_wanted, table["gone"].is_null()]))

    return found.output, (choose(table) for table in found.tables)


def name_version(row: Mapping[str, Any]) -> str:
    """What tells that a result changed."""
    return f"{row['run']} {row['shard']} {row['row']} {row['result_digest']}"
