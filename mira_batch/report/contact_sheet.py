"""The report of a run: what its results add up to, and pictures of some of its records.

Owns what is counted and which records are shown; `strip.py` gets their pictures, `page.py` owns how it
looks. Everything is read from the run's directory, so a resumed run has the report of one that never
stopped. Memory holds a few records' images at a time, however large the run.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import StoreError, describe
from mira_batch.core.receipts import RunSummary, Tally
from mira_batch.core.types import Status
from mira_batch.core.usage import Usage
from mira_batch.report.page import Card, Page, render
from mira_batch.report.strip import CardReader
from mira_batch.storage import schema
from mira_batch.storage.run import layout
from mira_batch.storage.run.planfile import read_rejects
from mira_batch.storage.run.results import results_dataset
from mira_batch.storage.stores import READ_ERRORS, Store, open_store

_READERS = 4
_ROWS_PER_READ = 8
_REJECTS = 50
_LIGHT = ("status", "stop_reason", "error_kind", "num_steps", "seconds", "cost")


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
        census = _census(store, config, summary)
        cards = _cards(reader, census, most)
    except (pa.ArrowException, *READ_ERRORS) as error:
        raise StoreError(f"{summary.results}: can't be read: {describe(error)[:300]}") from error
    rejects = read_rejects(store)
    page = Page(
        summary=census.summary,
        pace=60 * here / summary.wall if here and summary.wall else None,
        manifest=config.input.manifest,
        models=_models(config, cards),
        version=run["mira_batch"],
        written=datetime.now(UTC),
        cards=cards,
        rejects=rejects[:_REJECTS],
        rejected=len(rejects),
    )
    store.put(layout.REPORT, render(page).encode("utf-8", "replace"))
    return store.locate(layout.REPORT)


@dataclass(frozen=True)
class _Census:
    """What one pass over the small columns of all results finds."""

    summary: RunSummary
    """The given summary, its record figures replaced by those of all results."""
    files: Sequence[str] = ()
    starts: Sequence[int] = ()
    """Of each file, the position of its first row in the run."""
    failed: Any = None
    """A bool for each record, in the run's order."""


def _census(store: Store, config: BulkEditConfig, summary: RunSummary) -> _Census:
    counts = {name: Counter[str]() for name in ("status", "stop_reason", "error_kind")}
    usage, steps, total = Usage(), 0, 0
    starts: dict[str, int] = {}
    flags = [np.zeros(0, bool)]
    if any(layout.shard_of(entry.key) is not None for entry in store.list("results")):
        dataset = results_dataset(summary.run, config.storage)
        # Footers are not kept: those of a hundred thousand shards would fill the memory.
        scanner = dataset.scanner(columns=list(_LIGHT), cache_metadata=False, fragment_readahead=16)
        for batch, fragment in scanner.scan_batches():
            starts.setdefault(fragment.path, total)
            total += batch.num_rows
            for name, counter in counts.items():
                for entry in batch[name].drop_null().value_counts().to_pylist():
                    counter[entry["values"]] += entry["counts"]
            columns = {f.name: batch["seconds"].field(f.name) for f in schema.SECONDS}
            seconds = {name: float(values.to_numpy().sum()) for name, values in columns.items()}
            usage += Usage(seconds, float(batch["cost"].to_numpy().sum()))
            steps += int(batch["num_steps"].to_numpy().sum())
            flags.append(batch["status"].to_numpy(zero_copy_only=False) == Status.failed)
    ok, errors, stops = counts["status"][Status.ok], counts["error_kind"], counts["stop_reason"]
    tally = Tally(total, ok, steps, summary.resumed_steps, dict(errors), dict(stops), usage)
    whole = replace(summary, committed=total, total=replace(summary.total, tally=tally))
    return _Census(whole, list(starts), list(starts.values()), np.concatenate(flags))


def choose(failed: Any, most: int) -> list[int]:
    """Positions of the records to show: failed ones first, at most a third of `most`; each kind spread
    evenly over the run. Depends on its arguments alone."""
    bad, good = np.flatnonzero(failed), np.flatnonzero(~failed)
    shown = _spread(bad, min(max(1, most // 3), most))
    return shown + _spread(good, most - len(shown))


def _spread(positions: Any, count: int) -> list[int]:
    """`count` of the positions, or all, from the middles of as many equal stretches."""
    size = len(positions)
    count = min(count, size)
    return [int(positions[(2 * i + 1) * size // (2 * count)]) for i in range(count)]


def _cards(reader: CardReader, census: _Census, most: int) -> list[Card]:
    chosen = choose(census.failed, most)
    by_file: dict[int, list[int]] = defaultdict(list)
    for position in sorted(chosen):
        by_file[int(np.searchsorted(census.starts, position, "right")) - 1].append(position)
    reads = [
        (census.files[file], census.starts[file], positions[start : start + _ROWS_PER_READ])
        for file, positions in by_file.items()
        for start in range(0, len(positions), _ROWS_PER_READ)
    ]
    found: dict[int, Card] = {}
    with ThreadPoolExecutor(_READERS, thread_name_prefix="report") as pool:
        for cards in pool.map(lambda read: reader.cards(*read), reads):
            found |= cards
    return [found[position] for position in chosen]


def _models(config: BulkEditConfig, cards: Sequence[Card]) -> dict[str, str]:
    """Role -> identity as the results name it; as the config names it where there are none."""
    found = {role: name for card in cards for role, name in card.models.items() if name}
    judge = config.judge.model.type if config.judge else None
    named = {"policy": config.policy.type, "editor": config.editor.type, "judge": judge}
    return found or {role: name for role, name in named.items() if name}
