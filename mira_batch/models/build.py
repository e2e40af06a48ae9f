"""From a config to the policy, editor or judge it names.

`max_batch` of the config, where it is set, goes before the model's own: callers take
`config.max_batch or model.max_batch`. Implementations are imported only when they are asked for.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from mira_batch.config.models import (
    CustomConfig,
    EditorConfig,
    JudgeConfig,
    PillowEditorConfig,
    PolicyConfig,
    RulesPolicyConfig,
    SimulatedEditorConfig,
    SimulatedJudgeConfig,
    SimulatedPolicyConfig,
)
from mira_batch.core.errors import ConfigError, MiraError, describe
from mira_batch.core.ports import Editor, Judge, Policy


def build_policy(config: PolicyConfig) -> Policy:
    """Load the policy.

    Raises:
        ConfigError: a custom factory can't be imported, raises, or returns no policy.
    """
    match config:
        case RulesPolicyConfig():
            from mira_batch.models.rules_policy import RulesPolicy

            return RulesPolicy()
        case SimulatedPolicyConfig():
            from mira_batch.models.simulated import SimulatedPolicy

            return SimulatedPolicy(config)
        case CustomConfig():
            return _build_custom(config, "policy", "propose")


def build_editor(config: EditorConfig) -> Editor:
    """Load the editor.

    Raises:
        ConfigError: a custom factory can't be imported, raises, or returns no editor.
    """
    match config:
        case PillowEditorConfig():
            from mira_batch.models.pillow_editor import PillowEditor

            return PillowEditor()
        case SimulatedEditorConfig():
            from mira_batch.models.simulated import SimulatedEditor

            return SimulatedEditor(config)
        case CustomConfig():
            return _build_custom(config, "editor", "apply")


def build_judge(config: JudgeConfig) -> Judge:
    """Load the judge.

    Raises:
        ConfigError: a custom factory can't be imported, raises, or returns no judge.
    """
    match config:
        case SimulatedJudgeConfig():
            from mira_batch.models.simulated import SimulatedJudge

            return SimulatedJudge(config)
        case CustomConfig():
            return _build_custom(config, "judge", "score")


def check_model(config: PolicyConfig | EditorConfig | JudgeConfig) -> str:
    """Check what can be checked without loading a model: that a custom factory can be imported and takes
    its options. Says in words what was checked.

    Raises:
        ConfigError: naming the factory, and why it can't be imported or what of its options doesn't fit.
    """
    if not isinstance(config, CustomConfig):
        return config.type
    factory = _import_factory(config.factory)
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # some written in C have none to look at
        return f"{config.factory} (importable, not loaded)"
    try:
        signature.bind(**config.options)
    except TypeError as error:
        raise ConfigError(
            f"factory {config.factory}: can't be called with options {sorted(config.options)}: {error}; "
            f"it takes {signature}"
        ) from error
    return f"{config.factory} (importable, not loaded)"


def _build_custom(config: CustomConfig, role: str, method: str) -> Any:
    """Call the user's factory and see that what it returns can serve. A boundary: it is foreign code."""
    factory = _import_factory(config.factory)
    try:
        model = factory(**config.options)
        problems = _problems(model, method)
    except MiraError:
        raise
    except Exception as error:
        raise ConfigError(f"factory {config.factory} of the {role} raised {describe(error)}") from error
    if problems:
        raise ConfigError(
            f"factory {config.factory} returned {type(model).__name__}, which is no {role}: "
            f"{'; '.join(problems)} (see mira_batch.core.ports.{role.capitalize()})"
        )
    return model


def _import_factory(factory: str) -> Callable[..., Any]:
    """The function of a `package.module:function`. A boundary: importing runs foreign code."""
    module_name, _, name = factory.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(
            f"factory {factory}: module {module_name} can't be imported ({describe(error)}); it must be "
            "importable here and on the workers: install it there or put its folder on PYTHONPATH"
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        what = (
            f"{module_name} has no {name}" if found is None else f"it is {type(found).__name__}, no function"
        )
        raise ConfigError(f"factory {factory}: {what}; it must be importable here and on the workers")
    return found


def _problems(model: object, method: str) -> list[str]:
    """What the object lacks of its Protocol."""
    problems = []
    identity = getattr(model, "identity", None)
    if not isinstance(identity, str) or not identity:
        problems.append("identity should be a text that is not empty")
    max_batch = getattr(model, "max_batch", None)
    if not isinstance(max_batch, int) or isinstance(max_batch, bool) or max_batch < 1:
        problems.append("max_batch should be an integer of at least 1")
    for name in ("bucket", method):
        if not callable(getattr(model, name, None)):
            problems.append(f"{name} should be a method")
    return problems
