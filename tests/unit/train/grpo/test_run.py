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


def test_a_result_of_something_else_is_not_taken_for_its_own(tmp_path: Path) -> None:
    open_store(str(tmp_path), StorageConfig()).put(RESULT, b"{}")
    with pytest.raises(RunConflict, match="holds the result of something else"):
        train(configure(tmp_path), print)
