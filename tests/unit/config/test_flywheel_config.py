"""The flywheel's config: jobs by their own configs, filled in where it knows, refused where it gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.construct import RunsConfig
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.models.local import PolicyAdapterConfig, QwenVLConfig
from mira_batch.core.errors import ConfigError


def settings(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "output": {"uri": "s3://shop/wheel"},
        "samples": {"sources": [{"type": "runs", "uri": "s3://shop/nights"}]},
        "train": {
            "model": {"weights": "hf://Qwen/Qwen2.5-VL-7B-Instruct@main"},
            "prompt": {"form": "short"},
            "epochs": 1,
        },
        "edit": {"input": {"manifest": "s3://shop/heldout.parquet"}, "workers": {"gpus": 1}},
        "evaluate": {"judge": {"type": "rules"}},
    }
    for name, value in changes.items():
        given[name] = given[name] | value if isinstance(value, dict) and name in given else value
    return given


def load(**changes: Any) -> FlywheelConfig:
    return load_own_config(FlywheelConfig, settings(**changes))


def test_sections_know_what_the_flywheel_knows() -> None:
    config = load(storage={"region": "eu-west-1"}, edit={"policy": {"dtype": "float16"}})
    policy = config.edit.policy
    assert isinstance(policy, QwenVLConfig) and policy.weights == config.train.model.weights
    assert policy.prompt.form == "short" and policy.dtype == "float16"
    jobs = [config.samples, config.train, config.edit, config.evaluate]
    assert {job.storage.region for job in jobs} == {"eu-west-1"}
    assert config.place == "s3://shop/wheel/promoted"
    turn = "s3://shop/wheel/turns/000001"
    assert config.construct_job(turn).output.uri == f"{turn}/data" == config.train_job(turn).data.uri
    assert config.train_job(turn).output.uri == f"{turn}/trained"
    tried = config.edit_job("s3://shop/adapter")
    assert isinstance(tried.policy, QwenVLConfig) and tried.policy.adapter is not None
    assert tried.policy.adapter.weights == "s3://shop/adapter" and not tried.output.skip_done
    assert config.evaluate_job("s3://shop/wheel/heldout/x").input.manifest == "s3://shop/wheel/heldout/x"


def test_a_missing_decision_means_what_is_set() -> None:
    for undecided, asked in (("learn", (False, "drop")), ("leave_out", (True, "keep"))):
        (source,) = load(undecided=undecided).samples.sources
        assert isinstance(source, RunsConfig) and (source.approved_only, source.rejected) == asked


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"samples": {"output": {"uri": "x"}}}, "samples.output: is given by the flywheel; leave it out"),
        ({"train": {"data": {"uri": "x"}}}, "train.data.uri: is given by the flywheel"),
        ({"edit": {"run_id": "x"}}, "edit.run_id: is given by the flywheel"),
        (
            {"edit": {"policy": {"adapter": {"weights": "x"}}}},
            "edit.policy.adapter: is given by the flywheel",
        ),
        ({"evaluate": {"input": {"manifest": "x"}}}, "evaluate.input.manifest: is given by the flywheel"),
        ({"train": {"tuning": {"type": "full"}}}, "train.tuning: full gives a whole model"),
        ({"edit": {"policy": {"weights": "s3://x/y"}}}, "edit.policy.weights: is s3://x/y, and train.model"),
        (
            {"edit": {"policy": {"prompt": {"form": "full"}}}},
            "edit.policy.prompt: is another than train.prompt",
        ),
        ({"edit": {"policy": {"type": "rules"}}}, "edit.policy.type: is rules, and what is trained is"),
        (
            {"evaluate": {"judge": {"type": "rules"}, "sample": 9, "input": {"statuses": ["ok"]}}},
            "evaluate.sample: is drawn from what evaluate.input.where and statuses leave",
        ),
        (
            {"evaluate": {"judge": {"type": "rules"}, "sample": 9, "input": {"where": "num_steps > 1"}}},
            "evaluate.sample: is drawn from what evaluate.input.where and statuses leave",
        ),
        ({"edit": {"rollouts": 4}}, "edit: has one try at each held-out record"),
        (
            {"samples": {"sources": [{"type": "runs", "uri": "x", "approved_only": True}]}},
            "samples.sources: approved_only: is what `undecided` says here",
        ),
        ({"train": {"data": "s3://shop/mine"}}, "train.data: should be settings"),
        ({"edit": {"output": "s3://shop/mine"}}, "edit.output: should be settings"),
        ({"edit": {"policy": "rules"}}, "edit.policy: should be settings"),
        ({"evaluate": {"input": "s3://shop/mine"}}, "evaluate.input: should be settings"),
        ({"undecided": ["learn"]}, "undecided: should be"),
        (
            {"undecided": "learn", "samples": {"sources": [{"type": "sessions", "data": "x"}]}},
            "undecided: is about sources of type runs, and there is none",
        ),
        ({"gate": []}, "gate"),
        ({"samples": {"sources": []}}, "samples.sources"),
    ],
)
def test_what_can_not_be_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(**changes)
    assert problem in str(refused.value)


def test_an_error_in_a_section_names_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch"):
        load(train={"batch": 0})


def test_an_adapter_is_named_one_way() -> None:
    with pytest.raises(ValueError, match="give weights, .* or promoted"):
        PolicyAdapterConfig()
    with pytest.raises(ValueError, match="give one of both"):
        PolicyAdapterConfig(weights="s3://a/b", promoted="s3://a/c")
    with pytest.raises(ValueError, match="noted by the run that takes it"):
        PolicyAdapterConfig(promoted="s3://a/c", promotion=2)
    taken = PolicyAdapterConfig(weights="s3://a/b", promoted="s3://a/c", promotion=2)
    policy = QwenVLConfig(type="qwen_vl", weights="s3://a/base", adapter=taken)
    plain = policy.model_copy(update={"adapter": PolicyAdapterConfig(weights="s3://a/b")})
    assert policy.pixels() == plain.pixels() and "promotion" not in str(policy.pixels())
    assert PolicyAdapterConfig(promoted="s3://a/c").is_open and not taken.is_open
