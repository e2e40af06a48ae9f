"""The config of teaching an editor by its own samples: what it refuses, and what of it decides what is
learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.models.local import DiffusersConfig
from mira_batch.core.errors import ConfigError
from tests.support import ROOT

MINIMAL: dict[str, Any] = {
    "editor": {"pipeline": "diffusers.FluxKontextPipeline", "weights": "/models/kontext"},
    "edit": {"input": {"manifest": "/data/train.parquet"}, "workers": {"gpus": 1}},
    "rewards": {"judge": {"type": "rules"}},
    "output": {"uri": "/out"},
}


def load(*overrides: str) -> EditorNftConfig:
    return load_own_config(EditorNftConfig, MINIMAL, overrides)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["precision=float32"], "editor.dtype: precision float32 needs weights in float32"),
        (["edit.limits.max_steps=3"], "limits.max_steps: has no effect, since a sample is one edit"),
        (["edit.workers.gpus=0"], "editor.devices: auto needs workers.gpus of at least 1"),
        (["sentinel.judge.type=rules"], "sentinel.judge: is that of the reward"),
        (["backend=inline", "workers.num=2"], "inline is one worker"),
        (["edit.input.branches=/runs/a"], "a training begins from the images"),
        (["validation={input: {manifest: /v, branches: /runs/a}}"], "a validation begins from the images"),
        (["validation={input: {manifest: /data/train.parquet}}"], "validation.input.manifest: is what is tr"),
        (["editor.max_sequence_length=4"], "editor.max_sequence_length"),
        (["adapter=/lora", "tuning.r=8"], "tuning: has no effect with adapter"),
        (["filter.least_spread=0.5"], "filter.least_spread"),
        (["loss.drift_weight=.inf"], "loss.drift_weight"),
        (["ema=1"], "ema"),
        (["rollouts=1"], "rollouts"),
        (["filter.solved_above=1"], "filter.solved_above"),
        (["tuning.type=full"], "tuning"),
        (["rewards.weights={score: 1}"], "weights"),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused(overrides: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(*overrides)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "tuning.r=8",
        "times.shift=3",
        "editor.guidance=2.5",
        "editor.max_sequence_length=128",
        "edit.sampler.steps=4",
        "filter.least_spread=null",
        "retention.most=0.1",
        "ema=0.5",
        "adapter=/lora",
        "rollouts=4",
        "rewards.judge={type: fidelity}",
        "workers.num=2",
    ],
)
def test_what_decides_what_is_learned(override: str) -> None:
    assert load(override).learning() != load().learning()


@pytest.mark.parametrize(
    "override",
    [
        "iterations=7",
        "force=true",
        "sight_samples=2",
        "backend=inline",
        "rewards.max_left_out=0.9",  # which the message of too many that failed names
    ],
)
def test_what_does_not(override: str) -> None:
    assert load(override).learning() == load().learning()


def test_the_call_of_a_judge_may_be_set_anew() -> None:
    judge = "rewards.judge={type: score_logit, backend: {type: qwen_vl, weights: /models/j, max_batch: %d}}"
    assert load(judge % 8).learning() == load(judge % 4).learning() != load().learning()


def test_a_config_stands_for_itself_when_it_travels_to_a_worker() -> None:
    for overrides in ([], ["times.shift=2"], ["filter.solved_above=null"], ["force=true"]):
        config = load(*overrides)
        assert EditorNftConfig.model_validate(config.model_dump(mode="json", exclude_unset=True)) == config


def test_samples_and_validation_are_single_edits_of_the_editor_that_learns() -> None:
    validation = "validation={input: {manifest: /data/val.parquet}, steps: 9}"
    config = load("editor.guidance=2.5", "editor.area=262144", validation)
    assert config.validation is not None
    job = config.edit_job(config.edit.input, "/out/x", "/out/adapter")
    editor = job.editor
    assert isinstance(editor, DiffusersConfig)
    assert (job.policy.type, job.rollouts, job.output.fidelity) == ("passthrough", 12, True)
    assert (editor.steps, editor.guidance, editor.area) == (6, 2.5, 262144)
    assert [lora.weights for lora in editor.loras] == ["/out/adapter"]
    held_out = config.validation_job(config.validation, "/out/v", None)
    assert (job.seed, held_out.seed) == (None, config.seed)
    assert isinstance(held_out.editor, DiffusersConfig)
    assert (held_out.rollouts, held_out.editor.steps, held_out.editor.loras) == (1, 9, ())
    assert held_out.input.manifest == "/data/val.parquet"


@pytest.mark.parametrize("path", sorted((ROOT / "configs/train").glob("*-nft.yaml")), ids=lambda p: p.name)
def test_every_shipped_config_loads(path: Path) -> None:
    config = load_own_config(EditorNftConfig, path)
    assert config.records * config.rollouts == config.minibatch == 288
    assert [judge.type for judge in config.judges()] == ["score_logit", "viescore"]
    assert config.edit.workers.gpus == config.workers.gpus == 1


def test_prompts_of_samples_are_as_long_as_those_that_are_learned_from() -> None:
    assert "max_sequence_length" not in load().learning()["editor"]  # trainings of before can go on
    config = load("editor.max_sequence_length=128")
    job = config.edit_job(config.edit.input, config.output.uri, None)
    assert isinstance(job.editor, DiffusersConfig) and job.editor.options == {"max_sequence_length": 128}
