"""Goes back to what a catalogue was before the last runs."""

from __future__ import annotations

from dataclasses import replace

from mira_batch.core.errors import ConfigError
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import (
    Snapshot,
    create_snapshot,
    find_newest,
    list_numbers,
    read_clock,
    read_snapshot,
)
from mira_batch.storage.run.committed import find_ranges
from mira_batch.storage.run.layout import RUN


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
        # One that is forgotten is still there as a whole, if its `run.json` is: that is deleted first.
        away = then.runs.keys() - newest.runs.keys()
        back = {name for name in away & newest.forgotten if catalogue.output.exists(f"{name}/{RUN}")}
        if gone := sorted(away - back):
            raise ConfigError(f"{where}: snapshot {number} needs runs that are gone: {', '.join(gone[:3])}")
        runs = {name: then.runs[name] for name in back}
        for name, run in newest.runs.items():
            before = then.runs.get(name)
            had = set(before.expand()) - set(before.expand_left_out()) if before else set[int]()
            left_out = tuple(find_ranges(set(run.expand()) - had))
            plan_left_out = before is None or before.plan_left_out
            runs[name] = replace(run, left_out=left_out, plan_left_out=plan_left_out)
        left = newest.forgotten - back
        number_now, now = newest.number + 1, read_clock(newest)
        made = Snapshot(number_now, then.files, then.records, then.rows, runs, left, now, then.pruned)
        if create_snapshot(catalogue.store, made):
            return made  # else a run was folded meanwhile
