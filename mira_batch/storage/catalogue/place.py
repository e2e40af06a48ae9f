"""Where a job's catalogue lies: `<output>/catalogue/` of the edit job, `<output>/catalogue/<job>/` of others.

00007/…            a snapshot: see `snapshot.py`
plans/00012.json   the number of a plan, taken by its run
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.run.layout import RUN, DamagedFile, job_of, parse_document, parse_run
from mira_batch.storage.run.rollouts import is_apart
from mira_batch.storage.stores import Store, open_store

_PLAN = re.compile(r"plans/(\d+)\.json")
_PLAN_KEY = "plans/{:05d}.json"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A job's catalogue under an output."""

    job: str
    output: Store
    """The directory of all runs."""
    store: Store
    """Its own directory."""
    storage: StorageConfig
    """How both are reached."""


def open_catalogue(output: str, job: str, storage: StorageConfig, make: bool = True) -> Catalogue:
    """A job's catalogue, which need not exist yet. No request is made.

    Args:
        output: directory of all runs.
        job: name of the job.
        storage: how the store is reached.
        make: make a local output that isn't there; with False it is refused.

    Raises:
        StoreError: as `open_store`.
    """
    root = open_store(output, storage, make)
    own = root.locate("catalogue" if job == "edit" else f"catalogue/{job}")
    if not make and not is_remote(own) and not os.path.isdir(own):
        own = "memory://empty"  # a reader makes no directory
    return Catalogue(job, root, open_store(own, storage), storage)


def look_at_catalogue(output: str, job: str, storage: StorageConfig) -> Catalogue:
    """A job's catalogue for who only looks: nothing is made, and where there is none, it is empty.

    Args:
        output, job, storage: as of `open_catalogue`.

    Raises:
        StoreError: the output can't be opened, or is no directory.
    """
    if is_remote(output) or os.path.lexists(output):
        return open_catalogue(output, job, storage, make=False)
    nothing = open_store("memory://empty", storage)
    return Catalogue(job, nothing, nothing, storage)


def open_with_runs(output: str, job: str, storage: StorageConfig, write: bool) -> Catalogue:
    """A job's catalogue under an output that has runs of it.

    Args:
        output, job, storage: as of `open_catalogue`.
        write: whether something is to be written into it; else a local one that isn't there stays so.

    Raises:
        StoreError: as `open_store`; or there is no run of the job, since it is another directory, say.
    """
    found = open_catalogue(output, job, storage, make=False)
    if not any(has_run(found, name) for name in found.output.list_folders()):
        raise StoreError(
            f"{output}: holds no run of the job {job}; give the directory of all runs, output.uri (those "
            "of several rollouts or branches are in no catalogue)"
        )
    return open_catalogue(output, job, storage) if write else found


def has_run(catalogue: Catalogue, name: str) -> bool:
    """Whether a folder below the output is a run of the catalogue, as far as is known: its `run.json` may be
    damaged. One of several rollouts of each record, or of branches, is not.

    Raises:
        StoreError: the store can't be used.
    """
    where = catalogue.output.locate(f"{name}/{RUN}")
    try:
        about = catalogue.output.read(f"{name}/{RUN}", lambda data: parse_run(data, where))
    except DamagedFile:  # that is told when it is needed
        return True
    return about is not None and job_of(about) == catalogue.job and not is_apart(about)


def is_overtaken(catalogue: Catalogue, run: str, number: int, form: str) -> bool:
    """Whether a plan of another run has come after this one that may want the same work.

    Args:
        catalogue: of both.
        run: name of the plan's run: drivers that plan one at the same time take a number each.
        number: the plan's.
        form: hash of its run's settings, as of `layout.hash_form`; others never want the same work.

    Raises:
        StoreError: the store can't be used, or a document of the catalogue is damaged.
    """
    for later in (taken for taken in _list_numbers(catalogue) if taken > number):
        key = _PLAN_KEY.format(later)
        where = catalogue.store.locate(key)
        found = catalogue.store.read(key, lambda data, where=where: parse_document(data, where, "form")) or {}
        if found.get("form") == form and found.get("run") != run:
            return True
    return False


def list_planned(catalogue: Catalogue) -> Iterator[str]:
    """The runs of all plans, the newest plan first.

    Args:
        catalogue: of the plans.

    Raises:
        StoreError: the store can't be used, or a document of the catalogue is damaged.
    """
    for number in sorted(_list_numbers(catalogue), reverse=True):
        key = _PLAN_KEY.format(number)
        where = catalogue.store.locate(key)
        found = catalogue.store.read(key, lambda data, where=where: parse_document(data, where, "run"))
        if found is not None:
            yield found["run"]


def _list_numbers(catalogue: Catalogue) -> list[int]:
    taken = (_PLAN.fullmatch(entry.key) for entry in catalogue.store.list("plans"))
    return [int(match[1]) for match in taken if match]


def take_number(catalogue: Catalogue, run: str, form: str, least: int) -> int:
    """Take the next number of a plan, create-only: by it the newest of two plans is known without a clock.

    Args:
        catalogue: of the plan.
        run: name of its run.
        form: hash of its settings, as of `layout.hash_form`.
        least: a number that is taken already; 0 for none.

    Raises:
        StoreError: the store can't be used.
    """
    number, document = max([least, *_list_numbers(catalogue)]) + 1, json.dumps({"run": run, "form": form})
    while not catalogue.store.create(_PLAN_KEY.format(number), document.encode()):
        number += 1
    return number
