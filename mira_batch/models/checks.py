"""What can be checked of a model's config without loading it: packages, factories, prompts, files."""

from __future__ import annotations

import importlib.util
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from mira_batch.config.base import is_remote
from mira_batch.config.models import CustomConfig, PanelConfig
from mira_batch.config.models.base import ModelConfig
from mira_batch.config.models.judges import PairwiseConfig, ProtocolConfig
from mira_batch.config.models.local import (
    DiffusersConfig,
    QwenWeightsConfig,
    TorchConfig,
    VllmConfig,
    name_device,
)
from mira_batch.config.models.served import ServedConfig
from mira_batch.core.errors import ConfigError
from mira_batch.models.custom import import_factory
from mira_batch.models.registry import build_protocol

_PACKAGES = {
    "openai": ("openai", "openai", "OPENAI_API_KEY"),
    "openai_images": ("openai", "openai", "OPENAI_API_KEY"),
    "gemini_images": ("google.genai", "gemini", "GEMINI_API_KEY"),
    "gemini": ("google.genai", "gemini", "GEMINI_API_KEY"),
}
"""What a type needs besides the package's own requirements: module, the extra that brings it, and the
variable that usually holds the key. vLLM is looked for in the workers alone, which may have it where the
driver has not."""


def check_model(config: Any, field: str = "judge.model") -> str:
    """Check what can be checked of a model's config without loading it: that its package is installed, that
    a custom factory can be imported and takes its options, and that a judge's prompts can be read. Says in
    words what was checked, and of a served model whether its key is missing here.

    Args:
        config: of a policy, an editor or a judge.
        field: where the job's config has it, for errors.

    Raises:
        ConfigError: naming the factory, and why it can't be imported or what of its options doesn't fit; or
            the file of prompts.
    """
    if isinstance(config, PanelConfig):
        members = (
            check_model(member.model, f"{field}.members.{index}.model")
            for index, member in enumerate(config.members)
        )
        return f"panel of {' and '.join(members)}"
    if isinstance(config, ProtocolConfig):
        if not isinstance(config, PairwiseConfig):
            build_protocol(config, field)  # type: ignore[arg-type]
        return f"{config.kind} by {check_model(config.backend)}"
    kind: str = config.type
    module, extra, variable = _PACKAGES.get(kind, ("", "", ""))
    if module and not _is_installed(module):
        raise ConfigError(f"type {kind} needs a package: pip install 'mira-batch[{extra}]'")
    if isinstance(config, ServedConfig) and (name := config.find_missing_key(variable)):
        return f"{kind} (the key in {name} is not set here; every worker needs it)"
    if not isinstance(config, CustomConfig):
        return kind
    factory = import_factory(config.factory)
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


def check_files(config: ModelConfig, field: str = "policy") -> None:
    """Look whether a directory on this machine holds the model that is asked for; no weights are loaded. A
    config without weights passes.

    Args:
        config: of one model.
        field: where the job's config has it, for errors.

    Raises:
        ConfigError: it doesn't, naming what is missing.
    """
    match config:
        case QwenWeightsConfig():
            from mira_batch.models.qwen import check_adapter_files, check_qwen_files

            check_qwen_files(config.weights, f"{field}.weights")
            if config.adapter is not None and not is_remote(config.adapter.weights):
                check_adapter_files(config.adapter.weights, f"{field}.adapter.weights")
        case VllmConfig():
            from mira_batch.models.qwen import check_qwen_files

            check_qwen_files(config.weights, f"{field}.weights")
        case DiffusersConfig():
            from mira_batch.models.diffusion import check_pipeline_files

            check_pipeline_files(Path(config.weights), config.pipeline)


def describe_sharing(engines: Mapping[str, ModelConfig], name_weights: Callable[[str], str]) -> Iterator[str]:
    """Say which models of a worker are loaded once for several of them, as `loader.py` does it, and which are
    not although their weights are the same. Of models that have nothing in common it says nothing.

    Args:
        engines: what is loaded or called, by the field that names it, in the order of loading.
        name_weights: gives a location of weights the same name as any other for the same place.
    """
    name_weights = cache(name_weights)
    models = {field: m for field, m in engines.items() if isinstance(m, QwenWeightsConfig | VllmConfig)}
    for place, (field, model) in enumerate(models.items()):
        differences = {
            name: _list_differences(model, other, name_weights)
            for name, other in islice(models.items(), place)
            if name_weights(other.weights) == name_weights(model.weights)
        }
        for name, differ in sorted(differences.items(), key=lambda found: len(found[1]))[:1]:
            if differ:
                yield f"{field} loads the weights of {name} once more: they differ in {', '.join(differ)}"
                continue
            mine, theirs = _count_copies(model), _count_copies(models[name])
            some = f" for {(mine & theirs).total()} of its {mine.total()} copies" if mine - theirs else ""
            yield f"{field} uses the weights that {name} has loaded{some}, and the two take turns"


def _list_differences(
    model: QwenWeightsConfig | VllmConfig,
    other: QwenWeightsConfig | VllmConfig,
    name_weights: Callable[[str], str],
) -> list[str]:
    """The settings for which two models of the same weights are loaded apart."""
    if not (isinstance(model, QwenWeightsConfig) and isinstance(other, QwenWeightsConfig)):
        return ["type"]  # vLLM's engine lets nobody at its weights
    parts = {
        "dtype": [each.dtype for each in (model, other)],
        "attention": [each.attention for each in (model, other)],
        "adapter": [
            each.adapter and (name_weights(each.adapter.weights), each.adapter.scale)
            for each in (model, other)
        ],
    }
    differ = [name for name, (mine, theirs) in parts.items() if mine != theirs]
    return differ if _count_copies(model) & _count_copies(other) else [*differ, "devices"]


def _count_copies(model: TorchConfig) -> Counter[str]:
    """How many there are on each device."""
    return Counter(map(name_device, model.devices * model.replicas))
