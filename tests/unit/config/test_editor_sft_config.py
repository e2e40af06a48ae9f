"""The config of teaching an editor: what it refuses, and what of it decides what is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.load import load_own_config
from mira_batch.core.errors import ConfigError
from tests.support import ROOT

MINIMAL: dict[str, Any] = {
    "editor": {"pipeline": "diffusers.FluxKontextPipeline", "weights": "/models/kontext"},
    "data": {"manifest": "/pairs.jsonl"},
    "output": {"uri": "/out"},
    "max_steps": 10,
}


def load(*overrides: str) -> EditorSftConfig:
    return load_own_config(EditorSftConfig, MINIMAL, overrides)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["epochs=1"], "give one of both"),
        (["precision=float32"], "editor.dtype: precision float32 needs weights in float32"),
        (["data.split.val_fraction=0"], "needs data.split.val_fraction above 0"),
        (["times.shift=0"], "give a factor above 0"),
        (["times.deviation=0"], "times.deviation"),
        (["tuning.type=full", "tuning.r=8"], "tuning"),
        (["editor.weights=hf://owner/name"], "pin the revision"),
        (["data.against=/runs"], "against"),
        (["backend=inline", "workers.num=2"], "2 workers need backend: ray"),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused(overrides: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(*overrides)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "tuning={type: lora, r: 8}",
        "times.shift=3",
        "editor.area=262144",
        "data.split.seed=1",
        "workers.num=2",
    ],
)
def test_what_decides_what_is_learned(override: str) -> None:
    assert load(override).learning() != load().learning()


@pytest.mark.parametrize(
    "override", ["log_every=1", "validation=null", "checkpoints.every=3", "backend=inline"]
)
def test_what_does_not(override: str) -> None:
    assert load(override).learning() == load().learning()


def test_a_config_stands_for_itself_when_it_travels_to_a_worker() -> None:
    for overrides in ([], ["times.shift=2"], ["data.split.seed=3"], ["tuning.type=full"]):
        config = load(*overrides)
        assert EditorSftConfig.model_validate(config.model_dump(mode="json", exclude_unset=True)) == config


def test_statuses_are_asked_for_of_results_alone() -> None:
    assert load().data.take_apart(results=True).statuses == ("ok",)
    assert "statuses" not in load().data.take_apart(results=False).model_fields_set


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs/train").glob("flux*-sft.yaml")), ids=lambda p: p.name
)
def test_every_shipped_config_loads(path: Path) -> None:
    assert load_own_config(EditorSftConfig, path).step_samples == 32
