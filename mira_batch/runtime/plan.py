"""Plans a run: takes what the job scans, drops duplicates and what earlier runs have done, cuts shards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.errors import JobError, ManifestError, job_boundary
from mira_batch.runtime.job import Job
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import BucketSpool, RowSpool, digest_records
from mira_batch.storage.catalogue.join import KEYS, Cause, join
from mira_batch.storage.catalogue.merge import Numbers
from mira_batch.storage.catalogue.place import Catalogue, take_number
from mira_batch.storage.catalogue.snapshot import Snapshot, read_part
from mira_batch.storage.run.layout import RunSpec, hash_form
from mira_batch.storage.run.planfile import CauseCount, LeftOut, Plan, PlanWriter, SkippedBy
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store

_LEAST_BUCKETS = 64
_NEWS = (Cause.new, Cause.image, Cause.instruction, Cause.settings, Cause.repeated)
_WORK_ID = pc.MatchSubstringOptions("^[0-9a-f]{32}$")


@dataclass(frozen=True, slots=True)
class Known:
    """A catalogue as it is when a plan is made."""

    catalogue: Catalogue
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a job reads, compared with what its catalogue has."""

    rows: RowSpool
    """All rows that were scanned."""
    causes: Numbers
    """A `Cause` for each."""
    pointers: pa.Table
    """What the catalogue has to know of records that are not run (schema `POINTERS`)."""
    left_out: LeftOut

    @property
    def has_news(self) -> bool:
        """Whether anything is otherwise than it was when a run over this came to its end. Records that failed
        then, and would be made again in any new run, are no news."""
        counts = self.left_out.causes
        return bool(self.pointers.num_rows) or any(cause.name in counts for cause in _NEWS)


@contextmanager
def compare(
    job: Job, spec: RunSpec, scanned: Iterable[pa.Table], known: Known, on_rows: Callable[[int], None]
) -> Iterator[Comparison]:
    """Read all that the job reads, and compare it with the catalogue. Nothing is written.

    The driver holds a bucket of the catalogue and the last few thousand rows; all others are on its local
    disk as long as the body runs. The images of a large manifest never reach it.

    Args:
        job: the job.
        spec: the run.
        scanned: the job's scan of all its splits, in order.
        known: what the catalogue has.
        on_rows: told how many rows were read so far.

    Raises:
        ManifestError: the manifest can't be used, or has not one valid row.
        StoreError: the store can't be used.
    """
    count, read = max(_LEAST_BUCKETS, len(known.snapshot.files)), 0
    with BucketSpool(count, KEYS) as keys, RowSpool(schema.scan_schema(job.plan_schema)) as rows:
        for table in scanned:
            keys.add(_take_keys(table, read))
            rows.add(table)
            read += table.num_rows
            on_rows(read)
        if read == 0:
            raise ManifestError(f"{spec.source}: the manifest is empty: it has no rows")
        found = _join_buckets(job, spec, known, keys, rows, read)
        if (found.causes == Cause.rejected).all():
            (first,) = next(_find_rejects(next(rows.read()), found.causes)).slice(0, 1).to_pylist()
            raise ManifestError(
                f"{spec.source}: none of its {read} rows can be used; the first: "
                f"{first['where']}: {first['field']} {first['reason']}"
            )
        yield found


def write_plan(job: Job, found: Comparison, store: Store, known: Known) -> Plan:
    """Write the plan of a run.

    Args:
        job: the job.
        found: what is to be run, and why.
        store: the run's directory.
        known: what `found` was compared with.

    Returns the plan that stands: this one, or the one another driver finished first.

    Raises:
        StoreError: the store can't be used.
    """
    writer = PlanWriter(store, job.config.workers.shard_size, job.config.workers.most)
    rejects = [schema.REJECTS.empty_table()]
    start = 0
    for table in found.rows.read():
        causes = found.causes[start : start + table.num_rows]
        start += table.num_rows
        writer.add(table.filter(pa.array(causes >= Cause.new)).select(job.plan_schema.names))
        rejects += _find_rejects(table, causes)
    writer.point(found.pointers)
    least = known.snapshot.newest_plan
    number = partial(take_number, known.catalogue, store.name, least)
    return writer.finish(pa.concat_tables(rejects), found.left_out, number)


def _take_keys(table: pa.Table, start: int) -> pa.Table:
    """What is compared of scanned rows; those that name no record are left out."""
    usable = table["reason"].is_null()
    works = pc.call_function("if_else", [usable, table["work_id"], pa.scalar(None, pa.string())])
    columns = {
        "number": pa.array(np.arange(start, start + table.num_rows)),
        "digest": table["digest"],
        "record_id": table["record_id"],
        "work_id": works,
    }
    for part in ("image_part", "instruction_part"):  # a job of the user's own may have none
        columns[part] = table[part] if part in table.column_names else pa.nulls(table.num_rows, pa.string())
    keys = pa.table([columns[name] for name in KEYS.names], schema=KEYS).filter(table["record_id"].is_valid())
    if not keys["digest"].null_count:
        return keys
    names = keys["record_id"].to_pylist()
    return keys.set_column(KEYS.get_field_index("digest"), KEYS.field("digest"), digest_records(names))


def _join_buckets(
    job: Job, spec: RunSpec, known: Known, keys: BucketSpool, rows: RowSpool, read: int
) -> Comparison:
    causes = np.full(read, Cause.rejected, np.int64)  # of those that name no record, and so are in no bucket
    form = hash_form(spec.settings)
    alike = [name for name, run in known.snapshot.runs.items() if run.form == form]
    pointers = [schema.POINTERS.empty_table()]
    models: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}

    def count(name: str, records: pa.ChunkedArray) -> None:
        counts[name] += len(records)
        if len(records):
            examples.setdefault(name, records[0].as_py())

    for bucket in range(keys.count):
        named = keys.read(bucket)
        table = read_part(known.catalogue.store, known.snapshot, bucket, keys.count)
        joined = join(named, table, job.config.output.done_statuses, alike, spec.source)
        causes[named["number"].to_numpy()] = joined.causes
        pointers.append(joined.pointers)
        models += joined.models
        for cause in np.unique(joined.causes).tolist():
            count(Cause(cause).name, named.filter(pa.array(joined.causes == cause))["record_id"])
        count("gone", joined.pointers.filter(joined.pointers["work_id"].is_null())["record_id"])
    by = [SkippedBy(json.loads(name or "{}"), records) for name, records in sorted(models.items())]
    why = {name: CauseCount(records, examples[name]) for name, records in counts.most_common() if records}
    left_out = LeftOut(counts[Cause.unchanged.name], by, why)
    return Comparison(rows, causes, pa.concat_tables(pointers), left_out)


def _find_rejects(table: pa.Table, causes: Numbers) -> Iterator[pa.Table]:
    """The rows that can't be used, and those whose record came before."""
    yield table.filter(table["reason"].is_valid()).select(schema.REJECTS.names).cast(schema.REJECTS)
    again = table.filter(pa.array(causes == Cause.duplicate))
    if again.num_rows:
        reason = [schema.DUPLICATE] * again.num_rows
        columns = [again["where"], again["record_id"], ["record_id"] * again.num_rows, reason]
        yield pa.table(columns, schema=schema.REJECTS)


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
