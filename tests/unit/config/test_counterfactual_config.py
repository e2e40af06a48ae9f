"""What the config of a counterfactual refuses, and what it makes of its jobs."""

from __future__ import annotations

from typing import Any

import pytest

from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.config.edit import InputConfig
from mira_batch.config.load import load_config, load_own_config
from mira_batch.core.errors import ConfigError


def load(**changes: Any) -> CounterfactualConfig:
    given = {"run": "/runs/a", "judge": {"type": "rules"}, "output": {"uri": "/out"}, "backend": "inline"}
    return load_own_config(CounterfactualConfig, given | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"records": ["a"], "sample": 5}, "sample: has no effect with records"),
        ({"records": []}, "records"),
        ({"continuations": 2}, "continuations"),
        ({"confidence": 1.0}, "confidence"),
        ({"output": {"uri": "/runs/a/"}}, "output.uri: /runs/a.* directory of its own"),
        ({"output": {"uri": "/runs/a/results/cf"}}, "directory of its own"),
        ({"output": {"uri": "/runs"}}, "directory of its own"),
        ({"judge": {"type": "pairwise", "model": {"type": "rules"}}}, "judge"),
    ],
)
def test_refusals(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(**changes)


def test_a_place_beside_the_run_is_its_own() -> None:
    assert load(output={"uri": "/runs/a-2"}).output.uri == "/runs/a-2"


def test_the_policy_and_its_limits_are_those_of_the_run_and_the_rest_its_own() -> None:
    base = load_config(
        {
            "input": {"manifest": "/m.jsonl"},
            "output": {"uri": "/o", "format": "webp", "quality": 100},
            "policy": {"type": "simulated"},
            "editor": {"type": "simulated"},
            "limits": {"max_steps": 5, "deadline": "8h"},
            "seed": 7,
        }
    )
    config = load(workers={"records_in_flight": 3}, limits={"max_failed_fraction": 0.5}, judge_seconds=7)
    job = config.edit_job(base, InputConfig(manifest="/s.jsonl", branches="/runs/a"), "/out/states", 4)
    assert (job.policy, job.editor, job.limits.max_steps, job.rollouts) == (base.policy, base.editor, 5, 4)
    assert (job.limits.deadline, job.limits.max_failed_fraction, job.seed) == (None, 0.5, None)
    assert (job.workers.records_in_flight, job.run_id, job.output.format) == (3, "run", "png")
    asked = config.judge_job("/out/states/run", "/out/scores")
    assert (asked.controls.asked, asked.limits.judge_seconds, asked.backend) == (False, 7, "inline")


def test_what_is_tried_decides_whether_it_may_go_on() -> None:
    assert load().trying() == load(workers={"min": 2}, judge_seconds=9, run="/runs/a/").trying()
    for changes in ({"continuations": 5}, {"drops": 2}, {"min_drop": 0.1}, {"records": ["a"]}):
        assert load(**changes).trying() != load().trying()
