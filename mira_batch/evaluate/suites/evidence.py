"""The scores of an evaluation, item by item of the benchmark that it is of. An item without a score is there,
too, and says why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.core.types import Status
from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError, Outcome
from mira_batch.evaluate.scores import Scores, read_scores
from mira_batch.evaluate.suites.prepared import Prepared, find_prepared
from mira_batch.evaluate.suites.sheets import Counts, Sheet, Tabulated
from mira_batch.storage.run.layout import RUN
from mira_batch.storage.stores import file_exists

NOT_ASKED = "not in this evaluation"
NO_RESULT = "the edit failed"


@dataclass(frozen=True, slots=True)
class Judged:
    """An item of a benchmark, and what became of it."""

    row: Mapping[str, Any]
    """Of the prepared manifest."""
    outcome: Outcome
    values: Mapping[str, float]
    """The judge's axes by name, and `overall`; empty unless judged."""
    why: str = ""
    """Why it has none, in words."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of them, in the benchmark's order."""

    prepared: Prepared
    run: str
    """The evaluation's directory."""
    judge: str
    protocol: str
    items: Mapping[str, Judged]
    """By record_id."""

    def count(self) -> Counts:
        """What became of them."""
        found = self.items.values()
        by = Counter(item.outcome for item in found)
        reasons = Counter(item.why for item in found if item.why)
        return Counts(
            len(self.items), by[Outcome.judged], by[Outcome.failed], by[Outcome.missing], dict(reasons)
        )

    def tabulate(
        self,
        benchmark: str,
        title: str,
        notes: Sequence[str],
        sheets: Sequence[Sheet],
        figures: Mapping[str, Any],
    ) -> Tabulated:
        """What a benchmark says of this evaluation; the arguments are those of `Tabulated`."""
        return Tabulated(
            benchmark, title, [self.run], self.judge, self.protocol, self.count(), notes, sheets, figures
        )

    def require(self, axes: Sequence[str], scorer: str) -> None:
        """Refuse scores of a judge that doesn't measure what the table is of.

        Args:
            axes: that each judged item must have.
            scorer: the benchmark's own judge, for the message.

        Raises:
            BenchmarkError: one lacks.
        """
        for item in self.items.values():
            if item.values and (lacking := [name for name in axes if name not in item.values]):
                known = ", ".join(item.values)
                raise BenchmarkError(
                    f"{self.run}: its judge gives {known} and no {', '.join(lacking)}, of which the table is "
                    f"made; evaluate with {scorer}"
                )


def gather(evaluation: str, benchmark: str, given: str | None, storage: StorageConfig) -> Evidence:
    """The scores of an evaluation by item of the benchmark.

    Args:
        evaluation: its directory.
        benchmark: the benchmark's name.
        given: the prepared benchmark's folder, where the user names it; None: found by the runs.
        storage: how all of it is reached.

    Raises:
        BenchmarkError: it is of another benchmark, or of other instructions.
        RunConflict: it is no evaluation.
        StoreError: something can't be read.
    """
    scores = read_scores(evaluation, storage)
    prepared = find_prepared(_find_places(scores, storage), benchmark, given, storage)
    rows = {row["of"]: row for row in scores.results}
    _refuse_others(rows, prepared, evaluation)
    items = {name: _join(item, rows.get(name)) for name, item in prepared.items.items()}
    identity = scores.identity
    return Evidence(
        prepared, evaluation, ", ".join(identity["judge"]), ", ".join(identity["protocol"]), items
    )


def _find_places(scores: Scores, storage: StorageConfig) -> list[str]:
    """The runs whose results were judged; or the manifest of pairs."""
    source = str(scores.about["config"]["input"]["manifest"]).rstrip("/")
    runs = sorted({row["run"] for row in scores.results if row["run"]})
    if not runs or file_exists(f"{source}/{RUN}", storage):
        return [source]
    return [f"{source}/{run}" for run in runs]


def _refuse_others(rows: Mapping[str, Mapping[str, Any]], prepared: Prepared, evaluation: str) -> None:
    """Refuse rows that are of no item, or of another instruction than its item has."""
    for name, row in rows.items():
        item = prepared.items.get(name)
        if item is None:
            raise BenchmarkError(f"{evaluation}: has {name}, which is no item of {prepared.folder}")
        if item["instruction"] != row["instruction"]:
            raise BenchmarkError(f"{evaluation}: {name} was asked for otherwise than in {prepared.folder}")


def _join(item: Mapping[str, Any], row: Mapping[str, Any] | None) -> Judged:
    if row is None:
        return Judged(item, Outcome.missing, {}, NOT_ASKED)
    if row["values"]:
        return Judged(item, Outcome.judged, row["values"])
    if row["result_status"] == Status.failed:
        return Judged(item, Outcome.missing, {}, NO_RESULT)
    return Judged(item, Outcome.failed, {}, str(row["error_kind"]))
