"""A Qwen-VL's weights on one device, and whatever goes with them: who may call, and on which stream.

A policy and a judge that load the same weights in the same way have one of these between them. What differs
between the two (what is shown, told and drawn) is with each of them, in `model.py`.

Calls into one module must not meet. Of transformers 5.23.0, as it was read:

    rope_deltas     on Qwen2_5_VLModel and Qwen3VLModel. Each `generate` and each forward pass that gets
                    input_ids with images writes it; a pass without position_ids, or one that goes on from a
                    cache, reads it. `generate` of this version hands the positions from step to step itself,
                    and two threads without a lock gave the answers of one; versions before read it at every
                    token, and would have mixed up the images of two calls. With a cache that it is given
                    `generate` reads it, and so `share_prompts` writes it, row by row.
    _previous_max_cache_length, and the experts' implementation
                    set on the module by `generate`, with a static cache or with experts.
    a GPU's memory  of two calls at once would have to be there twice.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.config.models.local import QwenWeightsConfig, name_device
from mira_batch.core.types import Weights
from mira_batch.models.qwen.load import add_adapter, load_model
from mira_batch.models.serving import Turns
from mira_batch.models.torch_support import check_memory, count_loaded_bytes, list_weight_files

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class LoadKey:
    """All that changes the module that is loaded. Where two are equal, one module does for both."""

    path: str
    """Where the files are on this node, links resolved."""
    weights: str
    """Identity of the files."""
    device: str
    dtype: str
    attention: str
    adapter: tuple[str, str, float] | None
    """Path and identity of a LoRA adapter, and the factor of its effect."""

    @classmethod
    def of(cls, config: QwenWeightsConfig, weights: Weights, device: str, adapter: Weights | None) -> LoadKey:
        """The key of a model that is loaded so; the arguments are those of `load_weights`."""
        tuned = None
        if adapter is not None and config.adapter is not None:
            tuned = (_resolve(adapter), adapter.identity, config.adapter.scale)
        device = name_device(device)
        return cls(_resolve(weights), weights.identity, device, config.dtype, config.attention, tuned)


class LoadedQwenVL:
    """The module, for one thread at a time."""

    def __init__(self, model: Any, device: torch.device) -> None:
        import torch

        self.model = model
        """Of transformers."""
        self.device = device
        """Where it is."""
        self.turn = Turns()
        """Held by whoever calls the module, from its inputs on the device until its answer is off it."""
        on_gpu = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if on_gpu else None
        if on_gpu:
            torch.cuda.synchronize(device)  # weights are copied on another stream than ours

    def use_stream(self) -> AbstractContextManager[Any]:
        """The stream that all calls of the module run on."""
        import torch

        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def load_weights(
    config: QwenWeightsConfig, weights: Weights, adapter: Weights | None, device: torch.device, field: str
) -> LoadedQwenVL:
    """Load a model and its adapter onto a device, if they fit.

    Args:
        config: how.
        weights: the files.
        adapter: those of `config.adapter`.
        device: where it goes.
        field: where the job's config has it, for errors.

    Raises:
        ConfigError: it can't be loaded, is incomplete or doesn't fit.
    """
    needed = count_loaded_bytes(list_weight_files(Path(weights.path)), config.dtype)
    ways_out = "set dtype: bfloat16, put the editor on another GPU (editor.devices), or take a smaller model"
    check_memory(needed, device, f"{field}.weights", ways_out)
    model = load_model(config, weights.path, device, field)
    if adapter is not None and config.adapter is not None:
        add_adapter(model, adapter.path, config.adapter.scale, field)
    model.eval()
    return LoadedQwenVL(model, device)


def _resolve(weights: Weights) -> str:
    return str(Path(weights.path).resolve())
