"""Checks a finished run against its plan, reading what users will read, file by file.

planned = committed      each shard has its file, each planned record its row, once
every row is sound       what that means is the job's to say (`edit/verify.py`)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.core.types import Status
from mira_batch.storage import schema
from mira_batch.storage.run import layout
from mira_batch.storage.run.planfile import PlanReader, explain_lost_plan, read_plan
from mira_batch.storage.run.results import columns_to_read, tell_unfinished
from mira_batch.storage.stores import Store, shorten_error

_MOST_PROBLEMS = 1_000
_THREADS = 4
_ASIDE = "keep it, but move it out of the run's directory, and run the job again"
"""What to do about a result file that is no good. Never to delete: it may be good after all."""


@dataclass
class Verdict:
    """What `verify` found."""

    planned: int = 0
    committed: int = 0
    ok: int = 0
    """Records with this status; `unfinished` and `failed` ones are no fault of the run's wholeness."""
    unfinished: int = 0
    failed: int = 0
    images: int = 0
    """Images decoded."""
    steps: int = 0
    problems: list[str] = field(default_factory=list)
    """Each names the file, the record and what is wrong. Empty: the run is whole."""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class RowCheck:
    """What a job found in one row."""

    images: int = 0
    """Images decoded."""
    steps: int = 0
    problems: Sequence[str] = ()
    """Each in words, the record named."""


def verify(
    store: Store, fields: pa.Schema, check_row: Callable[[Store, Mapping[str, Any]], RowCheck]
) -> Verdict:
    """Check a run, one result file in memory at a time.

    Args:
        store: the run's directory.
        fields: schema of the job's results.
        check_row: the job's check of one row. Called from several threads.

    Raises:
        RunConflict: there is no run here.
        StoreError: it can't be read.
    """
    layout.read_run(store)
    verdict = Verdict()
    plan = read_plan(store)
    if plan is None:
        unplanned = f"{store.locate(layout.PLAN)}: the run is not planned yet; run it again"
        verdict.problems.append(explain_lost_plan(store) or unplanned)
        return verdict
    verdict.planned = plan.records
    keys = {entry.key for entry in store.list("results")}
    expected = {layout.result_key(shard.index): shard for shard in plan.shards()}
    for key in sorted(keys - expected.keys()):
        verdict.problems.append(f"{key}: is not part of the plan; move it elsewhere")
    seen: set[str] = set()
    works = PlanReader(store, ("work_id",))
    with ThreadPoolExecutor(_THREADS) as pool:
        for key, shard in expected.items():
            if len(verdict.problems) > _MOST_PROBLEMS:
                break
            if key not in keys:
                verdict.problems.append(f"{key}: is missing ({shard.records} records); run the job again")
                continue
            file = _open(store, key, fields)
            if isinstance(file, str):
                verdict.problems.append(file)
                continue
            planned = {row["work_id"] for row in works.read(shard)}
            _check_records(key, file, planned, seen, verdict)
            for found in pool.map(lambda row: check_row(store, row), _read_rows(file)):
                verdict.images += found.images
                verdict.steps += found.steps
                verdict.problems += [f"{key}: {problem}" for problem in found.problems]
    return verdict


class _DamagedPages(Exception):
    """A Parquet file's footer is whole, but not all else."""


def _open(store: Store, key: str, fields: pa.Schema) -> pq.ParquetFile | str:
    try:
        file = store.read(key, _parse_whole)
    except _DamagedPages as error:
        return f"{key}: is damaged ({error}); {_ASIDE}"
    except (pa.ArrowException, OSError) as error:
        return f"{key}: is not whole Parquet ({shorten_error(error)}); {_ASIDE}"
    if file is None:
        return f"{key}: was removed just now; run the job again"
    lacking = schema.ADDED - set(file.schema_arrow.names)
    if not file.schema_arrow.equals(pa.schema([field for field in fields if field.name not in lacking])):
        return f"{key}: has another schema than results have; {_ASIDE}"
    return file


def _parse_whole(data: bytes) -> pq.ParquetFile:
    """A result file each page of which is whole, by its checksum."""
    file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    try:
        for group in range(file.num_row_groups):
            file.read_row_group(group)
    except (pa.ArrowException, OSError) as error:
        raise _DamagedPages(shorten_error(error)) from error
    return file


def _check_records(
    key: str, file: pq.ParquetFile, planned: set[str], seen: set[str], verdict: Verdict
) -> None:
    """Which records the file holds, against the plan and all files before it."""
    table = tell_unfinished(
        file.read(columns=columns_to_read(["work_id", "status"], file.schema_arrow.names))
    )
    found, statuses = table["work_id"].to_pylist(), Counter(table["status"].to_pylist())
    verdict.committed += len(found)
    verdict.ok += statuses[Status.ok]
    verdict.unfinished += statuses[Status.unfinished]
    verdict.failed += len(found) - statuses[Status.ok] - statuses[Status.unfinished]
    for work in found:
        if work in seen:
            verdict.problems.append(f"{key}: work_id {work} is there twice")
        elif work not in planned:
            verdict.problems.append(f"{key}: work_id {work} is not planned for this shard")
        seen.add(work)
    for work in planned - set(found):
        verdict.problems.append(f"{key}: planned work_id {work} is missing")


def _read_rows(file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    for group in range(file.num_row_groups):
        yield from file.read_row_group(group).to_pylist()
