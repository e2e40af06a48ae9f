"""Which records of a run a page shows: a few of every kind for its report, a random sample for a review.

Both depend on the run alone, so the same command gives the same records.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.identity import content_hash
from mira_batch.core.types import Status
from mira_batch.report.totals import Kind, Totals
from mira_batch.storage.catalogue.select import share_out
from mira_batch.storage.run.results import tell_unfinished
from mira_batch.storage.stores import Store, open_arrow_filesystem

_STRATA = ("status", "stop_reason", "num_steps", "policy", "editor", "judge")
"""Columns by which a sample may be stratified; any other is one of the manifest's."""
_MOST_STRATA = 200
_NONE = "–"


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


@dataclass(frozen=True)
class Sample:
    """Records drawn for a review."""

    positions: Sequence[int]
    """Where they are in the run, in the order they were drawn: any first part is a sample, too."""
    strata: Sequence[str]
    """Of each the name of its stratum; empty where there are none."""
    population: int
    """Records of which there was a choice: all with a result that are ok or unfinished."""

    @property
    def is_all(self) -> bool:
        """Whether nothing was left out."""
        return len(self.positions) == self.population


def draw_sample(
    store: Store, storage: StorageConfig, totals: Totals, size: int | None, stratify: str = ""
) -> Sample:
    """Draw records that have a result to be looked at, by the digests of their ids: at random, and the same
    ones each time.

    Args:
        store: the run's directory.
        storage: how it is reached.
        totals: of the run.
        size: of the sample; None takes all.
        stratify: the column of which each value has its share of the sample; empty for none.

    Raises:
        ConfigError: no record has such a column, or it has too many values.
        pa.ArrowException, OSError: a result file can't be read.
    """
    counts: Counter[str] = Counter()
    first: dict[str, list[tuple[int, int]]] = defaultdict(list)  # of each stratum the least digests
    for position, record, stratum in _list_results(store, storage, totals, stratify):
        counts[stratum] += 1
        if len(counts) > _MOST_STRATA:
            raise ConfigError(f"--stratify {stratify}: has more than {_MOST_STRATA} values")
        entry = -int(content_hash(store.name, record, size=8), 16), position
        if size is None or len(first[stratum]) < size:
            heapq.heappush(first[stratum], entry)
        else:
            heapq.heappushpop(first[stratum], entry)
    if stratify and counts and set(counts) == {_NONE}:
        raise ConfigError(
            f"--stratify {stratify}: no record has a value of it; there are {', '.join(_STRATA)}"
            " and the manifest's own columns"
        )
    shares = dict(counts) if size is None else share_out(counts, size)
    drawn = [(*entry, name) for name, n in shares.items() for entry in heapq.nlargest(n, first[name])]
    drawn.sort(reverse=True)
    strata = [name for *_, name in drawn] if stratify else []
    return Sample([position for _, position, _ in drawn], strata, counts.total())


def _list_results(
    store: Store, storage: StorageConfig, totals: Totals, stratify: str
) -> Iterator[tuple[int, str, str]]:
    """Position, record_id and stratum of each record that has a result to be looked at."""
    columns = ["record_id", "status", "stop_reason", "result_digest"]
    if stratify in ("policy", "editor", "judge"):
        columns.append("models")
    elif stratify:
        columns.append(stratify if stratify in _STRATA else "metadata")
    fs, _ = open_arrow_filesystem(store.uri, storage)
    for file, start in zip(totals.files, totals.starts, strict=True):
        with pq.ParquetFile(file, filesystem=fs) as parquet:
            rows = tell_unfinished(parquet.read(columns=list(dict.fromkeys(columns)))).to_pylist()
        for place, row in enumerate(rows, start):
            if row["result_digest"] and row["status"] in (Status.ok, Status.unfinished):
                yield place, row["record_id"], _name_stratum(row, stratify) if stratify else ""


def _name_stratum(row: dict[str, Any], column: str) -> str:
    if column in ("policy", "editor", "judge"):
        value = row["models"][column]
    elif column in _STRATA:
        value = row[column]
    else:
        value = json.loads(row["metadata"] or "{}").get(column)
    return _NONE if value is None or value == "" else str(value)[:80]
