"""Checks a catalogue against the runs that it is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mira_batch.core.errors import StoreError
from mira_batch.storage.catalogue.buckets import count_buckets
from mira_batch.storage.catalogue.fold import BUCKET_RECORDS, merge_pending
from mira_batch.storage.catalogue.merge import find_needed
from mira_batch.storage.catalogue.pending import find_pending
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import find_newest

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class CatalogueVerdict:
    """What a check of a catalogue came to."""

    snapshot: int
    """Number of its newest snapshot; 0 where there is none."""
    records: int
    rows: int
    problems: Sequence[str]

    @property
    def whole(self) -> bool:
        """Whether the catalogue says what its runs say."""
        return not self.problems


def check_catalogue(catalogue: Catalogue, fields: pa.Schema) -> CatalogueVerdict:
    """Make the catalogue anew from its runs, in memory bucket by bucket, and compare. Nothing is written.

    Args:
        catalogue: which.
        fields: schema of the job's results.

    Raises:
        StoreError: the store can't be used.
    """
    problems: list[str] = []

    def note(error: StoreError) -> None:
        if str(error) not in problems:
            problems.append(str(error))

    try:
        newest = find_newest(catalogue.store)
        standing, anew = (find_pending(catalogue, note, again) for again in (False, True))
        buckets = max(len(newest.files), count_buckets(newest.records, BUCKET_RECORDS))
        sides = [
            merge_pending(catalogue, pending, fields, note, dict(pending.base.runs), buckets)
            for pending in (standing, anew)
        ]
        records = rows = 0
        for has, should in zip(*sides, strict=True):
            records += should["current"].to_pylist().count(True)
            rows += should.num_rows
            if not has.equals(should):
                problems += _find_differences(has, should, newest.pruned)
    except StoreError as error:
        note(error)
        return CatalogueVerdict(0, 0, 0, problems)
    if len(problems) > _MOST_NAMED:
        problems[_MOST_NAMED:] = [f"and {len(problems) - _MOST_NAMED:,} more"]
    return CatalogueVerdict(newest.number, records, rows, problems)


def _find_differences(has: pa.Table, should: pa.Table, pruned: bool) -> Iterator[str]:
    needed = find_needed(should)
    missed = {
        (row["record_id"], row["work_id"])
        for row, wanted in zip(should.select(["record_id", "work_id"]).to_pylist(), needed, strict=True)
        if wanted or not pruned
    }
    sides = [
        {(row["record_id"], row["work_id"]): row for row in table.to_pylist()} for table in (has, should)
    ]
    for key in sorted(sides[0].keys() | sides[1].keys()):
        old, new = (side.get(key) for side in sides)
        if old is None and key not in missed:
            continue  # it is forgotten
        if old is None or new is None:
            state = "lacks work that its run has" if old is None else "has work that no run has"
            yield f"record {key[0]!r}: the catalogue {state} (work_id {key[1]})"
        elif old != new:
            names = [f"{name} {old[name]!r}, not {new[name]!r}" for name in old if old[name] != new[name]]
            yield f"record {key[0]!r}: the catalogue says {'; '.join(names)}"
