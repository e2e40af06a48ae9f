"""Two runs beside each other: which records came, went, or have another result, and what each run cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.config.base import make_absolute
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage import schema
from mira_batch.storage.run.history import read_columns
from mira_batch.storage.run.layout import find_changed_settings, read_edit_run
from mira_batch.storage.run.rollouts import refuse_rollouts
from mira_batch.storage.stores import open_store

_COLUMNS = (
    "record_id",
    "work_id",
    "status",
    "stop_reason",
    "error_kind",
    "num_steps",
    "seconds",
    "cost",
    "result_digest",
)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs, by what lies in its results."""

    run: str
    records: int
    statuses: Mapping[str, int]
    steps: int
    seconds: float
    """What its records took, policy, editor and judge together."""
    cost: float
    """US dollars that endpoints charged."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two runs of the edit job."""

    old: Side
    new: Side
    settings: Sequence[str]
    """What of their settings."""
    same: int
    """Records of both with the same status and the same pixels."""
    changed: Sequence[Mapping[str, Any]]
    """Records of both with another status or other pixels: `record_id`, and `status`, `num_steps`, `seconds`,
    `cost`, `result_digest` as `old_…` and `new_…`."""
    came: Sequence[str]
    """Records that only the new one has."""
    went: Sequence[str]
    """Records that only the old one has."""
    moves: Mapping[str, int]
    """Records by how their status changed: "failed -> ok"."""


def compare_runs(old: str, new: str, storage: StorageConfig | None = None) -> Difference:
    """Compare two runs, record by record. Images are not read: pixels are compared by their digests.

    Args:
        old, new: the directories of two runs of the edit job.
        storage: how to reach an object store; None uses the environment.

    Raises:
        RunConflict: one is no run, or one of another job.
        StoreError: the results of one can't be read.
    """
    storage = storage or StorageConfig()
    runs = [make_absolute(run).rstrip("/") for run in (old, new)]
    abouts = [read_edit_run(open_store(run, storage, make=False)) for run in runs]
    for run, about in zip(runs, abouts, strict=True):
        refuse_rollouts(about, run, "evaluate it, and compare evaluations")
    settings = [about["settings"] for about in abouts]
    left, right = (_read(run, storage) for run in runs)
    both = left.join(right, "record_id", join_type="inner", left_suffix="_old", right_suffix="_new")
    equal = pc.call_function("equal", [both["result_digest_old"], both["result_digest_new"]])
    none = [pc.call_function("is_null", [both[f"result_digest_{side}"]]) for side in ("old", "new")]
    alike = pc.call_function("or", [equal.fill_null(False), pc.call_function("and", none)])
    same = pc.call_function(
        "and", [alike, pc.call_function("equal", [both["status_old"], both["status_new"]])]
    )
    changed = both.filter(pc.call_function("invert", [same])).sort_by("record_id")
    names = [name for name in _COLUMNS[2:] for name in (f"{name}_old", f"{name}_new")]
    rows = changed.select(["record_id", *names]).to_pylist()
    moves = Counter(
        f"{row['status_old']} -> {row['status_new']}"
        for row in rows
        if row["status_old"] != row["status_new"]
    )
    return Difference(
        _sum_up(runs[0], left),
        _sum_up(runs[1], right),
        find_changed_settings(*settings),
        both.num_rows - changed.num_rows,
        [_rename(row) for row in rows],
        _find_others(right, left),
        _find_others(left, right),
        dict(moves),
    )


def _read(run: str, storage: StorageConfig) -> pa.Table:
    tables = read_columns(run, _COLUMNS, schema.RESULTS, storage, _raise)
    whole = pa.schema([schema.RESULTS.field(name) for name in _COLUMNS])
    table = pa.concat_tables([whole.empty_table(), *(table for _, table in tables)])
    seconds = table["seconds"].combine_chunks()
    spent = [seconds.field(name).to_numpy(zero_copy_only=False) for name in ("policy", "editor", "judge")]
    total = sum(map(np.nan_to_num, spent))
    place = table.schema.get_field_index("seconds")
    return table.set_column(place, "seconds", pa.array(total, pa.float64()))


def _sum_up(run: str, table: pa.Table) -> Side:
    def total(name: str) -> Any:
        return pc.call_function("sum", [table[name]]).as_py() or 0

    statuses = dict(Counter(table["status"].to_pylist()))
    return Side(
        run, table.num_rows, statuses, total("num_steps"), float(total("seconds")), float(total("cost"))
    )


def _find_others(table: pa.Table, than: pa.Table) -> list[str]:
    known = pc.SetLookupOptions(than["record_id"].combine_chunks())
    others = pc.call_function("invert", [pc.call_function("is_in", [table["record_id"]], known)])
    return sorted(table["record_id"].filter(others).to_pylist())


def _rename(row: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {"record_id": row["record_id"]}
    for name in row:
        stem, _, side = name.rpartition("_")
        if side in ("old", "new"):
            renamed[f"{side}_{stem}"] = row[name]
    return renamed


def _raise(error: StoreError) -> None:
    raise error
