"""The shipped configs of trainings, with tiny weights: the same jobs, classes and settings on a real Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.shared import WorkersConfig
from mira_batch.config.train import SftConfig
from mira_batch.runtime.backends.cluster import ray_session
from mira_batch.train.editor.run import train as train_editor
from mira_batch.train.grpo.run import train as train_grpo
from mira_batch.train.nft.run import train as train_nft
from mira_batch.train.run import train as train_sft
from tests.support import ROOT
from tests.support.models.judging import digit_model, saying_model
from tests.support.models.tiny import trained_policy
from tests.support.pairs import write_pairs
from tests.support.runs.catalogue import make_catalogue
from tests.support.samples import write_samples

CONFIGS = ROOT / "configs/train"
LOCAL = {"devices": ["cpu"], "dtype": "float32"}
WORKERS = {"num": 2, "cpus": 1}
SCORES = '{"score": [8, 9]}'
RECORDS, ROLLOUTS = 2, 3

pytestmark = [pytest.mark.ray, pytest.mark.soak]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with ray_session(WorkersConfig(min=2)):
        yield


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / name).read_text())


@pytest.mark.parametrize(
    ("name", "learned"),
    [
        ("qwen2.5-vl-7b-sft.yaml", "adapter/adapter_model.safetensors"),
        ("qwen2.5-vl-7b-full-sft.yaml", "model/model.safetensors"),
    ],
)
def test_the_training_by_demonstrations_in_small(
    cluster: None, tiny_models: Path, tmp_path: Path, name: str, learned: str
) -> None:
    config = read(name)
    config["model"] = {"weights": str(tiny_models / "qwen2.5-vl")}
    config["data"]["uri"], config["output"]["uri"] = (
        str(write_samples(tmp_path / "data")),
        str(tmp_path / "sft"),
    )
    config["workers"] = {"strategy": "ddp", **config["workers"], **WORKERS, "gpus": 0}
    config["epochs"] = 1
    result = train_sft(load_own_config(SftConfig, config), print)
    assert result["steps"] == 40 // (2 * 8)
    assert (tmp_path / "sft" / learned).exists()


def test_the_training_of_an_editor_by_pairs_in_small(
    cluster: None, tiny_models: Path, tmp_path: Path
) -> None:
    config = read("flux-kontext-sft.yaml")
    config["editor"] |= {"weights": str(tiny_models / "FluxKontextPipeline"), "area": 64 * 64}
    config["data"] = {"manifest": str(write_pairs(tmp_path / "pairs")), "split": {"val_fraction": 0.3}}
    config["output"]["uri"] = str(tmp_path / "sft")
    config["workers"] = {**config["workers"], **WORKERS, "gpus": 0}
    config |= {"accumulate": 1, "epochs": 1}
    result = train_editor(load_own_config(EditorSftConfig, config), print)
    assert result["steps"] and result["figures"]["val_loss"] > 0
    assert (tmp_path / "sft/lora/pytorch_lora_weights.safetensors").exists()


def test_the_training_by_rollouts_in_small(cluster: None, tiny_models: Path, tmp_path: Path) -> None:
    """Policy, editor, the judges of the reward and the one that watches are of the configs' own classes. The
    small models need not look at what they judge; what they say is parsed, counted and learned from."""
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    config = read("qwen2.5-vl-7b-grpo.yaml")
    config["model"] = {"weights": str(trained_policy(tiny_models))}
    config["edit"]["input"] = {"manifest": str(manifest)}
    config["validation"]["input"] = {"manifest": str(make_catalogue(tmp_path / "held-out", RECORDS))}
    config["edit"]["editor"] |= {
        **LOCAL, "weights": str(tiny_models / "FluxKontextPipeline"), "steps": 2, "area": 4_096
    }  # fmt: skip
    config["edit"]["policy"] |= {"max_tokens": 32, "devices": ["cpu"]}
    config["edit"]["workers"] = {"min": 2, "max": 2, "records_in_flight": 4, "shard_size": 1}
    speaking = str(saying_model(tiny_models, SCORES))
    for member, weights in zip(
        config["rewards"]["judge"]["members"], (str(digit_model(tiny_models)), speaking), strict=True
    ):
        member["model"]["backend"] = small(member["model"], weights)
    config["sentinel"]["judge"]["backend"] = small(config["sentinel"]["judge"], speaking)
    config |= {"records": RECORDS, "rollouts": ROLLOUTS, "iterations": 2, "workers": WORKERS, "canaries": 1}
    config["output"]["uri"] = str(tmp_path / "grpo")
    result = train_grpo(load_own_config(GrpoConfig, config), print)
    assert result["iterations"] == 2
    lines = [json.loads(line) for line in (tmp_path / "grpo/metrics.jsonl").read_text().splitlines()]
    for line in (line for line in lines if line["of"] == "iteration"):
        assert line["rollouts"] == line["rewarded"] == RECORDS * ROLLOUTS, line
        assert line["used"] and line["steps"] == 1
        assert line["sentinel_judged"] == RECORDS * ROLLOUTS
    scores = [
        json.loads(path.read_text()) for path in sorted(tmp_path.glob("grpo/iterations/*/rewards.json"))
    ]
    assert all(0 < each["score_mean"] < 1 for each in scores)


@pytest.mark.parametrize(
    ("name", "pipeline"),
    [
        ("flux-kontext-nft.yaml", "FluxKontextPipeline"),
        ("qwen-image-edit-2509-nft.yaml", "QwenImageEditPlusPipeline"),
    ],
)
def test_the_training_by_an_editors_own_samples_in_small(
    cluster: None, tiny_models: Path, tmp_path: Path, name: str, pipeline: str
) -> None:
    """On two workers. Nothing that the small models say of images makes groups differ as the configs ask, so
    that limit is off."""
    manifest = make_catalogue(tmp_path / "catalogue", RECORDS)
    config = read(name)
    config["editor"] |= {"weights": str(tiny_models / pipeline), "area": 4_096}
    config["edit"]["input"] = {"manifest": str(manifest)}
    config["validation"]["input"] = {"manifest": str(make_catalogue(tmp_path / "held-out", RECORDS))}
    config["edit"]["sampler"] |= {"steps": 2, "devices": ["cpu"]}
    config["edit"]["workers"] = {"min": 2, "max": 2, "records_in_flight": 4, "shard_size": 1}
    config["validation"]["steps"] = 2
    for judge, weights in (
        (config["rewards"]["judge"], digit_model(tiny_models)),
        (config["sentinel"]["judge"], saying_model(tiny_models, SCORES)),
    ):
        judge["backend"] = small(judge, str(weights))
    config |= {"records": RECORDS, "rollouts": ROLLOUTS, "iterations": 2, "workers": WORKERS}
    config["filter"] = {"least_spread": None, "solved_above": None}
    config["output"]["uri"] = str(tmp_path / "nft")
    result = train_nft(load_own_config(EditorNftConfig, config), print)
    assert result["iterations"] == 2 and (tmp_path / "nft/lora/pytorch_lora_weights.safetensors").exists()
    lines = [json.loads(line) for line in (tmp_path / "nft/metrics.jsonl").read_text().splitlines()]
    for line in (line for line in lines if line["of"] == "iteration"):
        assert line["used"] == line["samples"] == line["sentinel_judged"] == RECORDS * ROLLOUTS, line
        assert line["steps"] == 1 and line["sight"] > 0
    assert [line["iteration"] for line in lines if line["of"] == "validation"] == [0, 2]


def small(judge: dict[str, Any], weights: str) -> dict[str, Any]:
    sampling = {} if judge["type"] == "score_logit" else {"sampling": {"max_tokens": 32}}
    return judge["backend"] | LOCAL | {"weights": weights} | sampling
