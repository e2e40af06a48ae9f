"""Writes the report of a run: what its results add up to, and the film strips of its records.

`choice.py` says which records are shown, `totals.py` counts, `cards.py` gets the pictures, `data.py` puts
them where the page finds them, `render.py` makes HTML. All is read from the run's directory, so a resumed run
has the report of one that never stopped. Memory holds a few records' images at a time, however large the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pyarrow as pa

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import StoreError, describe
from mira_batch.core.receipts import RunSummary
from mira_batch.report.against import Earlier
from mira_batch.report.cards import CardReader
from mira_batch.report.charts import count_scores, dump_charts, make_charts
from mira_batch.report.choice import choose
from mira_batch.report.contents import Card, Page
from mira_batch.report.credited import Credited, CreditJoin
from mira_batch.report.data import ONE_FILE, Chunks, collect, dump, dump_row
from mira_batch.report.reading import read_in_order
from mira_batch.report.render import render_page
from mira_batch.report.scored import Join, Scored, read_scorings
from mira_batch.report.totals import Totals, read_totals
from mira_batch.storage.run import layout
from mira_batch.storage.run.planfile import read_rejects
from mira_batch.storage.stores import open_store, read_errors

_REJECTS = 50
_PER_CHUNK = 4
"""Records whose film strips are loaded together: those on a page of the gallery need not be neighbours."""


@dataclass(frozen=True)
class Form:
    """What a report is to hold."""

    most: int | None = 48
    """The most records shown with their pictures; None shows all."""
    whole: bool = False
    """Whether original and result are there with all their pixels, too."""
    anew: bool = False
    """Write it also where the last call did nothing; else the page stays that of a call that did."""
    against: str | None = None
    """Directory of an earlier run whose results are shown beside these."""
    scores: Sequence[str] = ()
    """Directories of evaluations of the run whose scores are shown."""
    counterfactual: str | None = None
    """Directory of a counterfactual of the run: what each step was worth, and which one ruined its record."""
    one_file: int = ONE_FILE
    """Bytes of pictures up to which the page is one file."""


@dataclass(frozen=True)
class Report:
    """A report that was written."""

    page: str
    """Its location."""
    joins: Sequence[Join] = ()
    """How the evaluations whose scores it shows fit the run."""
    credit: CreditJoin | None = None
    """How the counterfactual that it shows does."""


def write_report(config: BulkEditConfig, summary: RunSummary, form: Form | None = None) -> Report:
    """Write `<run>/report.html`, and where that would be large the files beside it.

    Args:
        config: the run's config.
        summary: what the run, or the last call that went on with it, did.
        form: what it is to hold.

    Raises:
        StoreError: the run's directory, or an evaluation, can't be read, or the page not written.
        RunConflict: it holds no run, or an evaluation is not of this run.
        ConfigError: two evaluations are by the same judge.
    """
    form = form or Form()
    store = open_store(summary.run, config.storage)
    run = layout.read_run(store)
    here = summary.committed - summary.already
    if (
        not here and not form.anew and store.exists(layout.REPORT)
    ):  # its times are of a call that did something
        return Report(store.locate(layout.REPORT))
    reader = CardReader(config, store, frozenset(file["path"] for file in run["manifest"]), form.whole)
    chunks = Chunks(store, layout.REPORT_FILES, form.one_file)
    try:
        totals = read_totals(store, config.storage)
        earlier = None if form.against is None else Earlier(config, form.against)
        scorings = read_scorings(form.scores, store, config.storage, totals)
        credited = None
        if form.counterfactual is not None:
            credited = Credited(form.counterfactual, store, config.storage)
        chosen = _choose(totals, form.most, scorings, credited)
        for scored in scorings:
            scored.read_details(chosen, config.storage)
        gallery = _fill(chunks, reader, totals, chosen, _Beside(earlier, scorings, credited))
        scores = count_scores(store, config.storage, totals.files) if config.judge else None
        charts = make_charts(totals.tally, totals.histograms, scores)
        if earlier is not None:
            charts.insert(0, earlier.make_chart(store, config, totals))
        if credited is not None:
            charts.insert(0, credited.make_chart())
    except (pa.ArrowException, *read_errors()) as error:
        raise StoreError(
            f"{summary.results}: can't be read: {describe(error)[:300]}; `mira-batch verify` says which file "
            "is damaged, and what to do"
        ) from error
    said = [scored.scoring for scored in scorings]
    dumped = list(dump_charts([*charts, *(chart for each in said for chart in each.charts)]))
    data = {"records": gallery.rows, "charts": dumped, "per": _PER_CHUNK}
    rejects = read_rejects(store)
    page = Page(
        summary=_with_totals(summary, totals),
        pace=60 * here / summary.wall if here and summary.wall else None,
        manifest=config.input.manifest,
        models=gallery.models or _name_configured(config),
        version=run["mira_batch"],
        written=datetime.now(UTC),
        rule=describe_choice(len(gallery.rows), totals.tally.records, bool(scorings), credited is not None),
        charts=charts,
        scorings=said,
        data=dump(data),
        chunks=chunks.dump_place(),
        in_files=chunks.in_files,
        rejects=rejects[:_REJECTS],
        rejected=len(rejects),
    )
    store.put(layout.REPORT, render_page(page).encode("utf-8", "replace"))
    chunks.sweep()
    credit = None if credited is None else credited.join
    return Report(store.locate(layout.REPORT), [scored.join for scored in scorings], credit)


@dataclass
class _Gallery:
    """The records of a page."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    """Role -> identity, as the results name it."""


@dataclass(frozen=True)
class _Beside:
    """What is shown beside the records of a run."""

    earlier: Earlier | None
    scorings: Sequence[Scored]
    credited: Credited | None


def _choose(
    totals: Totals, most: int | None, scorings: Sequence[Scored], credited: Credited | None
) -> Sequence[int]:
    """Positions of the records shown: of those that were judged also the worst, and some that the judge
    failed on, together a third at most; and as many of a counterfactual, those that a step ruined first."""
    if most is None or most >= totals.tally.records:
        return range(totals.tally.records)
    judged = {place for scored in scorings for place in scored.pick(most // (6 * len(scorings)))}
    judged |= set() if credited is None else set(credited.pick(most // 3))
    return sorted({*judged, *choose(totals.outcomes, totals.kinds, most - len(judged))})


def _fill(
    chunks: Chunks,
    reader: CardReader,
    totals: Totals,
    chosen: Sequence[int],
    beside: _Beside,
) -> _Gallery:
    gallery, earlier, scorings, credited = _Gallery(), beside.earlier, beside.scorings, beside.credited

    def make_row(card: Card, _: int) -> dict[str, Any]:
        gallery.models.update({role: name for role, name in card.models.items() if name})
        told = {} if earlier is None else {"against": earlier.tell(card.record_id, card.result_digest)}
        values = {name: value for scored in scorings for name, value in scored.tell(card.record_id).items()}
        told |= {} if credited is None else {"credit": credited.tell(card)}
        return dump_row(card) | told | ({"scores": values} if scorings else {})

    def add_verdicts(card: Card) -> Card:
        judged = reduce(lambda card, scored: scored.judge(card), scorings, card)
        return judged if credited is None else credited.credit(judged)

    cards = map(add_verdicts, read_in_order(reader, totals, chosen))
    joined = cards if earlier is None else earlier.join(cards)
    gallery.rows = collect(chunks, joined, make_row, _PER_CHUNK)
    return gallery


def describe_choice(shown: int, all_of_them: int, scored: bool = False, credited: bool = False) -> str:
    """Which records a report shows, in a sentence.

    Args:
        shown: how many.
        all_of_them: records that are committed.
        scored: whether those with the lowest scores are among them.
        credited: whether those are that a counterfactual looked at.
    """
    if shown == all_of_them:
        return ""
    worst = "those with the lowest scores, some that the judge failed on, " if scored else ""
    ruined = "some that the counterfactual looked at, those that a step ruined first, " if credited else ""
    return (
        f"{shown:,} of {all_of_them:,} records are shown: {worst}{ruined}failed and unfinished ones, every "
        "kind of them, a third each at most; good ones spread evenly over the run. Charts count all of them, "
        "until something is chosen."
    )


def _with_totals(summary: RunSummary, totals: Totals) -> RunSummary:
    """The summary, its record figures replaced by those of all results."""
    tally = replace(totals.tally, resumed_steps=summary.resumed_steps)
    return replace(summary, committed=tally.records, total=replace(summary.total, tally=tally))


def _name_configured(config: BulkEditConfig) -> Mapping[str, str]:
    """Role -> type of model as the config names it: where there are no results yet to name them."""
    judge = config.judge.model.type if config.judge else None
    named = {"policy": config.policy.type, "editor": config.editor.type, "judge": judge}
    return {role: name for role, name in named.items() if name}
