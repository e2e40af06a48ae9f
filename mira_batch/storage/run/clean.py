"""Deletes what a run no longer needs."""

from __future__ import annotations

from dataclasses import dataclass

from mira_batch.storage.run import layout
from mira_batch.storage.run.planfile import Plan
from mira_batch.storage.stores import CHECK_PREFIX, Entry, Store


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What was deleted."""

    objects: int = 0
    size: int = 0
    """Bytes."""

    def __add__(self, other: Cleaned) -> Cleaned:
        return Cleaned(self.objects + other.objects, self.size + other.size)


def delete_state(store: Store, keep: set[int]) -> Cleaned:
    """Delete the step state of all shards but these.

    A worker deletes its shard's state once it has committed it; what is left is of one that died between
    the two, or that wrote a step after another had committed the shard.
    """
    cleaned = Cleaned()
    for name in store.list_folders("state"):
        if name.isdigit() and int(name) not in keep:
            cleaned += _delete(store, f"state/{name}")
    return cleaned


def delete_leftovers(store: Store, plan: Plan | None) -> Cleaned:
    """Delete what killed processes left: a dead driver's live figures, plan files that no plan names, test
    objects of the store's check, half-written local files. Nobody may be at work on the run."""
    found = [
        entry for name in store.list_folders() if name.startswith(CHECK_PREFIX) for entry in store.list(name)
    ]
    if (left := store.get(layout.LIVE)) is not None:
        found.append(Entry(layout.LIVE, len(left)))
    if plan is not None:
        named = {layout.PLAN, layout.REJECTS, *plan.files, *plan.pointers}
        found += [entry for entry in store.list("plan") if entry.key not in named]
    store.delete(entry.key for entry in found)
    halves = store.delete_temporaries()
    return Cleaned(len(found) + len(halves), sum(entry.size for entry in [*found, *halves]))


def _delete(store: Store, prefix: str) -> Cleaned:
    entries = list(store.list(prefix))
    store.delete(entry.key for entry in entries)
    return Cleaned(len(entries), sum(entry.size for entry in entries))
