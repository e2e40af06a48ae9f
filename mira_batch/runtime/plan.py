"""Plans a run: takes what the job scans, drops duplicates and what earlier runs have done, cuts shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.errors import JobError, ManifestError, job_boundary
from mira_batch.runtime.job import Job
from mira_batch.storage import schema
from mira_batch.storage.run.history import EarlierWork, find_earlier_work
from mira_batch.storage.run.layout import RunSpec
from mira_batch.storage.run.planfile import Plan, PlanWriter, SkippedBy
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store

_WORK_ID = pc.MatchSubstringOptions("^[0-9a-f]{32}$")


def make_plan(
    job: Job,
    spec: RunSpec,
    scanned: Iterable[pa.Table],
    store: Store,
    on_rows: Callable[[int], None],
) -> Plan:
    """Read all that the job reads and write the plan.

    The driver holds a digest per record (to find duplicates and work already done) and the last few
    thousand rows; the images of a large manifest never reach it.

    Args:
        job: the job.
        spec: the run.
        scanned: the job's scan of all its splits, in order.
        store: the run's directory.
        on_rows: told how many rows were read so far.

    Raises:
        ManifestError: the manifest can't be used, or has not one valid row.
        StoreError: the store can't be used.
    """
    output, workers = job.config.output, job.config.workers
    done = output.done_statuses
    earlier = find_earlier_work(spec, job.result_schema, done) if done else EarlierWork()
    writer = PlanWriter(store, workers.shard_size, workers.most)
    seen: set[bytes] = set()
    rejects: list[pa.Table] = []
    skipped: Counter[int] = Counter()
    read = 0
    for table in scanned:
        read += table.num_rows
        on_rows(read)
        records, bad, left_out = _select(table, job.plan_schema, seen, earlier.by)
        writer.add(records)
        rejects.append(bad)
        skipped.update(left_out)
    refused = pa.concat_tables([schema.REJECTS.empty_table(), *rejects])
    if read == 0:
        raise ManifestError(f"{spec.source}: the manifest is empty: it has no rows")
    if refused.num_rows == read:
        first = refused.to_pylist()[0]
        raise ManifestError(
            f"{spec.source}: none of its {read} rows can be used; the first: "
            f"{first['where']}: {first['field']} {first['reason']}"
        )
    by_models = [SkippedBy(earlier.models[place], records) for place, records in sorted(skipped.items())]
    return writer.finish(refused, skipped.total(), by_models)


def needs_backend(source: Source, splits: Sequence[Any]) -> bool:
    """Whether `make_plan` scans these splits on the job's backend, which must have started by then.

    What makes less than two splits is read here in less time than Ray takes to start its tasks.
    """
    return sum(split.size for split in splits) >= 2 * source.split_bytes


def scan_split(job: Job, split: Any) -> Iterator[pa.Table]:
    """`job.scan`, whose faults are named.

    Raises:
        ManifestError: the split can't be read to its end.
        JobError: the job raised something else, or gave a table of another schema or a work_id that is none.
    """
    fields = schema.scan_schema(job.plan_schema)
    where = f"job {job.config.job}: scan"
    with job_boundary(f"{where} of {split!r}"):
        for table in job.scan(split):
            if not table.schema.equals(fields):
                raise JobError(f"{where} gave a table of another schema than scan_schema(plan_schema)")
            works = table.filter(table["reason"].is_null())["work_id"]
            valid = pc.call_function("match_substring_regex", [works], _WORK_ID).to_pylist()
            if valid.count(True) < len(works):
                raise JobError(f"{where} gave a work_id that is not 32 hex digits; see core.identity.work_id")
            yield table


def _select(
    table: pa.Table, plan: pa.Schema, seen: set[bytes], done: Mapping[bytes, int]
) -> tuple[pa.Table, pa.Table, list[int]]:
    """Split scanned rows into plan rows, rejects, and those already done, of which who did them is given."""
    valid = table["reason"].is_null()
    bad = table.filter(table["reason"].is_valid()).select(schema.REJECTS.names).cast(schema.REJECTS)
    good = table.filter(valid)
    fresh: list[bool] = []
    twice: list[bool] = []
    skipped: list[int] = []
    works = good["work_id"].to_pylist() if done else [""] * good.num_rows
    for digest, work in zip(good["digest"].to_pylist(), works, strict=True):
        duplicate = digest in seen
        seen.add(digest)
        done_by = None if duplicate or not done else done.get(bytes.fromhex(work))
        if done_by is not None:
            skipped.append(done_by)
        twice.append(duplicate)
        fresh.append(not duplicate and done_by is None)
    again = good.filter(pa.array(twice, pa.bool_()))
    if again.num_rows:
        reason = [schema.DUPLICATE] * again.num_rows
        columns = [again["where"], again["record_id"], ["record_id"] * again.num_rows, reason]
        bad = pa.concat_tables([bad, pa.table(columns, schema=schema.REJECTS)])
    return good.filter(pa.array(fresh, pa.bool_())).select(plan.names), bad, skipped
