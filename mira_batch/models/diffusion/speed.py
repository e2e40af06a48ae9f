"""The options of `speed` and `offload`, put to work on a loaded pipeline."""

from __future__ import annotations

import importlib.util
import weakref
from typing import TYPE_CHECKING, Any

from mira_batch.config.models.local import DiffusersConfig, SpeedConfig
from mira_batch.core.errors import ConfigError, describe
from mira_batch.models.diffusion.pipelines.batch import Family

if TYPE_CHECKING:
    import torch

_NO_MASKS = ("flash", "_flash_3", "_native_flash", "sage", "_sage", "aiter")
"""How the names of attention backends begin that refuse a mask."""
_backends: weakref.WeakKeyDictionary[Any, str | None] = weakref.WeakKeyDictionary()
"""The attention backend of each live pipeline of this process. diffusers has one for the whole process."""
_left_behind: set[str] = set()
"""The attention backends that pipelines of this process have set and nobody has undone."""


def check_speed(config: DiffusersConfig, family: Family, device: torch.device) -> None:
    """See that the options go together, before anything is loaded.

    Raises:
        ConfigError: naming the option and the way out.
    """
    speed = config.speed
    if config.offload != "none" and device.type == "cpu":
        raise ConfigError(
            f"editor.offload: {config.offload} moves weights between main memory and a GPU, but the "
            "device is the CPU; leave it at none"
        )
    if config.offload not in ("none", *family.offloads):
        raise ConfigError(
            f"editor.offload: {config.offload} can't be used with {config.pipeline}, which runs parts of its "
            "text encoder without the whole, so that nothing moves their weights; take none or sequential"
        )
    if speed.compile and speed.cache != "none":
        raise ConfigError(
            f"editor.speed.compile: blocks that are compiled can't be skipped by speed.cache {speed.cache}, "
            "which decides between them in plain Python; set compile: false or cache: none"
        )
    if speed.cache == "magcache" and "magcache" not in family.caches:
        raise ConfigError(
            "editor.speed.cache: magcache needs ratios that were measured on the model, and diffusers has "
            "them for FLUX.1 only; take taylorseer"
        )
    if speed.cache != "none" and speed.cache not in family.caches:
        known = ", ".join(family.caches) or "none"
        raise ConfigError(
            f"editor.speed.cache: {speed.cache} isn't known to work with {config.pipeline}: {known} is"
        )
    if speed.attention is not None and speed.attention.endswith("_hub"):
        raise ConfigError(
            f"editor.speed.attention: {speed.attention} would download code when it is first used; install "
            "the package and take the backend without _hub"
        )
    if speed.quantization != "none" and importlib.util.find_spec("torchao") is None:
        raise ConfigError(
            f"editor.speed.quantization: {speed.quantization} needs torchao: pip install "
            "'mira-batch[quantization]', or leave it at none"
        )


def choose_quantization(speed: SpeedConfig) -> dict[str, Any]:
    """The arguments of from_pretrained that quantize the transformer while it is loaded."""
    if speed.quantization == "none":
        return {}
    from diffusers.quantizers.pipe_quant_config import PipelineQuantizationConfig
    from diffusers.quantizers.quantization_config import TorchAoConfig
    from torchao.quantization import (  # pyright: ignore[reportMissingImports]
        Float8WeightOnlyConfig,
        Int8WeightOnlyConfig,
    )

    kind = Int8WeightOnlyConfig() if speed.quantization == "int8" else Float8WeightOnlyConfig()
    return {
        "quantization_config": PipelineQuantizationConfig(quant_mapping={"transformer": TorchAoConfig(kind)})
    }


def place(pipe: Any, config: DiffusersConfig, device: torch.device) -> None:
    """Move the weights to the device, or have them moved when they are needed."""
    match config.offload:
        case "none":
            pipe.to(device)
        case "model":
            pipe.enable_model_cpu_offload(device=device)
        case "sequential":
            pipe.enable_sequential_cpu_offload(device=device)


def speed_up(pipe: Any, config: DiffusersConfig, steps: int | None) -> None:
    """Switch on what `speed` asks for.

    Raises:
        ConfigError: an option doesn't go with this pipeline or this machine.
    """
    speed = config.speed
    _set_attention(pipe, speed.attention)
    if speed.vae_tiling:
        _switch_on("vae_tiling", pipe.vae.enable_tiling)
    if speed.cache != "none":
        _switch_on(
            "cache",
            lambda: find_denoiser(pipe).enable_cache(
                _build_cache(speed.cache, steps, find_denoiser(pipe).dtype)
            ),
        )
    if speed.compile:
        _switch_on(
            "compile", lambda: find_denoiser(pipe).compile_repeated_blocks(fullgraph=True, dynamic=True)
        )


def find_denoiser(pipe: Any) -> Any:
    """The part of a pipeline that is run at each step."""
    found = getattr(pipe, "transformer", None) or getattr(pipe, "unet", None)
    if found is None:
        raise ConfigError(
            f"editor.speed: {type(pipe).__name__} has neither a transformer nor a unet to speed up"
        )
    return found


def refuses_masks(backend: str | None) -> bool:
    """Whether an attention backend fails where prompts of different length share a batch."""
    return backend is not None and backend.startswith(_NO_MASKS)


def forget_steps(pipe: Any) -> None:
    """Drop what a cache holds of a call that failed half-way; the next one would go on with it."""
    for name in ("transformer", "unet"):
        part = getattr(pipe, name, None)
        if part is not None and getattr(part, "is_cache_enabled", False):
            part._reset_stateful_cache()


def _set_attention(pipe: Any, backend: str | None) -> None:
    others = set(_backends.values()) - {backend}
    if others:
        taken = others.pop()
        raise ConfigError(
            f"editor.speed.attention: {backend or 'the default'} was asked for, but another pipeline of this "
            f"process has {taken or 'the default'}, and a process has one only; give both the same"
        )
    if backend is not None:
        _switch_on("attention", lambda: find_denoiser(pipe).set_attention_backend(backend))
        _left_behind.add(backend)
    elif _left_behind:
        _reset_attention()
        _left_behind.clear()
    _backends[pipe] = backend


def _reset_attention() -> None:
    """Undo what a pipeline that is gone by now has set for the process."""
    from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
    from diffusers.utils.constants import DIFFUSERS_ATTN_BACKEND

    activate = getattr(_AttentionBackendRegistry, "set_active_backend", None)
    if activate is not None:  # older ones, as forks are, set it for a pipeline's own layers only
        activate(AttentionBackendName(DIFFUSERS_ATTN_BACKEND))


def _build_cache(name: str, steps: int | None, dtype: torch.dtype) -> Any:
    from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
    from diffusers.hooks.mag_cache import FLUX_MAG_RATIOS, MagCacheConfig
    from diffusers.hooks.taylorseer_cache import TaylorSeerCacheConfig

    match name:
        case "taylorseer":
            return TaylorSeerCacheConfig(taylor_factors_dtype=dtype)
        case "magcache":
            return MagCacheConfig(num_inference_steps=steps or 28, mag_ratios=FLUX_MAG_RATIOS)
        case _:
            return FirstBlockCacheConfig()


def _switch_on(option: str, switch: Any) -> None:
    """Switch an option on. A boundary: what packages and hardware an option needs, diffusers says."""
    try:
        switch()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"editor.speed.{option}: {describe(error)}; leave it out, or see to that"
        ) from error
