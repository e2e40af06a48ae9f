"""The config of a training by demonstrations: what it refuses, and what of it decides what is learned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from mira_batch.config.load import load_own_config
from mira_batch.config.reference import read_docstrings
from mira_batch.config.train import SftConfig
from mira_batch.core.errors import ConfigError
from tests.support import ROOT

MINIMAL: dict[str, Any] = {
    "model": {"weights": "/models/qwen"},
    "data": {"uri": "/data"},
    "output": {"uri": "/out"},
    "max_steps": 10,
}


def load(*overrides: str, without: str = "") -> SftConfig:
    data = {name: value for name, value in MINIMAL.items() if name != without}
    return load_own_config(SftConfig, data, overrides)


def all_models(model: type[BaseModel] = SftConfig) -> Iterator[type[BaseModel]]:
    def inside(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from all_models(annotation)
        for part in get_args(annotation):
            yield from inside(part)

    yield model
    for field in model.model_fields.values():
        yield from inside(field.annotation)


def test_every_setting_says_what_it_is_and_none_more_is_taken() -> None:
    for model in set(all_models()):
        assert model.model_config.get("extra") == "forbid", model
        docstrings = read_docstrings(model)
        for name in model.model_fields:
            assert name == "type" or docstrings.get(name), f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["epochs=1"], "give one of both"),
        (["max_steps=null"], "give one of both"),
        (["backend=inline", "workers.num=2"], "2 workers need backend: ray"),
        (["backend=inline", "workers.retries=2"], "no effect with backend: inline"),
        (["workers.gpus=0.5"], "has one GPU to itself, or none"),
        (["workers.strategy=fsdp2"], "fsdp2 shares the model out among workers, and there is one"),
        (["workers.strategy=fsdp2", "workers.num=2", "backend=inline"], "2 workers need backend: ray"),
        (["workers.strategy=fsdp"], "workers.strategy"),
        (["model.adapter=/a", "tuning.type=lora", "tuning.r=8"], "tuning: has no effect with model.adapter"),
        (["model.adapter=/a", "tuning.type=full"], "tuning: has no effect with model.adapter"),
        (["tuning.type=full", "model.dtype=bfloat16"], "weights that learn are in float32"),
        (["tuning.type=full", "tuning.r=8"], "tuning"),
        (["precision=float16"], "precision"),
        (["model.weights=hf://owner/name"], "pin the revision"),
        (["batch_size=4"], "batch_size"),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused(overrides: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(*overrides)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "data.window=8",
        "prompt.history=false",
        "tuning={type: lora, r: 8}",
        "optimizer.beta2=0.98",
        "workers.num=2",
    ],
)
def test_what_decides_what_is_learned(override: str) -> None:
    assert load(override).learning() != load().learning()


@pytest.mark.parametrize(
    "override",
    ["log_every=1", "checkpoints.every=7", "validation=null", "workers.cpus=2", "workers.retries=0"],
)
def test_what_does_not(override: str) -> None:
    assert load(override).learning() == load().learning()


def test_how_workers_share_a_model_decides_how_it_is_rounded() -> None:
    whole, shared = load("workers.num=2"), load("workers.num=2", "workers.strategy=fsdp2")
    assert whole.learning() != shared.learning()


def test_a_config_stands_for_itself_when_it_travels_to_a_worker() -> None:
    for overrides in (["model.adapter=/a"], ["tuning.type=full"], ["backend=inline"], ["validation=null"]):
        config = load(*overrides)
        assert SftConfig.model_validate(config.model_dump(mode="json", exclude_unset=True)) == config


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs/train").glob("qwen*-sft.yaml")), ids=lambda p: p.name
)
def test_every_shipped_config_loads(path: Path) -> None:
    config = load_own_config(SftConfig, path)
    assert config.step_samples == 64


def test_what_a_whole_section_says_of_a_field_is_said_at_that_field(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(
        "model: {weights: /m}\ndata: {uri: /d}\noutput: {uri: /o}\nepochs: 1\n\nbackend: inline\n"
        "workers:\n  num: 2\n"
    )
    with pytest.raises(ConfigError) as refused:
        load_own_config(SftConfig, file)
    assert str(refused.value) == (
        f"{file}:8: workers.num: 2 workers need backend: ray; inline is one process"
    )
    with pytest.raises(ConfigError, match=r"^config: epochs, max_steps: give one of both"):
        load_own_config(
            SftConfig, {"model": {"weights": "/m"}, "data": {"uri": "/d"}, "output": {"uri": "/o"}}
        )
