"""The editor's transformer as it learns: with its adapter, its loss, and what is measured of it.

Shapes: B pairs of a batch, N tokens of an image's latents, C channels of a token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.editor_sft import EditorLora, EditorSftConfig, TaughtEditorConfig, TimesConfig
from mira_batch.core.errors import ConfigError, UserError, describe
from mira_batch.core.types import Weights
from mira_batch.models.diffusion import (
    SOURCE,
    TARGET,
    Flow,
    find_lora_file,
    import_pipeline,
    load_pipeline,
    load_transformer,
    shift_by_scheduler,
)
from mira_batch.train.editor.flow import (
    find_velocity,
    flow_matching_loss,
    interpolate,
    map_normal_to_times,
    shift_times,
)
from mira_batch.train.measure import hold_still

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LORA, MODEL = "lora", "model"
"""Folder of what a training gives: LoRA weights alone, or a whole pipeline."""
_LEARN, _MEASURE = 1, 2
"""What noise is drawn for: another stream each."""


def load_learner(
    config: EditorSftConfig | EditorNftConfig,
    weights: Weights,
    flow: Flow,
    device: torch.device,
    adapter: Weights | None = None,
) -> Any:
    """A module whose `transformer` learns, and whose forward pass gives the loss of a batch. Its `predict`
    gives the velocities (B, N, C) at any points.

    Args:
        config: of the training.
        weights: the pipeline's files.
        flow: how its family is taught.
        device: where it goes.
        adapter: that is gone on with; None: a new one.

    Raises:
        ConfigError: it can't be loaded, a layer that is to learn isn't there, or guidance has no effect.
    """
    import torch

    full = not isinstance(config.tuning, EditorLora)
    transformer = load_transformer(Path(weights.path), "float32" if full else config.editor.dtype).to(device)
    guidance = find_guidance(transformer, config.editor)
    transformer.requires_grad_(full)
    if adapter is not None:
        _continue_adapter(transformer, Path(adapter.path))
    elif isinstance(config.tuning, EditorLora):
        torch.manual_seed(config.seed)
        _add_adapter(transformer, config.tuning, flow)
    if config.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()

    class Learner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def predict(self, parts: dict[str, Tensor], times: Tensor, points: Tensor) -> Tensor:
            height, width = parts[TARGET].shape[1:3]
            return flow.predict(self.transformer, points, times, parts, (height, width), guidance)

        def forward(self, parts: dict[str, Tensor], times: Tensor, noise: Tensor) -> dict[str, Tensor]:
            image = parts[TARGET].flatten(1, 2)
            predicted = self.predict(parts, times, interpolate(image, noise, times))
            losses = flow_matching_loss(predicted, find_velocity(image, noise))
            return {"loss": losses.mean(), "losses": losses.detach(), "predicted": predicted.detach()}

    return Learner()


class NoiseSource:
    """Draws times and noise: the same for the same number, whoever draws them, and in whichever batch."""

    def __init__(self, times: TimesConfig, seed: int, weights: Weights, flow: Flow) -> None:
        """
        Args:
            times: how they are drawn.
            seed: of the training.
            weights: the pipeline's files, of which the scheduler's settings are read.
            flow: how its family is taught.
        """
        file = Path(weights.path) / "scheduler" / "scheduler_config.json"
        self._scheduler = json.loads(file.read_text()) if file.is_file() else {}
        self._times = times
        self._seed = seed
        self._flow = flow

    def draw(self, parts: Mapping[str, Tensor], numbers: Sequence[int], learn: bool) -> tuple[Tensor, Tensor]:
        """Times (B,) and noise (B, N, C) for a batch.

        Args:
            parts: of the batch.
            numbers: of its rows: what the draw depends on, with the seed.
            learn: or measure.
        """
        import torch

        target = parts[TARGET].flatten(1, 2)
        stream = _LEARN if learn else _MEASURE
        draws = [np.random.Generator(np.random.PCG64([self._seed, stream, number])) for number in numbers]
        normal = torch.tensor([draw.standard_normal() for draw in draws], dtype=torch.float32)
        noise = [draw.standard_normal(tuple(target.shape[1:]), dtype=np.float32) for draw in draws]
        settings = self._times
        if settings.shift == "scheduler":
            factor = shift_by_scheduler(self._flow, self._scheduler, target.shape[1])
        else:
            factor = settings.shift
        times = shift_times(map_normal_to_times(normal, settings.mean, settings.deviation), factor)
        return times, torch.from_numpy(np.stack(noise))


def sum_losses(
    learner: Any, batches: Iterable[Mapping[str, Any]], arithmetic: AbstractContextManager[Any] | None = None
) -> tuple[float, int]:
    """The sum of pairs' losses, and how many there are; nothing is learned, and nothing drawn.

    Args:
        learner: of `load_learner`.
        batches: arguments of its forward pass.
        arithmetic: the context that forward passes run in, for mixed precision.
    """
    import torch

    loss, count = 0.0, 0
    with hold_still(learner), torch.no_grad(), arithmetic or nullcontext():
        for batch in batches:
            losses = learner(**move_batch(batch, learner))["losses"]
            loss += float(losses.double().sum())
            count += len(losses)
    return loss, count


def measure_sight(
    learner: Any, batches: Iterable[Mapping[str, Any]], arithmetic: AbstractContextManager[Any] | None = None
) -> float:
    """How far the source image matters: the mean change of the predicted velocity, over its own norm, when
    the source's latents are blanked (set to 0, their mean).

    Args:
        learner: of `load_learner`.
        batches: arguments of its forward pass.
        arithmetic: as `sum_losses` takes it.

    Raises:
        UserError: no prediction changes at all: the model doesn't see.
    """
    import torch

    changes: list[float] = []
    with hold_still(learner), torch.no_grad(), arithmetic or nullcontext():
        for batch in batches:
            given = move_batch(batch, learner)
            parts = given["parts"]
            blank = given | {"parts": parts | {SOURCE: torch.zeros_like(parts[SOURCE])}}
            seen, unseen = (learner(**each)["predicted"].double() for each in (given, blank))
            change, own = ((seen - unseen).flatten(1).norm(dim=1), seen.flatten(1).norm(dim=1))
            changes.extend(
                torch.where(own == 0, 0.0, change / own).tolist()
            )  # 0 / 0 of weights that are all 0
    if not any(changes):
        raise UserError(
            f"the editor is blind: of {len(changes)} pairs no prediction changes when the source image is "
            "blanked; it doesn't reach the transformer, or its weights are all 0"
        )
    return sum(changes) / len(changes)


def save_learned(learner: Any, config: EditorSftConfig, weights: Weights, folder: Path) -> Path:
    """Write what was learned, as the edit job loads it: the same bytes for the same weights.

    Args:
        learner: of `load_learner`.
        config: of the training.
        weights: the pipeline's files.
        folder: where to.

    Returns:
        The folder below it, `LORA` or `MODEL`.
    """
    kind = import_pipeline(config.editor.pipeline)
    transformer = learner.transformer.to("cpu")
    if not isinstance(config.tuning, EditorLora):
        pipe = load_pipeline(
            kind, Path(weights.path), config.editor.pipeline, config.editor.dtype, transformer=transformer
        )
        pipe.save_pretrained(folder / MODEL, max_shard_size="2GB")
        return folder / MODEL
    from peft.utils.save_and_load import get_peft_model_state_dict

    layers = get_peft_model_state_dict(transformer, adapter_name="default")
    save_lora(kind, layers, transformer.peft_config["default"].to_dict(), folder / LORA)
    return folder / LORA


def save_lora(kind: Any, layers: Mapping[str, Tensor], settings: Mapping[str, Any], folder: Path) -> None:
    """Write an adapter as diffusers loads it: the same bytes for the same weights.

    Args:
        kind: the pipeline's class.
        layers: its weights by name, as peft names them.
        settings: of the adapter, as peft has them.
        folder: where to.
    """
    kind.save_lora_weights(
        folder, transformer_lora_layers=layers, save_function=partial(_save_lora, settings=settings)
    )


def find_guidance(transformer: Any, editor: TaughtEditorConfig) -> float:
    """The guidance scale that a transformer is told.

    Args:
        transformer: of diffusers.
        editor: how it is to be taught.

    Raises:
        ConfigError: one is given, and it takes none.
    """
    if editor.guidance is not None and not getattr(transformer.config, "guidance_embeds", False):
        raise ConfigError(
            "editor.guidance: has no effect, since this transformer is told no guidance scale; leave it out"
        )
    return 1.0 if editor.guidance is None else editor.guidance


def _save_lora(weights: Mapping[str, Tensor], file: str, settings: Mapping[str, Any]) -> None:
    """As diffusers does, with the rank and alpha that it reads. Of its own it would write sets, and several
    names of metadata, in another order each time."""
    from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
    from safetensors.torch import save_file

    said = {f"transformer.{key}": sorted(v) if isinstance(v, set) else v for key, v in settings.items()}
    metadata = {LORA_ADAPTER_METADATA_KEY: json.dumps(said, sort_keys=True)}
    save_file({name: value.detach().contiguous() for name, value in weights.items()}, file, metadata)


def _add_adapter(transformer: Any, tuning: EditorLora, flow: Flow) -> None:
    import torch
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig

    linear = [
        name
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear) and "blocks." in name
    ]
    found: set[str] = set()
    for target in tuning.targets or flow.targets:
        named = {name for name in linear if name.endswith(f".{target}")}
        if tuning.targets and not named:
            ends = sorted({name.split(".", 2)[-1] for name in linear})
            raise ConfigError(
                f"tuning.targets: there is no linear layer {target!r} in the transformer's blocks; they have "
                f"{', '.join(ends)}"
            )
        found |= named
    settings: Any = {"lora_alpha": tuning.alpha}
    transformer.add_adapter(LoraConfig(r=tuning.r, target_modules=sorted(found), **settings))
    cast_training_params(transformer, dtype=torch.float32)


def _continue_adapter(transformer: Any, folder: Path) -> None:
    """Give the transformer an adapter that was learned before, to learn on."""
    import torch
    from diffusers.training_utils import cast_training_params

    file = find_lora_file(folder, None, "adapter")
    try:
        transformer.load_lora_adapter(
            str(file.parent), weight_name=file.name, adapter_name="default", local_files_only=True
        )
    except Exception as error:  # a boundary: adapters come in many forms
        raise ConfigError(f"adapter: {file} can't be loaded: {describe(error)}") from error
    if "default" not in getattr(transformer, "peft_config", {}):
        raise ConfigError(f"adapter: nothing in {file} fits this transformer; was it trained on it?")
    for name, weight in transformer.named_parameters():
        weight.requires_grad_(".default." in name)
    cast_training_params(transformer, dtype=torch.float32)


def move_batch(batch: Mapping[str, Any], learner: Any) -> dict[str, Any]:
    """Arguments of a forward pass, where the learner is.

    Args:
        batch: tensors, or mappings of them, by name.
        learner: of `load_learner`.
    """
    device = next(learner.parameters()).device
    return {
        name: {key: part.to(device) for key, part in value.items()}
        if isinstance(value, Mapping)
        else value.to(device)
        for name, value in batch.items()
    }
