"""From a config to the policy, editor or judge it names, and what can be checked of it without loading it.

`max_batch` of the config, where it is set, goes before the model's own: callers take
`config.max_batch or model.max_batch`. Implementations are imported only when they are asked for. Weights are
fetched by a function that the caller brings, since where they are kept is the business of storage/. Copies,
batches and calls are the business of `loader.py` and serving/.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mira_batch.config.base import is_remote
from mira_batch.config.models import (
    CustomConfig,
    EditorConfig,
    FidelityJudgeConfig,
    JudgeConfig,
    PassthroughPolicyConfig,
    PillowEditorConfig,
    PolicyConfig,
    RulesJudgeConfig,
    RulesPolicyConfig,
)
from mira_batch.config.models.base import ModelConfig
from mira_batch.config.models.local import DiffusersConfig, QwenVLConfig, VllmConfig
from mira_batch.config.models.served import (
    GeminiImagesConfig,
    OpenAIImagesConfig,
    OpenAIJudgeConfig,
    OpenAIPolicyConfig,
)
from mira_batch.config.models.simulated import (
    SimulatedEditorConfig,
    SimulatedJudgeConfig,
    SimulatedPolicyConfig,
)
from mira_batch.core.errors import ConfigError, MiraError, describe, is_interrupt
from mira_batch.core.ports import Editor, Judge, Policy, ServedEditor, ServedJudge, ServedPolicy
from mira_batch.core.source_type import GENERATIVE, find_type_problem
from mira_batch.core.text import MOST_MESSAGE, clean_text
from mira_batch.core.types import Weights
from mira_batch.models.imports import import_foreign
from mira_batch.models.serving import EDITOR, JUDGE, POLICY, Role

Fetch = Callable[[str], Weights]
"""From where weights are kept (`weights` of a config) to their files on this node. It blocks."""


def no_weights(location: str) -> Weights:
    """A `Fetch` for models that have no weights.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(f"weights: {location}: nothing that fetches weights was given")


def build_model(role: str, config: ModelConfig, fetch: Fetch = no_weights, device: str = "auto") -> Any:
    """Load one copy of the model that a role's config names.

    Args:
        role: policy, editor or judge.
        config: one of the role's configs in `config/models`.
        fetch: brings its weights to this node.
        device: auto, cpu or cuda:N; models that torch doesn't run pass over it.

    Returns:
        What the role's Protocol asks for; for an endpoint's config the served one.

    Raises:
        ConfigError: as the role's own function below.
    """
    return _BUILDERS[role](config, fetch, device)


def build_policy(
    config: PolicyConfig, fetch: Fetch = no_weights, device: str = "auto"
) -> Policy | ServedPolicy:
    """Load the policy onto a device: auto, cpu or cuda:N.

    Args:
        config: which policy.
        fetch: brings weights to this node.
        device: auto, cpu or cuda:N; of no concern to a model without weights.

    Raises:
        ConfigError: its weights can't be found or don't fit, a package is missing, or a custom factory
            can't be imported, raises, or returns no policy.
    """
    match config:
        case RulesPolicyConfig():
            from mira_batch.models.embedded import RulesPolicy

            return RulesPolicy()
        case PassthroughPolicyConfig():
            from mira_batch.models.embedded import PassthroughPolicy

            return PassthroughPolicy()
        case QwenVLConfig():
            from mira_batch.models.qwen import QwenVLPolicy

            adapter = fetch(config.adapter.weights) if config.adapter else None
            return QwenVLPolicy(config, fetch(config.weights), device, adapter)
        case VllmConfig():
            from mira_batch.models.qwen import VllmPolicy

            return VllmPolicy(config, fetch(config.weights), device)
        case OpenAIPolicyConfig():
            from mira_batch.models.remote import OpenAIPolicy

            return OpenAIPolicy(config)
        case SimulatedPolicyConfig():
            from mira_batch.models.simulated import SimulatedPolicy

            return SimulatedPolicy(config)
        case CustomConfig():
            return _build_custom(config, POLICY)


def build_editor(
    config: EditorConfig, fetch: Fetch = no_weights, device: str = "auto"
) -> Editor | ServedEditor:
    """Load the editor onto a device: auto, cpu or cuda:N.

    Args:
        config: which editor.
        fetch: brings weights to this node.
        device: auto, cpu or cuda:N; of no concern to a model without weights.

    Raises:
        ConfigError: its weights can't be found or don't fit, a package is missing, or a custom factory
            can't be imported, raises, or returns no editor.
    """
    match config:
        case PillowEditorConfig():
            from mira_batch.models.embedded import PillowEditor

            return PillowEditor()
        case DiffusersConfig():
            from mira_batch.models.diffusion import DiffusersEditor

            loras = [fetch(lora.weights) for lora in config.loras]
            return DiffusersEditor(config, fetch(config.weights), device, loras)
        case OpenAIImagesConfig():
            from mira_batch.models.remote import OpenAIImages

            return OpenAIImages(config)
        case GeminiImagesConfig():
            from mira_batch.models.remote import GeminiImages

            return GeminiImages(config)
        case SimulatedEditorConfig():
            from mira_batch.models.simulated import SimulatedEditor

            return SimulatedEditor(config)
        case CustomConfig():
            return _build_custom(config, EDITOR)


