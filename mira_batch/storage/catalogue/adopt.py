"""Steps that runs left which nobody went on with: a new plan takes over those of the work that it wants."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import Snapshot
from mira_batch.storage.run.layout import state_prefix

Steps = Mapping[str, Mapping[str, Sequence[str]]]
_STEP = re.compile(r"(?P<run>[^/]+)/state/\d+/(?P<work>[0-9a-f]{32})/(?P<index>\d+)\.step")


def find_logged_steps(catalogue: Catalogue, snapshot: Snapshot) -> Steps:
    """The step files of runs that are not complete: a LIST for each.

    Returns:
        Keys below the output by work_id and run, in no set order.

    Raises:
        StoreError: the store can't be used.
    """
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, run in snapshot.runs.items():
        if run.complete:
            continue
        for entry in catalogue.output.list(f"{name}/state"):
            if match := _STEP.fullmatch(entry.key):
                found[match["work"]][name].append(entry.key)
    return found


def adopt_steps(catalogue: Catalogue, run: str, steps: Steps, shards: Mapping[str, int]) -> int:
    """Copy step files into a run that is about to begin; of several runs that have steps of the same work,
    those of the one that has most. They are checked when they are read, as its own are.

    Args:
        catalogue: of both runs.
        run: name of the run.
        steps: what `find_logged_steps` found.
        shards: the shard of each work_id that the run has.

    Returns how many steps were copied.

    Raises:
        StoreError: the store can't be used.
    """
    copied = 0
    for work, shard in shards.items():
        for key in max(steps[work].values(), key=len):
            name = key.rsplit("/", 1)[1]
            catalogue.output.copy(key, f"{run}/{state_prefix(shard)}/{work}/{name}")
            copied += 1
    return copied


def drop_steps(catalogue: Catalogue, steps: Steps, shards: Mapping[str, int]) -> None:
    """Delete the step files that were copied, and those of other runs of the same work. Nobody needs them
    once the new run is planned.

    Args:
        catalogue, steps, shards: as of `adopt_steps`.

    Raises:
        StoreError: the store can't be used.
    """
    catalogue.output.delete([key for work in shards for keys in steps[work].values() for key in keys])
