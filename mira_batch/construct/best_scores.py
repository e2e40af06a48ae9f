"""What each sample is worth: the best score of all trajectories that contain it.

Equal samples of several trajectories are one, and which of them is read first says nothing of its worth: an
edit that a poor trajectory begins with may begin the best one, too. So the scores are gathered before the
first sample is written, from the steps of the runs without their images.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

import pyarrow as pa

from mira_batch.config.construct import ConstructConfig
from mira_batch.construct.runs import Chosen, RunReader
from mira_batch.construct.samples import cut_samples
from mira_batch.construct.select import LEARN
from mira_batch.construct.stages import Counts, PartWriter, Unit, read_part
from mira_batch.storage.stores import Store

FOLDER = "best_scores"
"""Where they lie."""
BEST_SCORES = pa.schema([("sample_id", pa.string()), ("score", pa.float64())])
"""A row of `best_scores/`: a sample of a trajectory that has a score. Names come again in other files."""
_NAMES = ("shard", "row", "record_id", "work_id", "score", "dataset", "licence")
_ROWS = 10_000
Group = tuple[str, int, Sequence[Mapping[str, Any]], Sequence[Chosen]]
"""A run, a shard, and the trajectories of it that were selected, as they stand and as a reader wants them."""


def read_selected(store: Store, file: str) -> Iterator[Group]:
    """The trajectories that a file of `selected/` names, those of a result file together.

    Args:
        store: the output.
        file: as the marker names it.
    """
    rows = read_part(store, file).to_pylist()
    for (run, shard), some in groupby(rows, key=lambda row: (row["run"], row["shard"])):
        group = list(some)
        yield run, shard, group, [Chosen(*(row[name] for name in _NAMES)) for row in group]


def score_samples(unit: Unit, writer: PartWriter, store: Store, config: ConstructConfig) -> Counts:
    """The best score of each sample among the trajectories of one file. Counts: `scored`, trajectories.

    Args:
        unit: a file of `selected/`.
        writer: for rows of `BEST_SCORES`.
        store: the output.
        config: the job's.

    Raises:
        StoreError: a run is gone or damaged since.
    """
    counts: Counts = Counter()
    best: dict[str, float] = {}
    open_run = lru_cache(maxsize=4)(lambda run: RunReader(run, config.storage))
    for run, shard, rows, chosen in read_selected(store, unit.read):
        scored = [
            each
            for row, each in zip(rows, chosen, strict=True)
            if row["use"] == LEARN and each.score is not None
        ]
        if not scored:
            continue
        for each, demonstration in open_run(run).read_without_images(shard, scored):
            counts["scored"] += 1
            for _, row in cut_samples(demonstration, config.samples):
                if row is not None:
                    name = row["sample_id"]
                    best[name] = max(best.get(name, 0.0), each.score or 0.0)
    for name in sorted(best):
        writer.add("part", {"sample_id": name, "score": best[name]})
    return counts


class BestScores:
    """The best score of each sample, from all files of `best_scores/`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """
        Args:
            database: of `scratch.open_scratch`.
        """
        self._database = database
        database.execute("CREATE TABLE best (name TEXT PRIMARY KEY, score REAL) WITHOUT ROWID")

    def load(self, store: Store, files: Iterable[str]) -> None:
        """Take the scores of these files, in any order.

        Args:
            store: the output.
            files: of `best_scores/`.

        Raises:
            StoreError: one is gone or damaged.
        """
        put = (
            "INSERT INTO best VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET score = max(score, excluded.score)"
        )
        for file in files:
            self._database.execute("BEGIN")
            for batch in read_part(store, file).to_batches(max_chunksize=_ROWS):
                pairs = zip(batch["sample_id"].to_pylist(), batch["score"].to_pylist(), strict=True)
                self._database.executemany(put, pairs)
            self._database.execute("COMMIT")

    def find(self, name: str) -> float | None:
        """The best score of a sample; None where no trajectory that contains it has one.

        Args:
            name: its `sample_id`.
        """
        found = self._database.execute("SELECT score FROM best WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]
