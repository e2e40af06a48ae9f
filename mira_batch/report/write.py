"""Writes the report of a run: what its results add up to, and pictures of some of its records.

`choice.py` says which records are shown, `totals.py` counts, `cards.py` gets the pictures, `render.py` makes
HTML. All is read from the run's directory, so a resumed run has the report of one that never stopped. Memory
holds a few records' images at a time, however large the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import StoreError, describe
from mira_batch.core.receipts import RunSummary
from mira_batch.report.cards import CardReader
from mira_batch.report.choice import choose
from mira_batch.report.contents import Card, Page
from mira_batch.report.reading import read_cards
from mira_batch.report.render import render_page
from mira_batch.report.totals import Totals, read_totals
from mira_batch.storage.run import layout
from mira_batch.storage.run.planfile import read_rejects
from mira_batch.storage.stores import READ_ERRORS, open_store

_REJECTS = 50


def write_report(config: BulkEditConfig, summary: RunSummary, most: int = 48, anew: bool = False) -> str:
    """Write `<run>/report.html`, one self-contained file, and return its location.

    Args:
        config: the run's config.
        summary: what the run, or the last call that went on with it, did.
        most: the most records shown with their pictures.
        anew: write it also where this call did nothing; else the page stays that of a call that did.

    Raises:
        StoreError: the run's directory can't be read or written.
        RunConflict: it holds no run.
    """
    store = open_store(summary.run, config.storage)
    run = layout.read_run(store)
    here = summary.committed - summary.already
    if (
        not here and not anew and store.exists(layout.REPORT)
    ):  # a call that did nothing leaves the times of one that did
        return store.locate(layout.REPORT)
    reader = CardReader(config, store, frozenset(file["path"] for file in run["manifest"]))
    try:
        totals = read_totals(store, config.storage)
        cards = read_cards(reader, totals, choose(totals.outcomes, totals.kinds, most))
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
    )
    store.put(layout.REPORT, render_page(page).encode("utf-8", "replace"))
    return store.locate(layout.REPORT)


def _with_totals(summary: RunSummary, totals: Totals) -> RunSummary:
    """The summary, its record figures replaced by those of all results."""
    tally = replace(totals.tally, resumed_steps=summary.resumed_steps)
    return replace(summary, committed=tally.records, total=replace(summary.total, tally=tally))


def _name_models(config: BulkEditConfig, cards: Sequence[Card]) -> dict[str, str]:
    """Role -> identity as the results name it; as the config names it where there are none."""
    found = {role: name for card in cards for role, name in card.models.items() if name}
    judge = config.judge.model.type if config.judge else None
    named = {"policy": config.policy.type, "editor": config.editor.type, "judge": judge}
    return found or {role: name for role, name in named.items() if name}
