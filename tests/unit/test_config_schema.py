"""The config models: documented, strict, and what of them enters the fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from mira_batch.config import models as model_configs
from mira_batch.config.bulk_edit import BulkEditConfig
from mira_batch.config.load import load_config

MINIMAL: dict[str, Any] = {"input": {"manifest": "/data/m.parquet"}, "output": {"uri": "/data/out"}}


def _all_models(model: type[BaseModel] = BulkEditConfig) -> Iterator[type[BaseModel]]:
    def inside(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _all_models(annotation)
        for part in getattr(annotation, "__args__", ()):
            yield from inside(part)

    yield model
    for field in model.model_fields.values():
        yield from inside(field.annotation)


def test_every_setting_says_what_it_is() -> None:
    models = set(_all_models())
    assert model_configs.Fault in models
    for model in models:
        assert model.__doc__, model
        for name, field in model.model_fields.items():
            assert name == "type" or field.description, f"{model.__name__}.{name} has no docstring"


def test_every_model_refuses_unknown_keys_and_changes() -> None:
    for model in set(_all_models()):
        assert model.model_config.get("extra") == "forbid", model
        assert model.model_config.get("frozen"), model


@pytest.mark.parametrize("override", ["policy.max_batch=3", "editor.replicas=2", "workers.min=2"])
def test_how_a_model_runs_is_no_part_of_the_pixels(override: str) -> None:
    data = MINIMAL | {"policy": {"type": "rules"}, "editor": {"type": "pillow"}}
    assert load_config(data, [override]).pixels() == load_config(data).pixels()


@pytest.mark.parametrize(
    "override",
    [
        "policy={type: simulated}",
        "editor={type: simulated}",
        "judge.model.type=simulated",
        "limits.max_steps=3",
        "output.format=jpeg",
        "output.quality=50",
    ],
)
def test_what_changes_pixels_changes_the_fingerprinted_settings(override: str) -> None:
    assert load_config(MINIMAL, [override]).pixels() != load_config(MINIMAL).pixels()


def test_the_loops_limits_come_from_limits_and_judge() -> None:
    plain = load_config(MINIMAL).loop_limits()
    assert (plain.attempts_per_step, plain.satisfied, plain.tolerance) == (1, None, 0.0)
    judge = {"model": {"type": "simulated"}, "attempts": 3, "tolerance": 0.1, "satisfied": 0.9}
    limits = load_config(MINIMAL | {"judge": judge}, ["limits.max_steps=5"]).loop_limits()
    assert (limits.max_steps, limits.attempts_per_step, limits.tolerance, limits.satisfied) == (
        5,
        3,
        0.1,
        0.9,
    )


@pytest.mark.parametrize(
    ("manifest", "allowed"),
    [
        ("/data/m.parquet", "/data"),
        ("/data/day=1", "/data/day=1"),
        ("/data/day=*/part-*.csv", "/data"),
        ("s3://bucket/in/*.jsonl", "s3://bucket/in"),
        ("s3://bucket/in/", "s3://bucket/in"),
        ("s3://bucket/m.csv.gz", "s3://bucket"),
    ],
)
def test_images_may_lie_beside_the_manifest(manifest: str, allowed: str) -> None:
    assert load_config(MINIMAL | {"input": {"manifest": manifest}}).input.allowed == (allowed,)
