"""From config to model, and what is said of a custom factory that doesn't give one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mira_batch.config.models import (
    CustomConfig,
    OpenAIPolicyConfig,
    PillowEditorConfig,
    RulesPolicyConfig,
)
from mira_batch.config.models.simulated import (
    SimulatedEditorConfig,
    SimulatedJudgeConfig,
    SimulatedPolicyConfig,
)
from mira_batch.core.errors import ConfigError, EngineDead, StoreError
from mira_batch.models.checks import check_model
from mira_batch.models.registry import build_editor, build_judge, build_policy

HERE = "tests.unit.models.test_registry"


def a_model(**members: Any) -> SimpleNamespace:
    """A factory: an object with the members of all three Protocols, but for what is overridden."""
    whole = {"identity": "m/1", "max_batch": 2, "bucket": hash, "propose": list, "apply": list, "score": list}
    return SimpleNamespace(**{k: v for k, v in (whole | members).items() if v != "left out"})


class Fussy:
    """A model whose weights are read when it is looked at, and are not there."""

    @property
    def identity(self) -> str:
        raise OSError("no weights")


def raises_value_error() -> None:
    raise ValueError("no such revision")


def raises_store_error() -> None:
    raise StoreError("s3://weights: access denied")


def raises_engine_dead() -> None:
    raise EngineDead("CUDA error: unspecified launch failure")


NOT_CALLABLE = 3


def custom(name: str, **options: Any) -> CustomConfig:
    return CustomConfig(type="custom", factory=name if ":" in name else f"{HERE}:{name}", options=options)


def problem(config: CustomConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        build_editor(config)
    assert config.factory in str(caught.value)
    return str(caught.value)


def test_each_type_builds_its_model() -> None:
    assert build_policy(RulesPolicyConfig(type="rules")).identity.startswith("rules-policy")
    assert build_editor(PillowEditorConfig(type="pillow")).identity.startswith("pillow-editor")
    assert build_policy(SimulatedPolicyConfig(type="simulated")).identity.startswith("simulated-policy")
    assert build_editor(SimulatedEditorConfig(type="simulated")).identity.startswith("simulated-editor")
    assert build_judge(SimulatedJudgeConfig(type="simulated")).identity.startswith("simulated-judge")


def test_a_custom_factory_is_called_with_its_options() -> None:
    assert build_policy(custom("a_model", identity="mine", max_batch=7)).max_batch == 7
    assert build_editor(custom("a_model", identity="mine")).identity == "mine"
    assert build_judge(custom("a_model")).identity == "m/1"


@pytest.mark.parametrize(
    ("build", "role", "method", "others"),
    [
        (build_policy, "policy", "propose", ["apply", "score"]),
        (build_editor, "editor", "apply", ["propose", "score"]),
        (build_judge, "judge", "score", ["propose", "apply"]),
    ],
)
def test_each_role_needs_its_own_method_only(build: Any, role: str, method: str, others: list[str]) -> None:
    build(custom("a_model", **dict.fromkeys(others, "left out")))
    with pytest.raises(ConfigError, match=f"is no {role}: {method} should be a method"):
        build(custom("a_model", **{method: "left out"}))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"identity": "left out"}, "identity should be a text"),
        ({"identity": ""}, "identity should be a text"),
        ({"identity": 7}, "identity should be a text"),
        ({"max_batch": "left out"}, "max_batch should be an integer of at least 1"),
        ({"max_batch": 0}, "max_batch should be"),
        ({"max_batch": True}, "max_batch should be"),
        ({"max_batch": 2.0}, "max_batch should be"),
        ({"bucket": "left out"}, "bucket should be a method"),
        ({"apply": 3}, "apply should be a method"),
    ],
)
def test_what_a_model_lacks_is_named(members: dict[str, Any], words: str) -> None:
    message = problem(custom("a_model", **members))
    assert words in message
    assert message.count("should be") == 1


def test_all_that_is_lacking_is_named_at_once() -> None:
    message = problem(custom("builtins:object"))
    for member in (
        "returned object, which is no editor",
        "identity",
        "max_batch",
        "bucket",
        "apply",
        "core.ports.Editor",
    ):
        assert member in message


def test_a_factory_that_raises_is_named() -> None:
    assert "raised ValueError: no such revision" in problem(custom("raises_value_error"))
    assert "raised TypeError" in problem(custom("raises_value_error", unknown=1))
    assert "raised OSError: no weights" in problem(custom("Fussy"))


@pytest.mark.parametrize(
    ("name", "kind"), [("raises_store_error", StoreError), ("raises_engine_dead", EngineDead)]
)
def test_our_own_errors_pass_unchanged(name: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        build_editor(custom(name))


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("no_such_package.models:build", "No module named 'no_such_package'"),
        (f"{HERE}.deeper:build", "can't be imported"),
        (f"{HERE}:nothing_of_this_name", "has no nothing_of_this_name"),
        (f"{HERE}:NOT_CALLABLE", "it is int, no function"),
    ],
)
def test_a_factory_that_cannot_be_imported_is_refused_early_and_late(factory: str, words: str) -> None:
    message = problem(custom(factory))
    assert words in message
    assert "on the workers" in message
    with pytest.raises(ConfigError) as caught:
        check_model(custom(factory))
    assert str(caught.value) == message


def test_a_module_that_raises_when_it_is_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "module_that_raises.py").write_text("1 / 0\n")
    (tmp_path / "module_of_no_python.py").write_text("def (\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "ZeroDivisionError" in problem(custom("module_that_raises:build"))
    assert "SyntaxError" in problem(custom("module_of_no_python:build"))


def test_checking_does_not_call_the_factory() -> None:
    said = check_model(custom("raises_value_error"))
    assert said == f"{HERE}:raises_value_error (importable, not loaded)"


def with_a_style(style: str, *, strength: float = 1.0) -> None:
    raise AssertionError("called")


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("with_a_style", {}, "missing a required argument: 'style'"),
        ("with_a_style", {"style": "noir", "colour": 1}, "got an unexpected keyword argument 'colour'"),
        ("raises_value_error", {"unknown": 1}, "got an unexpected keyword argument 'unknown'"),
        ("Fussy", {"unknown": 1}, "got an unexpected keyword argument 'unknown'"),
    ],
)
def test_options_that_do_not_fit_are_refused_early(name: str, options: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_model(custom(name, **options))
    assert str(caught.value).startswith(
        f"factory {HERE}:{name}: can't be called with options {sorted(options)}"
    )
    assert problem in str(caught.value)


def test_options_that_fit_pass() -> None:
    check_model(custom("with_a_style", style="noir", strength=0.5))
    check_model(custom("a_model", anything="goes"))
    check_model(custom("Fussy"))
    check_model(custom("builtins:dict", any=1))  # written in C, without a signature to look at


def test_a_key_that_is_missing_here_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not refused: the workers may have it where this process has not."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    served = {"type": "openai", "model": "m"}
    assert "the key in OPENAI_API_KEY is not set here" in check_model(OpenAIPolicyConfig(**served))
    named = OpenAIPolicyConfig(**served, base_url="http://127.0.0.1:1/v1", api_key_env="OUR_KEY")
    assert "the key in OUR_KEY is not set here" in check_model(named)
    monkeypatch.setenv("OUR_KEY", "k")
    keyless = OpenAIPolicyConfig(**served, base_url="http://127.0.0.1:1/v1")
    assert [check_model(named), check_model(keyless)] == ["openai", "openai"]


def test_there_is_nothing_to_check_of_what_is_shipped() -> None:
    shipped = [RulesPolicyConfig(type="rules"), PillowEditorConfig(type="pillow")]
    assert [check_model(config) for config in shipped] == ["rules", "pillow"]
    assert check_model(SimulatedJudgeConfig(type="simulated")) == "simulated"
