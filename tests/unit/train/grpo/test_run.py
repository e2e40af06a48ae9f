"""A training that is complete is left alone, and no other one is taken for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict
from mira_batch.storage.stores import open_store
from mira_batch.storage.training import RESULT
from mira_batch.train.grpo.record import SETTINGS
from mira_batch.train.grpo.run import train
from mira_batch.train.record import claim


def configure(output: Path, **changes: object) -> GrpoConfig:
    given = {
        "model": {"weights": "/models/qwen"},
        "edit": {"input": {"manifest": "/data/train.parquet"}, "editor": {"type": "pillow"}},
        "rewards": {"judge": {"type": "rules"}},
        "output": {"uri": str(output)},
        "backend": "inline",
    }
    return GrpoConfig.model_validate(given | changes)


def test_a_complete_training_of_other_settings_is_refused(tmp_path: Path) -> None:
    store, config = open_store(str(tmp_path), StorageConfig()), configure(tmp_path)
    claim(store, SETTINGS, config.learning(), {"records": "a"}, config.model_dump(mode="json"))
    result = {"iteration": 90, "iterations": 100, "ended": "All 100 iterations were made."}
    store.put(RESULT, json.dumps(result).encode())
    assert train(config, print) == result
    with pytest.raises(ConfigError, match=r"iterations: is 120, .* complete after 100; go on into another"):
        train(configure(tmp_path, iterations=120), print)
    with pytest.raises(RunConflict, match=r"other settings or data \(learning\.epochs\)"):
        train(configure(tmp_path, epochs=2), print)


def test_how_a_judge_is_reached_may_change_and_so_may_how_much_is_left_out(tmp_path: Path) -> None:
    """Days into a training its judge moves to another server, or fails more often than was thought."""
    served = {"type": "openai", "model": "judge-7b", "base_url": "http://one.internal:8000/v1"}
    judge = {"type": "score_logit", "backend": served}
    moved = {**judge, "backend": served | {"base_url": "http://two.internal:8000/v1"}}
    other = {**judge, "backend": served | {"model": "judge-32b"}}
    store, config = open_store(str(tmp_path), StorageConfig()), configure(tmp_path, rewards={"judge": judge})
    claim(store, SETTINGS, config.learning(), {"records": "a"}, config.model_dump(mode="json"))
    result = {"iteration": 90, "iterations": 100, "ended": "All 100 iterations were made."}
    store.put(RESULT, json.dumps(result).encode())
    assert train(configure(tmp_path, rewards={"judge": moved, "max_left_out": 0.7}), print) == result
    for rewards in ({"judge": other}, {"judge": judge, "step_cost": 0.1}):
        with pytest.raises(RunConflict, match=r"other settings or data \(learning\.rewards\)"):
            train(configure(tmp_path, rewards=rewards), print)


def test_a_result_of_something_else_is_not_taken_for_its_own(tmp_path: Path) -> None:
    open_store(str(tmp_path), StorageConfig()).put(RESULT, b"{}")
    with pytest.raises(RunConflict, match="holds the result of something else"):
        train(configure(tmp_path), print)
