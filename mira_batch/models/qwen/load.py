"""Loads a Qwen-VL model, its processor and a LoRA adapter. Whatever goes wrong is a `ConfigError`: the user
chose the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mira_batch.config.models.local import QwenWeightsConfig
from mira_batch.core.errors import ConfigError, RecordError, describe
from mira_batch.models.qwen.windows import batch_windows
from mira_batch.models.serving import is_engine_dead, is_out_of_memory
from mira_batch.models.torch_support import find_dtype

if TYPE_CHECKING:
    import torch


def load_processor(path: str, max_pixels: int, field: str) -> Any:
    """The processor of the model in `path`, which shows images of at most `max_pixels`.

    Args:
        path: directory of the model.
        max_pixels: larger images are shown smaller.
        field: where the config has the model, for errors.

    Raises:
        ConfigError: it can't be read.
    """
    from transformers import AutoProcessor

    try:
        processor: Any = AutoProcessor.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{field}.weights: the processor in {path} can't be read: {describe(error)}"
        ) from error
    size = processor.image_processor.size
    most = min(max_pixels, size["longest_edge"])
    processor.image_processor.size = {"longest_edge": most, "shortest_edge": min(most, size["shortest_edge"])}
    return processor


def load_model(config: QwenWeightsConfig, path: str, device: torch.device, field: str) -> Any:
    """The model in `path`, on a device.

    Args:
        config: its number format and attention.
        path: directory of the model.
        device: where it goes.
        field: where the config has it, for errors.

    Raises:
        ConfigError: it can't be loaded, is incomplete or doesn't fit.
    """
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
                f"{field}.devices: the model of {field}.weights doesn't fit on {device}; take a larger or an "
                "emptier GPU, or a smaller model"
            ) from error
        if is_engine_dead(error):
            raise
        raise ConfigError(
            f"{field}.weights: the model in {path} can't be loaded: {describe(error)}"
        ) from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise ConfigError(
            f"{field}.weights: {path} lacks {len(missing)} weights of its model, {missing[0]} among them; "
            "the files are of another model or incomplete, so fetch them again"
        )
    if config.attention == "sdpa":
        batch_windows(model)
    return model


def explain_first_call(
    error: BaseException, device: torch.device, pixels: int, field: str, shown: str
) -> ConfigError:
    """What the user can do about a first call that failed: one request, with two images of so many pixels.

    Args:
        error: what it raised.
        device: where the model is.
        pixels: of each image.
        field: where the config has the model.
        shown: where it has what the model is shown.
    """
    if is_out_of_memory(error):
        return ConfigError(
            f"{shown}.max_pixels: one request with two images of {pixels:,} pixels runs out of memory "
            f"on {device}, beside the weights; lower {shown}.max_pixels, or put the "
            f"{field.partition('.')[0]} on a larger or an emptier GPU ({field}.devices, editor.devices)"
        )
    if isinstance(error, RecordError):
        return ConfigError(f"{shown}: a request with two images of {pixels:,} pixels: {error}")
    return ConfigError(
        f"{field}.attention: the model's first call on {device} failed: {describe(error)}; where that is "
        f"about a kernel, set {field}.attention: sdpa or eager, or another {field}.dtype; else try another "
        "GPU"
    )


def add_adapter(model: Any, path: str, scale: float, field: str) -> None:
    """Put a LoRA adapter into the model's layers, beside its weights: merged into bfloat16, small
    differences would be rounded away.

    Args:
        model: as it was loaded.
        path: directory of the adapter.
        scale: factor of its effect.
        field: where the config has the model, for errors.

    Raises:
        ConfigError: the adapter doesn't fit.
    """
    from peft.tuners.lora import LoraLayer
    from safetensors import SafetensorError

    try:
        # transformers 5.23 refuses its own argument local_files_only here; as one of the look-up it works.
        report = model.load_adapter(path, adapter_name="default", adapter_kwargs={"local_files_only": True})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"{field}.adapter.weights: the adapter in {path} doesn't fit the model: {describe(error)}"
        ) from error
    if wrong := sorted(report.missing_keys | report.unexpected_keys):
        raise ConfigError(
            f"{field}.adapter.weights: {path} is no adapter of this model: {len(wrong)} weights have no "
            f"counterpart, {wrong[0]} among them"
        )
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.set_scale("default", scale)
