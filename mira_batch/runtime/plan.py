"""Plans a run: takes what the job scans, drops duplicates and what earlier runs have done, cuts shards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from itertools import groupby
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.errors import ManifestError
from mira_batch.core.receipts import CauseCount
from mira_batch.runtime.job import Job
from mira_batch.runtime.scan import PIXELS
from mira_batch.storage import schema
from mira_batch.storage.catalogue.adopt import adopt_steps, drop_steps, find_logged_steps
from mira_batch.storage.catalogue.bucketfiles import read_part
from mira_batch.storage.catalogue.buckets import BucketSpool, RowSpool
from mira_batch.storage.catalogue.join import DOUBTFUL, KEYS, Cause, Causes, Joined, join, take_keys
from mira_batch.storage.catalogue.merge import Numbers
from mira_batch.storage.catalogue.place import Catalogue, take_number
from mira_batch.storage.catalogue.select import make_selection
from mira_batch.storage.catalogue.snapshot import Snapshot
from mira_batch.storage.run.layout import RunSpec, find_changed_settings, hash_form, name_source, read_run
from mira_batch.storage.run.planfile import LeftOut, Plan, SkippedBy
from mira_batch.storage.run.planwriter import PlanWriter
from mira_batch.storage.run.rollouts import expand_rollouts
from mira_batch.storage.stores import Store, open_store

_LEAST_BUCKETS = 64
_IMAGES = 256
"""Images that a task looks at."""
_ROUND = 65_536
"""Rows of a manifest whose images are looked at before the next."""
_MOST_POINTERS = 200_000
"""Pointers in memory, and in a file."""
_AS_BEFORE = (Cause.failed, Cause.unfinished)
"""Why records are run that are as they were when a run came to its end."""


@dataclass(frozen=True, slots=True)
class Known:
    """A catalogue as it is when a plan is made."""

    catalogue: Catalogue
    snapshot: Snapshot
    check_alone: Callable[[], None] = lambda: None
    """Raises where another plan may have been made since it was read."""

    def find_alike(self, spec: RunSpec) -> list[str]:
        """Names of the runs that make the same of a record as this one, in the same form."""
        form = hash_form(spec.settings)
        return [name for name, run in self.snapshot.runs.items() if run.form == form]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a job reads, compared with what its catalogue has."""

    rows: RowSpool
    """All rows that were scanned."""
    causes: Causes
    """A `Cause` for each."""
    pointers: RowSpool
    """What the catalogue has to know of records that are not run (schema `POINTERS`)."""
    left_out: LeftOut
    form: str
    """Hash of the run's settings, as of `layout.hash_form`."""

    def find_rejects(self) -> Iterator[pa.Table]:
        """The rows that can't be used, and those whose record came before (schema `REJECTS`)."""
        start = 0
        for table in self.rows.read():
            yield from _find_rejects(table, self.causes[start : start + table.num_rows])
            start += table.num_rows

    def count(self, *but: Cause) -> int:
        """How many records are to be run, for other causes than these."""
        counts = self.left_out.causes
        return sum(counts[c.name].records for c in Cause if c.runs and c not in but and c.name in counts)

    @property
    def has_news(self) -> bool:
        """Whether anything is otherwise than it was when a run over this came to its end. Records that failed
        then, and would be made again in any new run, are no news."""
        return bool(self.pointers.num_rows) or self.count(*_AS_BEFORE) > 0


