"""Writes the page on which a person approves or rejects the results of a run.

Owns which results are shown and what the page is told of them; the page keeps the decisions until they are
downloaded, and `storage.run.decisions` takes them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import ConfigError, StoreError, describe
from mira_batch.core.identity import content_hash
from mira_batch.report.cards import CardReader
from mira_batch.report.choice import Sample, draw_sample
from mira_batch.report.contents import Card
from mira_batch.report.data import ONE_FILE, Chunks, collect, dump, dump_row
from mira_batch.report.reading import read_in_order
from mira_batch.report.render import render_review
from mira_batch.report.totals import read_totals
from mira_batch.storage.run import layout
from mira_batch.storage.run.decisions import REASONS
from mira_batch.storage.run.rollouts import refuse_rollouts
from mira_batch.storage.stores import Store, open_store, read_errors

DEFAULT_SIZE = 299
"""Where all of so many are approved, at most 1 % of the run are bad, with 95 % confidence."""


@dataclass(frozen=True)
class Review:
    """A review page that was written."""

    page: str
    """Its location."""
    files: bool
    """Whether it has a folder of files beside it that must go where it goes."""
    shown: int
    """Results on it."""
    population: int
    """Results of which these are a sample."""
    rule: str
    """How they were chosen, in a sentence."""


def write_review(
    config: BulkEditConfig, run: str, size: int | None, stratify: str = "", one_file: int = ONE_FILE
) -> Review:
    """Write `<run>/review.html`.

    Args:
        config: the run's config.
        run: the run's directory.
        size: results shown, a random sample; None shows all.
        stratify: the column by whose values the sample is shared out; empty for none.
        one_file: bytes of pictures up to which the page is one file.

    Raises:
        RunConflict: there is no such run.
        ConfigError: nothing is there to be reviewed, or there is no such column.
        StoreError: the run can't be read or written.
    """
    store = open_store(run, config.storage, make=False)
    about = layout.read_edit_run(store)
    refuse_rollouts(about, run, "decisions are about one result of a record")
    reader = CardReader(config, store, frozenset(file["path"] for file in about["manifest"]), whole=True)
    try:
        totals = read_totals(store, config.storage)
        sample = draw_sample(store, config.storage, totals, size, stratify)
        if not sample.positions:
            raise ConfigError(
                f"{run}: has no result yet that is ok or unfinished; there is nothing to review"
            )
        chunks = Chunks(store, layout.REVIEW_FILES, one_file)
        rows = _collect(chunks, reader, totals, sample)
    except (pa.ArrowException, *read_errors()) as error:
        raise StoreError(f"{run}/results: can't be read: {describe(error)[:300]}") from error
    rule = describe_rule(sample, stratify)
    _write(store, chunks, rows, {"id": about["run_id"], "manifest": config.input.manifest}, sample, rule)
    chunks.sweep()
    place = store.locate(layout.REVIEW)
    return Review(place, chunks.in_files, len(rows), sample.population, rule)


def _collect(chunks: Chunks, reader: CardReader, totals: Any, sample: Sample) -> list[dict[str, Any]]:
    order = {position: rank for rank, position in enumerate(sample.positions)}
    ranks = [order[position] for position in sorted(sample.positions)]

    def make_row(card: Card, place: int) -> dict[str, Any]:
        stratum = sample.strata[ranks[place]] if sample.strata else ""
        return dump_row(card, stratum) | {"rank": ranks[place]}

    return collect(chunks, read_in_order(reader, totals, sample.positions), make_row, per=1)


def describe_rule(sample: Sample, stratify: str) -> str:
    """How a sample was chosen, in a sentence.

    Args:
        sample: that was drawn.
        stratify: the column that its strata are of, if any.
    """
    if sample.is_all:
        return f"All {sample.population:,} results that are ok or unfinished."
    counts = f"{len(sample.positions):,} of {sample.population:,}"
    rule = f"{counts} results that are ok or unfinished, drawn at random"
    if stratify:
        rule += f"; each value of {stratify.replace('_', ' ')} has its share, and at least one"
    return f"{rule}."


def _write(
    store: Store,
    chunks: Chunks,
    rows: list[dict[str, Any]],
    run: dict[str, str],
    sample: Sample,
    rule: str,
) -> None:
    # What is on the page, by which a browser tells the decisions that it keeps for this page.
    digest = content_hash(*(part for row in rows for part in (row["id"], row["digest"])), size=8)
    about = {
        "run": run | {"digest": digest},
        "rule": rule,
        "population": sample.population,
        "reasons": REASONS,
        "per": 1,
        "records": rows,
    }
    page = render_review(run["id"], rule, dump(about), chunks.dump_place(), chunks.in_files)
    store.put(layout.REVIEW, page.encode("utf-8", "replace"))
