"""The config models: documented, strict, and what of them enters the fingerprint."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from mira_batch.config.edit import AcceptConfig, BulkEditConfig, LimitsConfig
from mira_batch.config.load import load_config
from mira_batch.config.models.local import QwenVLConfig
from mira_batch.config.models.simulated import Fault
from mira_batch.config.reference import read_docstrings
from mira_batch.core.errors import ConfigError

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
    assert Fault in models
    for model in models:
        assert model.__doc__, model
        docstrings = read_docstrings(model)
        for name in model.model_fields:
            assert name == "type" or docstrings.get(name), f"{model.__name__}.{name} has no docstring"


def test_every_model_refuses_unknown_keys_and_changes() -> None:
    for model in set(_all_models()):
        assert model.model_config.get("extra") == "forbid", model
        assert model.model_config.get("frozen"), model


@pytest.mark.parametrize(
    "override", ["policy.max_batch=3", "editor.replicas=2", "workers.min=2", "limits.judge_seconds=7"]
)
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
        "limits.no_progress=3",
        "limits.no_progress=null",
        "output.format=jpeg",
    ],
)
def test_what_changes_pixels_changes_the_fingerprinted_settings(override: str) -> None:
    assert load_config(MINIMAL, [override]).pixels() != load_config(MINIMAL).pixels()


def test_the_prompts_usual_form_leaves_names_of_work_as_they_were() -> None:
    weights = {"type": "qwen_vl", "weights": "/models/qwen"}
    usual, named, short = (
        QwenVLConfig.model_validate(weights | {"prompt": prompt}).pixels()
        for prompt in ({}, {"form": "full"}, {"form": "short"})
    )
    assert usual == named and sorted(usual["prompt"]) == ["guidance", "history", "max_pixels"]
    assert short["prompt"] == usual["prompt"] | {"form": "short"}


@pytest.mark.parametrize(("form", "matters"), [("png", False), ("jpeg", True), ("webp", True)])
def test_a_setting_without_effect_on_the_format_is_none(form: str, matters: bool) -> None:
    formats = [[f"output.format={form}", *more] for more in ([], ["output.quality=50"])]
    plain, other = (load_config(MINIMAL, sets).pixels() for sets in formats)
    assert (plain != other) is matters


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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8h", 8 * 3600),
        ("1h30m", 5400),
        ("45s", 45),
        ("2026-12-01T06:00:00+01:00", 3 * 3600),
        ("2026-12-01T01:00:00Z", -3600),
    ],
)
def test_a_deadline_is_a_length_or_a_time(text: str, seconds: float) -> None:
    now = datetime(2026, 12, 1, 2, tzinfo=UTC)
    assert LimitsConfig(deadline=text).seconds_left(now) == seconds


def test_a_deadline_as_yaml_reads_it() -> None:
    when = yaml.safe_load("2026-12-01T06:00:00+01:00")
    limits = LimitsConfig.model_validate({"deadline": when})
    assert limits.seconds_left(datetime(2026, 12, 1, 2, tzinfo=UTC)) == 3 * 3600
    assert LimitsConfig().seconds_left(datetime.now(UTC)) is None


@pytest.mark.parametrize("text", ["", "soon", "06:00", "2026-12-01T06:00:00", "-1h", 3600])
def test_a_deadline_that_says_nothing_is_refused(text: object) -> None:
    with pytest.raises(ValidationError, match="neither a length of time such as 8h"):
        LimitsConfig.model_validate({"deadline": text})


JUDGE = {"model": {"type": "openai", "model": "tiny"}}
TINY = {"type": "diffusers", "pipeline": "diffusers.FluxKontextPipeline", "weights": "/w"}


@pytest.mark.parametrize(
    ("devices", "gpus", "backend", "problem"),
    [
        (["auto"], 0, "ray", "auto needs workers.gpus of at least 1, and it is 0"),
        (["cuda:1"], 1, "ray", "cuda:1 needs workers.gpus of at least 2, and it is 1"),
        (["auto"], 0.5, "ray", ""),
        (["cuda:0", "cuda:1"], 2, "ray", ""),
        (["cpu"], 0, "ray", ""),
        (["auto"], 0, "inline", ""),
    ],
)
def test_a_model_is_never_put_where_the_worker_has_no_gpu(
    devices: list[str], gpus: float, backend: str, problem: str
) -> None:
    settings = MINIMAL | {
        "editor": TINY | {"devices": devices},
        "workers": {"gpus": gpus},
        "backend": backend,
    }
    if not problem:
        load_config(settings)
        return
    with pytest.raises(ConfigError, match=problem):
        load_config(settings)


def test_a_judge_with_weights_is_a_model_like_the_others() -> None:
    weights = QwenVLConfig(type="qwen_vl", weights="/w", devices=("cuda:1",))
    judge = AcceptConfig.model_construct(model=weights)
    config = load_config(MINIMAL | {"workers": {"gpus": 1}}).model_copy(update={"judge": judge})
    assert list(config.models()) == ["policy", "editor", "judge"]
    with pytest.raises(ValueError, match=r"judge\.model\.devices: cuda:1 needs workers\.gpus of at least 2"):
        config._has_gpus()


def test_what_a_judge_is_made_of_is_looked_at_where_it_is() -> None:
    weights = {"type": "qwen_vl", "weights": "/w", "adapter": {"weights": "/a"}, "devices": ["cuda:1"]}
    endpoint = {"type": "openai", "model": "m", "prices": {"call": 1}}
    members = [
        {"name": "one", "model": {"type": "score_logit", "backend": weights}},
        {"name": "two", "model": {"type": "viescore", "backend": endpoint}},
        {"name": "three", "model": {"type": "rules"}},
    ]
    judge = {"model": {"type": "panel", "members": members}}
    config = load_config(MINIMAL | {"judge": judge, "workers": {"gpus": 2}})
    assert list(config.engines()) == [
        "policy",
        "editor",
        "judge.model.members.0.model.backend",
        "judge.model.members.1.model.backend",
        "judge.model.members.2.model",
    ]
    assert config.models()["judge"].weight_locations() == ("/w", "/a") and config.charges
    with pytest.raises(ConfigError, match=r"members\.0\.model\.backend\.devices: cuda:1 needs workers\.gpus"):
        load_config(MINIMAL | {"judge": judge, "workers": {"gpus": 1}})


@pytest.mark.parametrize(
    ("path", "matters"),
    [("sampling.temperature", True), ("max_pixels", True), ("concurrency", False), ("base_url", False)],
)
def test_what_changes_a_judges_scores_names_the_work(path: str, matters: bool) -> None:
    def pixels(*overrides: str) -> Any:
        backend = {"type": "openai", "model": "m", "base_url": "http://here/v1"}
        judge = {"model": {"type": "viescore", "backend": backend}}
        return load_config(MINIMAL | {"judge": judge}, list(overrides)).pixels()

    value = "http://there/v1" if path == "base_url" else "4000" if path == "max_pixels" else "1"
    assert (pixels() != pixels(f"judge.model.backend.{path}={value}")) is matters


@pytest.mark.parametrize(("kind", "backend"), [("fidelity", False), ("pairwise", True)])
def test_a_judge_that_cant_say_that_it_is_done_ends_no_record(kind: str, backend: bool) -> None:
    model = {"type": kind} | ({"backend": {"type": "openai", "model": "m"}} if backend else {})
    with pytest.raises(ConfigError, match="leave satisfied out"):
        load_config(MINIMAL | {"judge": {"model": model, "satisfied": 0.9}})


LOGIT = {"type": "score_logit", "backend": {"type": "openai", "model": "m"}}
VIE = LOGIT | {"type": "viescore"}


@pytest.mark.parametrize(
    ("judge", "problem"),
    [
        ({"model": LOGIT, "candidates": 4, "attempts": 4}, ""),
        (
            {"model": VIE, "candidates": 3},
            "candidates is 3, and attempts, the most seeds tried, is 2; set attempts",
        ),
        ({"model": LOGIT, "unsure_above": 0.8}, ""),
        ({"model": LOGIT, "candidates": 2, "attempts": 4, "unsure_above": 0.8}, ""),
        ({"model": LOGIT, "attempts": 1, "unsure_above": 0.8}, "all 1 attempts are drawn anyway"),
        ({"model": LOGIT, "candidates": 2, "unsure_above": 0.8}, "all 2 attempts are drawn anyway"),
        ({"model": LOGIT, "candidates": 2, "unsure_above": 0.8, "satisfied": 0.9}, ""),
        ({"model": LOGIT, "unsure_above": 1.8}, "gives no entropy above 1.792"),
        (
            {"model": VIE, "unsure_above": 0.8},
            "of type viescore doesn't say how unsure it is; take score_logit",
        ),
        ({"model": {"type": "rules"}, "unsure_above": 0.8}, "of type rules doesn't say how unsure"),
        ({"model": {"type": "simulated"}, "unsure_above": 0.8}, "of type simulated doesn't say"),
        ({"model": {"type": "simulated", "entropy": 0.8}, "unsure_above": 0.8}, "no entropy above 0.8"),
        ({"model": {"type": "simulated", "entropy": 0.9}, "unsure_above": 0.8}, ""),
        ({"model": {"type": "custom", "factory": "m:f"}, "unsure_above": 9.0}, ""),
        ({"candidates": 2}, "judge.model"),
    ],
)
def test_seeds_that_would_never_be_drawn_are_refused(judge: dict[str, Any], problem: str) -> None:
    settings = MINIMAL | {"judge": judge}
    if problem:
        with pytest.raises(ConfigError, match=problem):
            load_config(settings)
        return
    limits = load_config(settings).loop_limits()
    assert (limits.candidates, limits.unsure_above) == (judge.get("candidates", 1), judge.get("unsure_above"))


def test_what_is_not_set_of_the_new_settings_names_no_work() -> None:
    """The names of work stay those of earlier releases; what is set is part of them."""

    def pixels(*overrides: str) -> Any:
        members = [{"name": "a", "model": {"type": "simulated"}}, {"name": "b", "model": {"type": "rules"}}]
        judge = {"model": {"type": "panel", "members": members}}
        return load_config(MINIMAL | {"judge": judge}, list(overrides)).pixels()["judge"]

    assert set(pixels()) == {"model", "attempts", "tolerance", "satisfied"}
    assert set(pixels()["model"]) == {"type", "members", "combine", "quorum"}
    assert "entropy" not in pixels()["model"]["members"][0]["model"]
    assert pixels("judge.candidates=2")["candidates"] == 2
    assert pixels("judge.candidates=1", "judge.unsure_above=null") == pixels()
    escalated = pixels("judge.model.escalate.score_between=[0.4, 0.6]")
    assert escalated["model"]["escalate"] == {"entropy_above": None, "score_between": [0.4, 0.6]}


def test_weights_are_where_the_model_and_its_adapters_are() -> None:
    policy = {"type": "qwen_vl", "weights": "/w", "adapter": {"weights": "/a"}, "devices": ["cpu"]}
    editor = TINY | {"devices": ["cpu"], "loras": [{"weights": "/l1"}, {"weights": "/l2"}]}
    models = load_config(MINIMAL | {"policy": policy, "editor": editor, "judge": JUDGE}).models()
    assert [model.weight_locations() for model in models.values()] == [("/w", "/a"), ("/w", "/l1", "/l2"), ()]


def test_a_judges_time_limit_is_the_policys_where_it_has_none() -> None:
    assert LimitsConfig(policy_seconds=7).seconds_of("judge_seconds") == 7
    limits = LimitsConfig(policy_seconds=7, judge_seconds=3)
    assert [limits.seconds_of(f"{name}_seconds") for name in ("policy", "edit", "judge")] == [7, 900, 3]


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"env_vars": {"HF_TOKEN": "hf_x"}}, "HF_TOKEN"),
        ({"pip": ["x @ git+https://user:secret@example.com/x"]}, "the password in pip"),
    ],
)
def test_a_runtime_environment_may_not_hold_secrets(environment: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"runtime_env: {named} would be written to run.json") as caught:
        load_config(MINIMAL | {"workers": {"runtime_env": environment}})
    assert "secret" not in str(caught.value).replace("secrets", "") and "hf_x" not in str(caught.value)


def test_a_base_url_may_not_hold_a_key() -> None:
    policy = {"type": "openai", "model": "m", "base_url": "https://host/v1?api-key=abc"}
    with pytest.raises(ConfigError, match="without a user name or a key"):
        load_config(MINIMAL | {"policy": policy})
