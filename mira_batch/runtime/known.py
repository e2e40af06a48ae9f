"""The catalogue that a run belongs to: opened, brought up to date, or only looked at."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import replace

from mira_batch.core.errors import StoreError
from mira_batch.core.receipts import Progress
from mira_batch.runtime.job import Job
from mira_batch.runtime.plan import Known
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.place import Catalogue, look_at_catalogue, open_catalogue
from mira_batch.storage.catalogue.snapshot import Snapshot, find_newest
from mira_batch.storage.run.layout import RunSpec
from mira_batch.storage.stores import open_store


def open_catalogue_of(spec: RunSpec) -> Catalogue:
    """The catalogue that a run belongs to. A local directory of it is made where there is none."""
    return open_catalogue(spec.output, spec.job, spec.storage)


def look_at(spec: RunSpec) -> Catalogue:
    """The same for who only looks, as `look_at_catalogue`."""
    return look_at_catalogue(spec.output, spec.job, spec.storage)


def count_gone(spec: RunSpec, committed: Container[int]) -> int:
    """How many result files of a run the catalogue has the rows of, though they are there no more.

    Args:
        spec: the run.
        committed: its shards that have a result file.

    Raises:
        StoreError: the store can't be used, or the newest snapshot is damaged.
    """
    known = find_newest(look_at(spec).store).runs.get(spec.name)
    if known is None:
        return 0
    return sum(shard not in committed for shard in set(known.expand()).difference(known.expand_left_out()))


def read_catalogue(job: Job, spec: RunSpec, watch: Progress, anew: bool = False) -> Known:
    """The catalogue of this job, with all in it that runs have committed by now. To a run that is no part
    of it, it is empty.

    Args:
        job: the job.
        spec: a run of it.
        watch: told of what is damaged and left out.
        anew: make it anew from its runs.

    Raises:
        StoreError: the store can't be used, or the newest snapshot is damaged.
    """
    catalogue = open_catalogue_of(spec)
    if not job.config.enters_catalogue:
        return Known(catalogue, Snapshot(0))
    return Known(catalogue, fold(catalogue, job.result_schema, _tell(watch), anew))


@contextmanager
def peek_catalogue(job: Job, spec: RunSpec, watch: Progress, anew: bool = False) -> Iterator[Known]:
    """The same, and nothing is written into it: what isn't in its newest snapshot yet is put together on the
    local disk, where it is as long as the body runs.

    Args:
        job, spec, watch, anew: as of `read_catalogue`.

    Raises:
        StoreError: as `read_catalogue`.
    """
    catalogue = look_at(spec)
    if not job.config.enters_catalogue:
        yield Known(catalogue, Snapshot(0))
        return
    with tempfile.TemporaryDirectory(prefix="mira-batch-") as folder:
        own = open_store(folder, spec.storage)
        found = fold(catalogue, job.result_schema, _tell(watch), anew, into=own)
        written = any(True for _ in own.list(""))
        yield Known(replace(catalogue, store=own) if written else catalogue, found)


def _tell(watch: Progress) -> Callable[[StoreError], None]:
    return lambda error: watch.note(f"{error}. Its records count as not done.")
