"""Which rows an export hands over: the current ones of a catalogue, or those of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.config.export import ExportConfig
from mira_batch.core.types import Status
from mira_batch.storage import schema
from mira_batch.storage.catalogue.decided import (
    Verdicts,
    find_decided,
    read_verdicts,
    read_verdicts_of_runs,
)
from mira_batch.storage.catalogue.standing import find_standing_rows
from mira_batch.storage.catalogue.where import parse_where
from mira_batch.storage.run.decisions import APPROVE
from mira_batch.storage.stores import Store


@dataclass(frozen=True)
class Counts:
    """Records, by what became of them: each is counted once, by the first reason against it."""

    records: int = 0
    """All that the run or the catalogue has."""
    not_selected: int = 0
    """Not named by `where`."""
    gone: int = 0
    """The manifest has lost them since."""
    not_ok: int = 0
    """Failed or unfinished."""
    not_approved: int = 0
    """Nobody approved of the result, or somebody rejected it later."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    @property
    def chosen(self) -> int:
        """Those that are handed over."""
        return self.records - self.not_selected - self.gone - self.not_ok - self.not_approved


@dataclass
class Choice:
    """What of a source is handed over. `tables` is to be read once; `counts` adds up on the way."""

    output: str
    """The directory of all runs."""
    runs: Mapping[str, Store]
    """The directories of those that may be needed, by name."""
    tables: Iterator[pa.Table]
    """Rows of schema `CHOSEN`."""
    counts: Counts = Counts()


def choose(config: ExportConfig, look: Callable[[], None]) -> Choice:
    """Find what an export hands over.

    Args:
        config: the export's.
        look: called now and then; what it raises ends the reading.

    Raises:
        ConfigError: the condition or a decision can't be read.
        RunConflict: the run is of another job.
        StoreError: there is no run, or one is damaged.
    """
    found = find_standing_rows(config.source, config.one_run, config.storage)
    where = parse_where(config.where)
    verdicts = _read_verdicts(config, found.runs) if config.approved_only else None
    choice = Choice(found.output, found.runs, iter(()))

    def read() -> Iterator[pa.Table]:
        for table in found.tables:
            look()
            rows, counts = _sift(table, where, verdicts, config.any_status)
            choice.counts += counts
            # By the name of the work that made it, a row is told from one that came since; where it stands in
            # for other work, that is what the result file says as well.
            place = rows.schema.get_field_index("work_id")
            own = rows.set_column(place, "work_id", rows["made_as"])
            yield own.select(schema.CHOSEN.names).cast(schema.CHOSEN)

    choice.tables = read()
    return choice


def _read_verdicts(config: ExportConfig, runs: Mapping[str, Store]) -> Verdicts:
    more = config.decisions
    own = None if more is None else read_verdicts(more, config.storage, "decisions")
    return read_verdicts_of_runs(runs.values(), own)


def _sift(
    table: pa.Table, where: pc.Expression, verdicts: Verdicts | None, any_status: bool
) -> tuple[pa.Table, Counts]:
    """Those of some current rows (schema `SNAPSHOT`) that are handed over, and what became of the others."""
    numbered = table.append_column("number", pa.array(np.arange(table.num_rows)))
    left = np.zeros(table.num_rows, bool)
    left[numbered.filter(where)["number"].to_numpy()] = True
    counts = Counts(table.num_rows, not_selected=table.num_rows - int(left.sum()))
    good = (
        np.ones(table.num_rows, bool)
        if any_status
        else pc.call_function("equal", [table["status"], pa.scalar(Status.ok.value)]).to_numpy()
    )
    tests: list[tuple[str, Any]] = [("gone", table["gone"].is_null().to_numpy()), ("not_ok", good)]
    if verdicts is not None:
        tests.append(("not_approved", find_decided(table, verdicts, APPROVE)))
    for name, passed in tests:
        counts = replace(counts, **{name: int((left & ~passed).sum())})
        left &= passed
    return table.filter(pa.array(left)), counts
