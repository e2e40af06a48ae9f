"""The scores of an evaluation, read from its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict
from mira_batch.core.types import Status
from mira_batch.evaluate.controls import REPEAT, RESULT
from mira_batch.storage.run.layout import job_of, read_run
from mira_batch.storage.run.results import read_outputs
from mira_batch.storage.stores import open_store

OVERALL = "overall"
"""The name of a judge's score in [0, 1], among those of its axes."""
_COLUMNS = (
    "record_id", "status", "error_kind", "error_message", "judged", "of", "group", "instruction", "source",
    "source_digest", "result_digest", "result_status", "num_steps", "edit_seconds", "edit_cost", "score",
    "axes", "validity", "protocol", "models", "seconds", "cost",
)  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """All judgings of one evaluation."""

    run: str
    """Its directory."""
    about: Mapping[str, Any]
    """Its `run.json`."""
    rows: Sequence[Mapping[str, Any]]
    """Of schema `SCORES`, without the judge's raw answers; each has all its scores by name as `values`."""

    def of(self, *kinds: str) -> list[Mapping[str, Any]]:
        """The rows of these kinds of question."""
        return [row for row in self.rows if row["judged"] in kinds]

    @property
    def results(self) -> list[Mapping[str, Any]]:
        """A row for each record."""
        return self.of(RESULT)

    @property
    def repeats(self) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Pairs of judgings of the same image, both with a score."""
        first = {row["of"]: row for row in self.results if row["values"]}
        return [(first[row["of"]], row) for row in self.of(REPEAT) if row["values"] and row["of"] in first]

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same of two evaluations whose scores are compared, by name. Of one that scored
        nothing the protocol is not known: the list is empty."""
        scored = [row for row in self.rows if row["values"]]
        return {
            "judge": sorted({row["models"]["judge"] or "" for row in scored or self.rows}),
            "protocol": sorted({row["protocol"] or "" for row in scored}),
            "version": self.about["settings"].get("scores", {}).get("version"),
            "settings of the judge": self.about["settings"].get("scores", {}).get("judge"),
        }


def cluster_of(row: Mapping[str, Any]) -> str:
    """What a row's errors share with those of others: its original's pixels, or where that lies."""
    return row["source_digest"] or row["source"]


def is_edit_failure(row: Mapping[str, Any]) -> bool:
    """Whether there is nothing to judge: the edit failed."""
    return row["result_status"] == Status.failed


def read_scores(run: str, storage: StorageConfig) -> Scores:
    """All judgings of an evaluation.

    Args:
        run: its directory.
        storage: how it is reached.

    Raises:
        RunConflict: there is no run, or it is of another job.
        StoreError: it has no results, or they can't be read.
    """
    about = read_run(open_store(run, storage, make=False))
    if (job := job_of(about)) != "evaluate":
        raise RunConflict(f"{run}: is a run of the job {job}; give one of `mira-batch evaluate`")
    rows = read_outputs(run, _COLUMNS, storage).to_pylist()
    return Scores(run, about, [row | {"values": name_values(row)} for row in rows])


def name_values(row: Mapping[str, Any]) -> dict[str, float]:
    """The score and the axes' values by name; none of a judging that failed.

    Args:
        row: of schema `SCORES`. An axis that is called as the score is, such as the overall of VIEScore on
            its own scale of 0 to 10, is the same in another unit and left out.
    """
    if row["score"] is None:
        return {}
    return {OVERALL: row["score"]} | {
        axis["name"]: axis["value"] for axis in row["axes"] or () if axis["name"] != OVERALL
    }