@contextmanager
def compare(
    job: Job,
    spec: RunSpec,
    scanned: Iterable[pa.Table],
    known: Known,
    on_rows: Callable[[int], None],
    read_pixels: Callable[[Sequence[pa.Table]], Iterable[pa.Table]] = lambda parts: (),
    busy: pa.Array | None = None,
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
        read_pixels: `digest_pixels` of each part, of schema `PIXELS`. Asked where nothing but the versions of
            images have changed: a bucket that was copied, say.
        busy: work_ids that other runs have in hand.

    Raises:
        ManifestError: the manifest can't be used, or has not one valid row.
        StoreError: the store can't be used.
    """
    count, read = max(_LEAST_BUCKETS, len(known.snapshot.files)), 0
    config, selection = job.config, None
    if config.select is not None:
        selection = make_selection(config.select, config.storage, known.catalogue, known.snapshot)
    with ExitStack() as stack:
        keys = stack.enter_context(BucketSpool(count, KEYS))
        rows = stack.enter_context(RowSpool(schema.scan_schema(job.plan_schema)))
        for table in scanned:
            keys.add(take_keys(table, read))
            rows.add(table)
            read += table.num_rows
            on_rows(read)
        if read == 0:
            raise ManifestError(f"{spec.source}: the manifest is empty: it has no rows")
        tally = stack.enter_context(_Comparing(read))
        alike, done, whole = known.find_alike(spec), config.output.done_statuses, config.first is None
        source = name_source(spec.settings)
        for bucket in range(count):
            table = read_part(known.catalogue.store, known.snapshot, bucket, count)
            named = keys.read(bucket)
            tally.add(named, join(named, table, done, alike, source, selection, busy, whole))
        if (tally.causes == Cause.rejected).all():
            (first,) = next(_find_rejects(next(rows.read()), tally.causes)).slice(0, 1).to_pylist()
            raise ManifestError(
                f"{spec.source}: none of its {read} rows can be used; the first: "
                f"{first['where']}: {first['field']} {first['reason']}"
            )
        tally.settle(rows, read_pixels)
        digest = _digest_plan(spec, rows, tally.causes, tally.pointers)
        left_out = tally.sum_up(digest, partial(_explain_settings, spec))
        yield Comparison(rows, tally.causes, tally.pointers, left_out, hash_form(spec.settings))


class _Comparing:
    """What becomes of the rows of a manifest, as it is found out. To be used as a context manager."""

    def __init__(self, rows: int) -> None:
        self.causes: Causes = np.full(rows, Cause.rejected, np.int8)  # those in no bucket name no record
        self.pointers = RowSpool(schema.POINTERS)
        rounds = -(-rows // _ROUND)
        self._doubtful = BucketSpool(rounds, DOUBTFUL, lambda found: found["number"].to_numpy() // _ROUND)
        self._models: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._lost = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.pointers)
        self._stack.enter_context(self._doubtful)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, keys: pa.Table, joined: Joined) -> None:
        """Take in a bucket."""
        self.causes[keys["number"].to_numpy()] = joined.causes
        self.pointers.add(joined.pointers)
        self._doubtful.add(joined.doubtful)
        self._models += joined.models
        self._changed += joined.changed
        for cause in np.unique(joined.causes).tolist():
            records = keys.filter(pa.array(joined.causes == cause))["record_id"]
            self._examples.setdefault(Cause(cause).name, records[0].as_py())
        lost = joined.pointers.filter(joined.pointers["work_id"].is_null())["record_id"]
        self._lost += len(lost)
        if len(lost):
            self._examples.setdefault("gone", lost[0].as_py())

    def settle(self, rows: RowSpool, read_pixels: Callable[[Sequence[pa.Table]], Iterable[pa.Table]]) -> None:
        """Leave out the rows whose images have new versions, but the pixels that they had: one round of the
        manifest's rows after the other, in its order."""
        if not self._doubtful.num_rows:
            return
        for place, parts in groupby(_cut_rounds(rows), lambda part: part[0] // _ROUND):
            doubtful = self._doubtful.read(place)
            if doubtful.num_rows:
                numbers = np.sort(doubtful["number"].to_numpy())
                taken = [part for start, table in parts for part in _take_numbered(table, start, numbers)]
                found = pa.concat_tables([PIXELS.empty_table(), *read_pixels(taken)])
                self._settle(doubtful, found)

    def _settle(self, doubtful: pa.Table, pixels: pa.Table) -> None:
        table = doubtful.join(pixels, "number", join_type="inner", use_threads=False)
        same = table.filter(pc.call_function("equal", [table["source_digest"], table["pixels"]]))
        if not same.num_rows:
            return
        self.causes[same["number"].to_numpy()] = Cause.same_pixels
        self._models.update(name or "" for name in same["models"].to_pylist())
        self.pointers.add(same.select(schema.POINTERS.names))
        self._examples[Cause.same_pixels.name] = same["record_id"][0].as_py()
        left = doubtful.filter(pa.array(self.causes[doubtful["number"].to_numpy()] == Cause.image))
        if left.num_rows:
            self._examples[Cause.image.name] = left["record_id"][0].as_py()

    def sum_up(self, digest: str, explain: Callable[[str], Sequence[str]]) -> LeftOut:
        """What all of it adds up to.

        Args:
            digest: of the plan.
            explain: by which settings a run differs from this one.
        """
        causes, records = np.unique(self.causes, return_counts=True)
        counts = Counter(dict(zip((Cause(cause).name for cause in causes), records.tolist(), strict=True)))
        counts["gone"] = self._lost
        skipped = counts[Cause.unchanged.name] + counts[Cause.same_pixels.name]
        by = [SkippedBy(json.loads(name or "{}"), records) for name, records in sorted(self._models.items())]
        why = {
            name: CauseCount(records, self._examples.get(name, ""))
            for name, records in counts.most_common()
            if records
        }
        if Cause.settings.name in why:
            changes: Counter[str] = Counter()
            for run, records in self._changed.items():
                changes.update(dict.fromkeys(explain(run), records))
            why[Cause.settings.name] = replace(why[Cause.settings.name], changes=dict(changes.most_common()))
        return LeftOut(skipped, by, why, digest)


def _explain_settings(spec: RunSpec, run: str) -> list[str]:
    """By which settings an earlier run under the same output differs from this one."""
    store = open_store(f"{spec.output}/{run}", spec.storage, make=False)
    return find_changed_settings(read_run(store)["settings"], spec.settings)


def _digest_plan(spec: RunSpec, rows: RowSpool, causes: Causes, pointers: RowSpool) -> str:
    """What a plan does, as a digest: equal ones run the same work in the same order."""
    digest = blake2b(hash_form(spec.settings).encode(), digest_size=6)
    start = 0
    for table in rows.read():
        runs = pa.array(causes[start : start + table.num_rows] >= Cause.new)
        start += table.num_rows
        digest.update("".join(table["work_id"].filter(runs).to_pylist()).encode())
    said = 0  # in any order: which one it is depends on how many buckets the catalogue has
    for table in pointers.read():
        for row in table.select(["record_id", "work_id", "stands_in"]).to_pylist():
            said += int.from_bytes(blake2b(json.dumps(row).encode(), digest_size=16).digest())
    digest.update(f"{said:x}".encode())
    return digest.hexdigest()


def _cut_rounds(rows: RowSpool) -> Iterator[tuple[int, pa.Table]]:
    """All rows, with the number of the first, in tables of which none is in two rounds."""
    start = 0
    for table in rows.read():
        while table.num_rows:
            part = table.slice(0, _ROUND - start % _ROUND)
            yield start, part
            start += part.num_rows
            table = table.slice(part.num_rows)


def _take_numbered(table: pa.Table, start: int, numbers: Numbers) -> Iterator[pa.Table]:
    """The rows of these numbers, in parts that a task reads the images of; that of the first is `start`."""
    inside = numbers[(numbers >= start) & (numbers < start + table.num_rows)]
    part = table.take(pa.array(inside - start)).append_column("number", pa.array(inside))
    for first in range(0, part.num_rows, _IMAGES):
        yield part.slice(first, _IMAGES)


def write_plan(job: Job, found: Comparison, store: Store, known: Known) -> Plan:
    """Write the plan of a run.

    Args:
        job: the job.
        found: what is to be run, and why.
        store: the run's directory.
        known: what `found` was compared with.

    Returns the plan that stands: this one, or the one another driver finished first.

    Raises:
        StoreError: the store can't be used; or what `known.check_alone` raises.
    """
    steps = find_logged_steps(known.catalogue, known.snapshot)
    writer = PlanWriter(store, job.config.workers.shard_size, job.config.workers.most, watched=steps)
    start = 0
    for table in found.rows.read():
        causes = found.causes[start : start + table.num_rows]
        start += table.num_rows
        wanted = table.filter(pa.array(causes >= Cause.new)).select(job.plan_schema.names)
        writer.add(expand_rollouts(wanted, job.config.copies))
    for pointers in found.pointers.read(_MOST_POINTERS):
        writer.point(pointers)
    writer.close()
    adopt_steps(known.catalogue, store.name, steps, writer.shards)
    rejects = pa.concat_tables([schema.REJECTS.empty_table(), *found.find_rejects()])
    known.check_alone()  # by its number it will be the newest, and has to know of all that came before
    number = partial(take_number, known.catalogue, store.name, found.form, known.snapshot.newest_plan)
    # Plans of the catalogue alone have one.
    plan = writer.finish(rejects, found.left_out, number if job.config.enters_catalogue else int)
    drop_steps(known.catalogue, steps, writer.shards)
    return plan


def _find_rejects(table: pa.Table, causes: Causes) -> Iterator[pa.Table]:
    """The rows that can't be used, and those whose record came before."""
    yield table.filter(table["reason"].is_valid()).select(schema.REJECTS.names).cast(schema.REJECTS)
    again = table.filter(pa.array(causes == Cause.duplicate))
    if again.num_rows:
        reason = [schema.DUPLICATE] * again.num_rows
        columns = [again["where"], again["record_id"], ["record_id"] * again.num_rows, reason]
        yield pa.table(columns, schema=schema.REJECTS)
