"""What a plan is expected to take: by assumptions, by earlier runs, and unknown where it can't be known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, run
from mira_batch.core.errors import ConfigError
from mira_batch.core.receipts import Estimate, Range
from mira_batch.launch import make_job
from mira_batch.report.figures import dump_summary
from mira_batch.runtime.run import plan
from tests.support.runs.catalogue import make_catalogue, settings


def expect(folder: Path, assumed: dict[str, float] | None = None, **more: Any) -> Estimate:
    """The estimate of a plan of a hundred records."""
    if not (manifest := folder / "catalogue" / "manifest.jsonl").exists():
        make_catalogue(folder / "catalogue", 100)
    config = settings(manifest, folder / "out") | more
    found = plan(make_job(load_config(config)), assumed=assumed)
    assert found.planned == 100 and found.estimate is not None
    return found.estimate


def exactly(value: float) -> Range:
    return Range(pytest.approx(value), pytest.approx(value))


GPU: dict[str, Any] = {"workers": {"max": 4, "gpus": 2}, "prices": {"gpu_hour": 3.0}}


def test_what_is_assumed_is_taken(tmp_path: Path) -> None:
    found = expect(tmp_path, {"edits": 3, "edit_seconds": 12}, **GPU, backend="ray")
    assert found == Estimate(0, exactly(300), exactly(1.0), exactly(6.0), exactly(0.25), 4)
    found = expect(tmp_path, {"edits": 3, "edit_seconds": 12}, **GPU)
    assert found.hours == exactly(1.0), "inline there is one worker"
    found = expect(tmp_path, {"edits": 3, "edit_seconds": 12, "edit_dollars": 0.1}, **GPU)
    assert found.dollars == exactly(36.0)


def test_what_cannot_be_known_is_not_called_nothing(tmp_path: Path) -> None:
    assert expect(tmp_path, **GPU) == Estimate(0)
    assert expect(tmp_path, {"edits": 3}, **GPU) == Estimate(0, exactly(300))
    assert expect(tmp_path, {"edits": 3, "edit_dollars": 0.1}, **GPU).dollars is None, "the GPUs' part of it"
    assert expect(tmp_path, {"edits": 3}).dollars is None, "endpoints may charge"
    unpriced = expect(tmp_path, {"edits": 3, "edit_seconds": 12}, workers=GPU["workers"])
    assert unpriced.worker_hours == exactly(1.0) and unpriced.dollars is None
    with pytest.raises(ConfigError, match="edit_second: there are edits, edit_seconds, edit_dollars"):
        expect(tmp_path, {"edit_second": 12})


def test_without_gpus_the_price_of_an_edit_is_enough(tmp_path: Path) -> None:
    found = expect(tmp_path, {"edits": 3, "edit_dollars": 0.1})
    assert (found.dollars, found.worker_hours, found.hours) == (exactly(30.0), None, None)


def test_earlier_runs_of_the_same_models_tell(tmp_path: Path) -> None:
    summary = run(load_config(settings(make_catalogue(tmp_path / "catalogue", 100), tmp_path / "out")))
    found = expect(tmp_path, output={"uri": str(tmp_path / "out"), "format": "webp"})
    assert found.runs == 1
    assert found.edits == exactly(summary.steps)
    assert found.worker_hours == exactly(summary.total.breakdown["worker"] / 3600)
    assert found.dollars == exactly(0.0), "nothing here costs anything"
    other = {"uri": str(tmp_path / "out"), "format": "webp"}
    twice = expect(tmp_path, {"edits": 2 * summary.steps / 100}, output=other)
    assert twice.worker_hours == exactly(2 * summary.total.breakdown["worker"] / 3600)


def test_the_json_of_a_plan_has_the_estimate_as_numbers(tmp_path: Path) -> None:
    make_catalogue(tmp_path / "catalogue", 100)
    config = settings(tmp_path / "catalogue" / "manifest.jsonl", tmp_path / "out", **GPU)
    found = plan(make_job(load_config(config)), assumed={"edits": 3, "edit_seconds": 12})
    dumped = json.loads(json.dumps(dump_summary(found)))["estimate"]
    assert dumped["runs"] == 0 and dumped["dollars"] == {
        "low": pytest.approx(6.0),
        "high": pytest.approx(6.0),
    }
    assert dump_summary(run(load_config(config | {"workers": {}})))["estimate"] is None
