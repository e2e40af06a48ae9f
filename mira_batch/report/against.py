"""A run beside an earlier one of the same records: what that had made of each, and which results differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pyarrow.parquet as pq

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import RunConflict
from mira_batch.report.cards import CardReader
from mira_batch.report.contents import Card, Chart, Entry
from mira_batch.report.totals import Totals, read_totals
from mira_batch.storage.run.layout import read_edit_run
from mira_batch.storage.run.rollouts import refuse_rollouts
from mira_batch.storage.stores import Store, open_arrow_filesystem, open_store

SAME, OTHER, NONE, ABSENT = "same result", "another result", "no result in either", "not in that run"
_TOGETHER = 16
"""Records that are looked up together."""


class Earlier:
    """An earlier run: holds where each of its records is, some 200 bytes of each."""

    def __init__(self, config: BulkEditConfig, uri: str) -> None:
        """Look an earlier run through.

        Args:
            config: of the run that is reported.
            uri: the directory of the earlier one.

        Raises:
            RunConflict: there is no such run, or it is of another job.
            StoreError: its store can't be used.
            pa.ArrowException, OSError: a result file can't be read.
        """
        store = open_store(uri, config.storage, make=False)
        about = read_edit_run(store)
        refuse_rollouts(about, uri, "name another run")
        if config.rollouts > 1:
            raise RunConflict(
                f"--against: is for runs of one result a record, not of {config.rollouts} rollouts"
            )
        manifest = frozenset(file["path"] for file in about["manifest"])
        self.name = store.name
        self._reader = CardReader(config, store, manifest)
        self._totals = read_totals(store, config.storage)
        self._places: dict[str, tuple[int, int, str | None]] = {}
        for file, place, record, digest in _list_digests(store, config, self._totals):
            self._places[record] = file, place, digest

    def tell(self, record: str, digest: str | None) -> str:
        """How a record's result stands to the earlier one.

        Args:
            record: its id.
            digest: of its result's pixels; empty or None where it has none.
        """
        if record not in self._places:
            return ABSENT
        if self._places[record][2] != (digest or None):
            return OTHER
        return SAME if digest else NONE

    def make_chart(self, store: Store, config: BulkEditConfig, totals: Totals) -> Chart:
        """How the results of a run stand to the earlier ones.

        Args:
            store: the directory of the run that is reported.
            config: its config.
            totals: of it.

        Raises:
            pa.ArrowException, OSError: a result file can't be read.
        """
        told = Counter(
            self.tell(record, digest) for *_, record, digest in _list_digests(store, config, totals)
        )
        labels = [label for label in (SAME, OTHER, NONE, ABSENT) if told[label]]
        return Chart("against", f"Against {self.name}", labels, [told[label] for label in labels])

    def join(self, cards: Iterable[Card]) -> Iterator[Card]:
        """Cards with the earlier result in their film strip, after the original.

        Args:
            cards: of the run that is reported.

        Raises:
            pa.ArrowException, OSError: a result file can't be read.
        """
        waiting = iter(cards)
        while group := list(islice(waiting, _TOGETHER)):
            found = self._read([card.record_id for card in group])
            for card in group:
                first, *rest = card.trajectory
                yield replace(card, trajectory=(first, *found.get(card.record_id, ()), *rest))

    def _read(self, records: Iterable[str]) -> dict[str, tuple[Entry, ...]]:
        by_file: dict[int, list[int]] = {}
        for record in records:
            if place := self._places.get(record):
                by_file.setdefault(place[0], []).append(place[1])
        found: dict[str, tuple[Entry, ...]] = {}
        for file, places in by_file.items():
            cards = self._reader.read_cards(self._totals.files[file], 0, sorted(places))
            for card in cards.values():
                made = [entry for entry in card.trajectory if entry.result]
                found[card.record_id] = tuple(
                    replace(entry, label=f"Earlier: {self.name}", caption="", thought="",
                            result=False, earlier=True)
                    for entry in made[-1:]
                )  # fmt: skip
        return found


def _list_digests(
    store: Store, config: BulkEditConfig, totals: Totals
) -> Iterator[tuple[int, int, str, Any]]:
    """Number of the file, row in it, record_id and result_digest of each record of a run."""
    fs, _ = open_arrow_filesystem(store.uri, config.storage)
    for number, file in enumerate(totals.files):
        with pq.ParquetFile(file, filesystem=fs) as parquet:
            table = parquet.read(columns=["record_id", "result_digest"])
        columns = (table[name].to_pylist() for name in ("record_id", "result_digest"))
        for row, (record, digest) in enumerate(zip(*columns, strict=True)):
            yield number, row, record, digest
