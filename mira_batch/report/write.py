"""Writes the report of a run: what its results add up to, and pictures of some of its records.

Owns which records are shown; `totals.py` counts, `cards.py` gets the pictures, `render.py` makes HTML. All
is read from the run's directory, so a resumed run has the report of one that never stopped. Memory holds
a few records' images at a time, however large the run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import StoreError, describe
from mira_batch.core.receipts import RunSummary
from mira_batch.report.cards import CardReader
from mira_batch.report.contents import Card, Page
from mira_batch.report.render import render_page
from mira_batch.report.totals import Kind, Totals, read_totals
from mira_batch.storage.run import layout
from mira_batch.storage.run.planfile import read_rejects
from mira_batch.storage.stores import READ_ERRORS, open_store

_READERS = 4
_ROWS_PER_READ = 8
_REJECTS = 50


def write_report(config: BulkEditConfig, summary: RunSummary, most: int = 48) -> str:
    """Write `<run>/report.html`, one self-contained file, and return its location.

    Args:
        config: the run's config.
        summary: what the run, or the last call that went on with it, did.
        most: the most records shown with their pictures.

    Raises:
        StoreError: the run's directory can't be read or written.
        RunConflict: it holds no run.
    """
    store = open_store(summary.run, config.storage)
    run = layout.read_run(store)
    here = summary.committed - summary.already
    if not here and store.exists(layout.REPORT):  # a call that did nothing leaves the times of one that did
        return store.locate(layout.REPORT)
    reader = CardReader(config, store, frozenset(file["path"] for file in run["manifest"]))
    try:
        totals = read_totals(store, config.storage)
        cards = _read_cards(reader, totals, most)
    except (pa.ArrowException, *READ_ERRORS) as error:
        raise StoreError(f"{summary.results}: can't be read: {describe(error)[:300]}") from error
    rejects = read_rejects(store)
    page = Page(
        summary=_with_totals(summary, totals),
        pace=60 * here / summary.wall if here and summary.wall else None,
        manifest=config.input.manifest,
        models=_name_models(config, cards),
        version=run["mira_batch"],
        written=datetime.now(UTC),
        cards=cards,
        rejects=rejects[:_REJECTS],
        rejected=len(rejects),
        fidelity=totals.fidelity,
    )
    store.put(layout.REPORT, render_page(page).encode("utf-8", "replace"))
    return store.locate(layout.REPORT)


def _with_totals(summary: RunSummary, totals: Totals) -> RunSummary:
    """The summary, its record figures replaced by those of all results."""
    tally = replace(totals.tally, resumed_steps=summary.resumed_steps)
    return replace(summary, committed=tally.records, total=replace(summary.total, tally=tally))


def choose(outcomes: Any, kinds: Sequence[Kind], most: int) -> list[int]:
    """Positions of the records to show: failed ones, then unfinished ones, each at most a third of `most`,
    then those that are ok. Every error kind and stop reason has its share of them, the rarest kinds left out
    where the places are too few; the records of a kind are spread evenly over the run. Depends on its
    arguments alone.

    Args:
        outcomes, kinds: as `Totals` has them.
        most: the most positions returned.
    """
    shown: list[int] = []
    for failed in (True, False):
        found = [np.flatnonzero(outcomes == k) for k, kind in enumerate(kinds) if kind.failed is failed]
        places = min(max(1, most // 3), most - len(shown))
        chosen: list[int] = []
        rarest_first = sorted(found, key=len)
        for rank, positions in enumerate(rarest_first[-places:] if places else []):
            share = (places - len(chosen)) // (min(places, len(found)) - rank)
            chosen += _spread(positions, share)
        shown += sorted(chosen)
    return shown + _spread(np.flatnonzero(outcomes < 0), most - len(shown))


def _spread(positions: Any, count: int) -> list[int]:
    """`count` of the positions, or all, from the middles of as many equal stretches."""
    size = len(positions)
    count = min(count, size)
    return [int(positions[(2 * i + 1) * size // (2 * count)]) for i in range(count)]


def _read_cards(reader: CardReader, totals: Totals, most: int) -> list[Card]:
    """The cards of the chosen records, read a few at a time side by side."""
    chosen = choose(totals.outcomes, totals.kinds, most)
    by_file: dict[int, list[int]] = defaultdict(list)
    for position in sorted(chosen):
        by_file[int(np.searchsorted(totals.starts, position, "right")) - 1].append(position)
    reads = [
        (totals.files[file], totals.starts[file], positions[start : start + _ROWS_PER_READ])
        for file, positions in by_file.items()
        for start in range(0, len(positions), _ROWS_PER_READ)
    ]
    found: dict[int, Card] = {}
    with ThreadPoolExecutor(_READERS, thread_name_prefix="report") as pool:
        for cards in pool.map(lambda read: reader.read_cards(*read), reads):
            found |= cards
    return [found[position] for position in chosen]


def _name_models(config: BulkEditConfig, cards: Sequence[Card]) -> dict[str, str]:
    """Role -> identity as the results name it; as the config names it where there are none."""
    found = {role: name for card in cards for role, name in card.models.items() if name}
    judge = config.judge.model.type if config.judge else None
    named = {"policy": config.policy.type, "editor": config.editor.type, "judge": judge}
    return found or {role: name for role, name in named.items() if name}
