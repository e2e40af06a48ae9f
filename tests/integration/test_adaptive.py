"""Seeds that are drawn because the judge wants them: whole runs, resumed ones, and records run once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_outputs, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import RunStopped
from mira_batch.core.identity import seed
from mira_batch.core.receipts import RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.edit.job import EditJob
from mira_batch.edit.replay import replay
from mira_batch.storage.catalogue.trajectory import find_trajectory
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import Notes, assert_whole, results

RECORDS = 12
BEST_OF = {"attempts": 4, "candidates": 3}
ADAPTIVE = {"attempts": 4, "unsure_above": 0.6, "tolerance": 0.3}


def a_config(manifest: Path, output: Path, judge: dict[str, Any]) -> BulkEditConfig:
    model = {"type": "simulated", "low": 0.4, "high": 0.9, "entropy": 1.0}
    service = {"service": {"seconds": 0.01}}
    return load_config(
        settings(
            manifest,
            output,
            backend="inline",
            policy={"type": "simulated", "steps": {"exact": {"*": 3}}},
            editor={"type": "simulated", **service},
            judge={"model": model | service, **judge},
            workers={"max": 1, "records_in_flight": 3, "shard_size": 2},
        )
    )


def candidates(summary: RunSummary) -> dict[str, list[dict[str, Any]]]:
    rows = read_outputs(summary.run, ["record_id", "candidates"]).to_pylist()
    return {row["record_id"]: row["candidates"] for row in rows}


class AfterTheFirstShard(Notes):
    def __init__(self) -> None:
        super().__init__()
        self.stop = StopRequest()

    def committed(self, summary: RunSummary) -> None:
        self.stop.ask(RunEnd.interrupted, "enough for now")


@pytest.mark.parametrize("judge", [BEST_OF, ADAPTIVE], ids=["best-of", "adaptive"])
def test_all_that_was_drawn_is_in_the_row_and_a_resumed_run_draws_the_same(
    tmp_path: Path, judge: dict[str, Any]
) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    config = a_config(manifest, tmp_path / "whole", judge)
    whole = run(config)
    assert_whole(whole.run, config, RECORDS)
    drawn = candidates(whole)
    for row in read_outputs(whole.run, ["record_id", "work_id", "steps"]).to_pylist():
        for step in row["steps"]:
            mine = [each for each in drawn[row["record_id"]] if each["step"] == step["index"]]
            assert [each["attempt"] for each in mine] == list(range(len(mine)))
            seeds = [seed(row["work_id"], "editor", step["index"], attempt) for attempt in range(len(mine))]
            assert [each["seed"] for each in mine] == seeds and step["seed"] == seeds[step["attempt"]]
            taken = mine[step["attempt"]]
            assert (taken["after"], taken["score"]) == (step["after"], step["score"])
            assert taken["score"] == max(each["score"] for each in mine)
            if "candidates" in judge:
                assert len(mine) >= 3
            elif len(mine) < 4:
                assert step["accepted"] and taken["entropy"] <= 0.6
    counts = {len([e for e in each if e["step"] == step]) for each in drawn.values() for step in range(3)}
    assert len(counts) > 1, "some steps have more candidates than others"

    other = a_config(manifest, tmp_path / "halted", judge)
    halt = AfterTheFirstShard()
    with pytest.raises(RunStopped):
        run(other, halt, halt.stop)
    resumed = run(other)
    assert resumed.already and resumed.resumed_steps
    assert results(resumed.run) == results(whole.run) and candidates(resumed) == drawn

    found = find_trajectory(whole.run, "rec-00003")
    for from_step in (0, 2):
        again = replay(found, EditJob(config), from_step, lambda doing: None)
        assert again.verdict == "same" and again.new["candidates"] == found.row["candidates"]