def build_judge(config: JudgeConfig, fetch: Fetch = no_weights, device: str = "auto") -> Judge | ServedJudge:
    """Load the judge onto a device: auto, cpu or cuda:N.

    Args:
        config: which judge.
        fetch: brings weights to this node.
        device: auto, cpu or cuda:N; of no concern to a model without weights.

    Raises:
        ConfigError: its weights can't be found or don't fit, a package is missing, or a custom factory
            can't be imported, raises, or returns no judge.
    """
    match config:
        case RulesJudgeConfig():
            from mira_batch.models.embedded import RulesJudge

            return RulesJudge()
        case FidelityJudgeConfig():
            from mira_batch.models.embedded import FidelityJudge

            return FidelityJudge(config)
        case OpenAIJudgeConfig():
            from mira_batch.models.remote import OpenAIJudge

            return OpenAIJudge(config)
        case SimulatedJudgeConfig():
            from mira_batch.models.simulated import SimulatedJudge

            return SimulatedJudge(config)
        case CustomConfig():
            return _build_custom(config, JUDGE)


_BUILDERS: Mapping[str, Callable[[Any, Fetch, str], Any]] = {
    POLICY.name: build_policy,
    EDITOR.name: build_editor,
    JUDGE.name: build_judge,
}

_PACKAGES = {
    "openai": ("openai", "openai"),
    "openai_images": ("openai", "openai"),
    "gemini_images": ("google.genai", "gemini"),
}
"""What a type needs besides the package's own requirements: module, and the extra that brings it. vLLM is
looked for in the workers alone, which may have it where the driver has not."""


def check_model(config: Any) -> str:
    """Check what can be checked of a model's config without loading it: that its package is installed, and
    that a custom factory can be imported and takes its options. Says in words what was checked.

    Raises:
        ConfigError: naming the factory, and why it can't be imported or what of its options doesn't fit.
    """
    module, extra = _PACKAGES.get(config.type, ("", ""))
    if module and not _is_installed(module):
        raise ConfigError(f"type {config.type} needs a package: pip install mira-batch[{extra}]")
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


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False


def check_files(config: ModelConfig) -> None:
    """Look whether a directory on this machine holds the model that is asked for; no weights are loaded. A
    config without weights passes.

    Raises:
        ConfigError: it doesn't, naming what is missing.
    """
    match config:
        case QwenVLConfig():
            from mira_batch.models.qwen import check_adapter_files, check_qwen_files

            check_qwen_files(config.weights)
            if config.adapter is not None and not is_remote(config.adapter.weights):
                check_adapter_files(config.adapter.weights)
        case VllmConfig():
            from mira_batch.models.qwen import check_qwen_files

            check_qwen_files(config.weights)
        case DiffusersConfig():
            from mira_batch.models.diffusion import check_pipeline_files

            check_pipeline_files(Path(config.weights), config.pipeline)


def _build_custom(config: CustomConfig, role: Role) -> Any:
    """Call the user's factory and see that what it returns can serve. A boundary: it is foreign code."""
    factory = _import_factory(config.factory)
    try:
        model = factory(**config.options)
        problems = _find_problems(model, role.method)
    except MiraError:
        raise
    except BaseException as error:  # sys.exit() too: it would end the thread that loads, and be waited for
        if is_interrupt(error):
            raise
        raise ConfigError(f"factory {config.factory} of the {role.name} raised {describe(error)}") from error
    if problems:
        raise ConfigError(
            f"factory {config.factory} returned {type(model).__name__}, which is no {role.name}: "
            f"{'; '.join(problems)} (see mira_batch.core.ports.{role.name.capitalize()})"
        )
    return model


def _import_factory(factory: str) -> Callable[..., Any]:
    """The function of a `package.module:function`."""
    module_name, _, name = factory.partition(":")
    module = import_foreign(
        module_name,
        f"factory {factory}: module {module_name}",
        "it must be importable here and on the workers: install it there or put its folder on PYTHONPATH",
    )
    found = getattr(module, name, None)
    if not callable(found):
        what = (
            f"{module_name} has no {name}" if found is None else f"it is {type(found).__name__}, no function"
        )
        raise ConfigError(f"factory {factory}: {what}; it must be importable here and on the workers")
    return found


def _find_problems(model: object, method: str) -> list[str]:
    """What the object lacks of its Protocol."""
    problems = []
    identity = getattr(model, "identity", None)
    if not isinstance(identity, str) or not identity:
        problems.append("identity should be a text that is not empty")
    elif clean_text(identity, MOST_MESSAGE) != identity:
        problems.append(f"identity should be valid Unicode, of at most {MOST_MESSAGE:,} characters")
    max_batch = getattr(model, "max_batch", None)
    if not isinstance(max_batch, int) or isinstance(max_batch, bool) or max_batch < 1:
        problems.append("max_batch should be an integer of at least 1")
    for name in ("bucket", method):
        if not callable(getattr(model, name, None)):
            problems.append(f"{name} should be a method")
    if method == EDITOR.method and (problem := find_type_problem(getattr(model, "source_type", GENERATIVE))):
        problems.append(problem)
    return problems
