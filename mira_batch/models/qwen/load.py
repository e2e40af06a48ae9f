"""Loads a Qwen-VL model, its processor and a LoRA adapter. Whatever goes wrong is a `ConfigError`: the user
chose the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mira_batch.config.models.local import QwenVLConfig
from mira_batch.core.errors import ConfigError, RecordError, describe
from mira_batch.models.serving import is_engine_dead, is_out_of_memory
from mira_batch.models.torch_support import find_dtype

if TYPE_CHECKING:
    import torch


def load_processor(config: QwenVLConfig, path: str) -> Any:
    from transformers import AutoProcessor

    try:
        processor: Any = AutoProcessor.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"policy.weights: the processor in {path} can't be read: {describe(error)}"
        ) from error
    size = processor.image_processor.size
    most = min(config.prompt.max_pixels, size["longest_edge"])
    processor.image_processor.size = {"longest_edge": most, "shortest_edge": min(most, size["shortest_edge"])}
    return processor


def load_model(config: QwenVLConfig, path: str, device: torch.device) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()  # of loading: a worker's log is no place for it
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            path,
            dtype=find_dtype(config.dtype),
            attn_implementation=config.attention,
            device_map=device,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise ConfigError(
                f"policy.devices: the model of policy.weights doesn't fit on {device}; take a larger or an "
                "emptier GPU, or a smaller model"
            ) from error
        if is_engine_dead(error):
            raise
        raise ConfigError(
            f"policy.weights: the model in {path} can't be loaded: {describe(error)}"
        ) from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ConfigError(
            f"policy.weights: {path} lacks {len(missing)} weights of its model, {missing[0]} among them; the "
            "files are of another model or incomplete, so fetch them again"
        )
    return model


def explain_first_call(error: BaseException, device: torch.device, pixels: int) -> ConfigError:
    """What the user can do about a first call that failed: one request, with two images of so many pixels."""
    if is_out_of_memory(error):
        return ConfigError(
            f"policy.prompt.max_pixels: one request with two images of {pixels:,} pixels runs out of memory "
            f"on {device}, beside the weights; lower policy.prompt.max_pixels, or put the policy on a larger "
            "or an emptier GPU (policy.devices, editor.devices)"
        )
    if isinstance(error, RecordError):
        return ConfigError(f"policy.prompt: a request with two images of {pixels:,} pixels: {error}")
    return ConfigError(
        f"policy.attention: the model's first call on {device} failed: {describe(error)}; where that is "
        "about a kernel, set policy.attention: sdpa or eager, or another policy.dtype; else try another GPU"
    )


def add_adapter(model: Any, path: str, scale: float) -> None:
    """Put a LoRA adapter into the model's layers, beside its weights: merged into bfloat16, small
    differences would be rounded away."""
    from peft.tuners.lora import LoraLayer
    from safetensors import SafetensorError

    try:
        # transformers 5.23 refuses its own argument local_files_only here; as one of the look-up it works.
        report = model.load_adapter(path, adapter_name="default", adapter_kwargs={"local_files_only": True})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"policy.adapter.weights: the adapter in {path} doesn't fit the model: {describe(error)}"
        ) from error
    if wrong := sorted(report.missing_keys | report.unexpected_keys):
        raise ConfigError(
            f"policy.adapter.weights: {path} is no adapter of this model: {len(wrong)} weights have no "
            f"counterpart, {wrong[0]} among them"
        )
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.set_scale("default", scale)
