"""Goes back to what a catalogue was before the last runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from mira_batch.core.errors import ConfigError
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import (
    Snapshot,
    create_snapshot,
    find_newest,
    list_numbers,
    read_snapshot,
)
from mira_batch.storage.run.committed import find_ranges


def roll_back(catalogue: Catalogue, number: int) -> Snapshot:
    """Make an earlier snapshot the newest again, under a new number: by one create-only put. No run is
    deleted; what has been folded since is left out from now on, also when the catalogue is made anew from its
    runs.

    Args:
        catalogue: which.
        number: the snapshot's.

    Raises:
        ConfigError: there is no such snapshot, or a run that it needs has been deleted.
        StoreError: the store can't be used.
    """
    while True:
        newest, then = find_newest(catalogue.store), read_snapshot(catalogue.store, number)
        where = catalogue.store.uri
        if then is None:
            numbers = ", ".join(str(n) for n in list_numbers(catalogue.store)[:10]) or "none"
            raise ConfigError(f"{where}: has no snapshot {number}; there are {numbers}")
        if gone := sorted(then.runs.keys() - newest.runs.keys()):
            raise ConfigError(f"{where}: snapshot {number} needs runs that are gone: {', '.join(gone[:3])}")
        runs = {}
        for name, run in newest.runs.items():
            before = then.runs.get(name)
            had = set(before.expand()) - set(before.expand_left_out()) if before else set[int]()
            left_out = tuple(find_ranges(set(run.expand()) - had))
            plan_left_out = before is None or before.plan_left_out
            runs[name] = replace(run, left_out=left_out, plan_left_out=plan_left_out)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        number_now, gone_runs = newest.number + 1, newest.forgotten
        made = Snapshot(number_now, then.files, then.records, then.rows, runs, gone_runs, now)
        if create_snapshot(catalogue.store, made):
            return made  # else a run was folded meanwhile
