"""Which records of a catalogue a run is about, where it isn't about all that have changed."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.config.shared import SelectConfig, StorageConfig
from mira_batch.storage.catalogue.bucketfiles import read_part
from mira_batch.storage.catalogue.buckets import digest_records
from mira_batch.storage.catalogue.decided import Verdicts, find_decided, read_verdicts
from mira_batch.storage.catalogue.merge import Flags, find_newest
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import Snapshot
from mira_batch.storage.catalogue.where import parse_where
from mira_batch.storage.run.decisions import REJECT

_STRATA = ("source", "status", "stop_reason", "error_kind")
"""By these a sample has a share of all that there is."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Tells which records are chosen, by the newest row of each."""

    where: pc.Expression
    again: bool
    """Whether chosen records are run also where nothing has changed."""
    verdicts: Verdicts | None = None
    """What people have decided, of which the rejected results are chosen; None: nobody was asked."""
    sample: frozenset[str] | None = None
    """The record_ids to which it is narrowed down."""

    def find(self, known: pa.Table) -> Flags:
        """Whether each row (schema `SNAPSHOT`) is one by which its record is chosen."""
        numbered = known.append_column("number", pa.array(np.arange(known.num_rows)))
        chosen = np.zeros(known.num_rows, bool)
        chosen[numbered.filter(self.where)["number"].to_numpy()] = True
        if self.verdicts is not None:
            chosen &= find_decided(known, self.verdicts, REJECT)
        if self.sample is not None:
            options = pc.SetLookupOptions(pa.array(list(self.sample), pa.string()))
            chosen &= pc.call_function("is_in", [known["record_id"]], options).to_numpy()
        return chosen


def make_selection(
    config: SelectConfig, storage: StorageConfig, catalogue: Catalogue, snapshot: Snapshot
) -> Selection:
    """What a config selects of a catalogue.

    Args:
        config: which records.
        storage: how the file of decisions is reached.
        catalogue: of which.
        snapshot: as it is now.

    Raises:
        ConfigError: the condition or the decisions can't be read.
        StoreError: the store can't be used.
    """
    file = config.decisions
    verdicts = None if file is None else read_verdicts(file, storage, "select.decisions")
    selection = Selection(parse_where(config.where), config.again, verdicts)
    if config.sample is None:
        return selection
    drawn = _draw(selection, catalogue, snapshot, config.sample)
    return Selection(selection.where, selection.again, verdicts, drawn)


def _draw(selection: Selection, catalogue: Catalogue, snapshot: Snapshot, size: int) -> frozenset[str]:
    """A sample of what is selected: of each kind of record as large a share as it has of all, and at least
    one of each where `size` has room for that; of records that are gone from their manifest none. The same
    each time: it goes by the digests of record ids."""
    counts: Counter[Any] = Counter()
    first: dict[Any, list[tuple[int, str]]] = defaultdict(list)  # of each kind the records of least digest
    for bucket in range(len(snapshot.files)):
        known = read_part(catalogue.store, snapshot, bucket, len(snapshot.files))
        there = known["gone"].is_null().to_numpy()
        rows = known.filter(pa.array(selection.find(known) & find_newest(known) & there))
        digests = digest_records(rows["record_id"].to_pylist()).to_pylist()
        kinds = zip(*(rows[name].to_pylist() for name in _STRATA), strict=True)
        for digest, record, kind in zip(digests, rows["record_id"].to_pylist(), kinds, strict=True):
            counts[kind] += 1
            entry = -int.from_bytes(digest, "big"), record
            if len(first[kind]) < size:
                heapq.heappush(first[kind], entry)
            else:
                heapq.heappushpop(first[kind], entry)
    shares = share_out(counts, size)
    return frozenset(
        record for kind, share in shares.items() for _, record in heapq.nlargest(share, first[kind])
    )


def share_out(counts: Mapping[Any, int], size: int) -> dict[Any, int]:
    """How many of each kind a sample of this size has, by the method of largest remainders.

    Args:
        counts: how many there are.
        size: of the sample; all of them, where there are no more.
    """
    total = sum(counts.values())
    if total <= size:
        return dict(counts)
    least = 1 if len(counts) <= size else 0
    exact = {kind: count * size / total for kind, count in counts.items()}
    shares = {kind: max(least, int(share)) for kind, share in exact.items()}
    while sum(shares.values()) > size:  # the least ones were rounded up at the cost of those that have most
        most = max(shares, key=lambda kind: shares[kind] - exact[kind] if shares[kind] > least else -np.inf)
        shares[most] -= 1
    missing = size - sum(shares.values())
    for kind in sorted(exact, key=lambda kind: shares[kind] - exact[kind])[:missing]:
        shares[kind] += 1
    return shares
