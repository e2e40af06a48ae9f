"""Where a job's catalogue lies: `<output>/catalogue/` of the edit job, `<output>/catalogue/<job>/` of others.

00007/…            a snapshot: see `snapshot.py`
plans/00012.json   the number of a plan, taken by its run
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.storage.stores import Store, open_store

_PLAN = re.compile(r"plans/(\d+)\.json")


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


def take_number(catalogue: Catalogue, run: str, least: int) -> int:
    """Take the next number of a plan, create-only: by it the newest of two plans is known without a clock.

    Args:
        catalogue: of the plan.
        run: name of its run.
        least: a number that is taken already; 0 for none.

    Raises:
        StoreError: the store can't be used.
    """
    taken = (_PLAN.fullmatch(entry.key) for entry in catalogue.store.list("plans"))
    number = max([least, *(int(match[1]) for match in taken if match)]) + 1
    while not catalogue.store.create(f"plans/{number:05d}.json", json.dumps({"run": run}).encode()):
        number += 1
    return number
