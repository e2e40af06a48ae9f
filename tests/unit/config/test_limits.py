"""Limits of a record's loop: what they refuse, and what they leave as it was."""

from __future__ import annotations

import pytest

from mira_batch import load_config
from mira_batch.core.errors import ConfigError
from tests.unit.config.test_config_schema import MINIMAL


def test_the_usual_no_progress_leaves_names_of_work_as_they_were() -> None:
    usual = load_config(MINIMAL).pixels()
    assert load_config(MINIMAL, ["limits.no_progress=2"]).pixels() == usual
    assert sorted(usual["limits"]) == ["malformed_retries", "max_seconds_per_record", "max_steps"]
    never = load_config(MINIMAL, ["limits.no_progress=null"])
    assert never.pixels()["limits"] == usual["limits"] | {"no_progress": None}
    assert never.loop_limits().no_progress is None
    assert "no_progress" not in load_config(MINIMAL).model_dump(mode="json")["limits"]


def test_new_steps_are_counted_from_a_state() -> None:
    assert "new_steps" not in load_config(MINIMAL).pixels()["limits"]
    with pytest.raises(ConfigError, match=r"limits\.new_steps: counts from the states of input\.branches"):
        load_config(MINIMAL, ["limits.new_steps=1"])
    limits = load_config(MINIMAL, ["limits.new_steps=2", "input.branches=/data/run"]).loop_limits(7)
    assert (limits.max_steps, limits.end_after) == (9, 9)


def test_a_limit_that_another_comes_before_is_refused() -> None:
    assert load_config(MINIMAL, ["limits.max_steps=1"]).loop_limits().no_progress == 2  # as it always was
    assert load_config(MINIMAL, ["limits.no_progress=8"]).loop_limits().no_progress == 8
    with pytest.raises(
        ConfigError, match="no_progress is 9, and max_steps, which ends a record before, is 8"
    ):
        load_config(MINIMAL, ["limits.no_progress=9"])
