"""The editor's transformer in an update: two adapters on one model, one that learns and that of the policy
that drew the samples, and a moving average of the first.

Shapes: B samples of a batch, N tokens of an image's latents, C channels of a token.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.core.types import Weights
from mira_batch.models.diffusion import TARGET, Flow, import_pipeline
from mira_batch.train.editor.flow import interpolate
from mira_batch.train.editor.learner import load_learner, move_batch, save_lora
from mira_batch.train.editor.nft import blend_weights, choose_retention, measure_drift, nft_loss
from mira_batch.train.nft.record import LORA, SAMPLING, TRAINED, WEIGHTS, Iteration
from mira_batch.train.optimizer import choose_arithmetic, take_step

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LEARNING, _BEGUN = "default", "begun"
"""Names of the adapter that learns, and of that which the training began with."""
_PREFIX = "transformer."
"""What diffusers puts before the names of a transformer's weights in an adapter's file."""


class NftLearner:
    """The model of an update, as the iteration before has left it."""

    def __init__(
        self,
        config: EditorNftConfig,
        weights: Weights,
        flow: Flow,
        device: torch.device,
        before: Iteration | None,
        adapter: Weights | None = None,
    ) -> None:
        """
        Args:
            config: of the training.
            weights: the pipeline's files.
            flow: how its family is taught.
            device: where the model goes.
            before: files of the iteration before; None: this is the first.
            adapter: that the training began with; None: it has none.

        Raises:
            ConfigError: the model can't be loaded, a layer that is to learn isn't there, or guidance has no
                effect.
            StoreError: an adapter of the iteration before is gone.
        """
        self.module = load_learner(config, weights, flow, device, adapter)
        """Whose forward pass and `predict` are of the adapter that learns."""
        self.device = device
        self._config = config
        self._transformer = self.module.transformer
        self._begun = adapter is not None and bool(config.loss.drift_weight)
        for name in (SAMPLING, *([_BEGUN] if self._begun else ())):
            _add_another(self._transformer, name)
        if self._begun:
            blend_weights(self._name_weights(_BEGUN), self._name_weights(_LEARNING), 0.0)
        if before is None:
            blend_weights(self._name_weights(SAMPLING), self._name_weights(_LEARNING), 0.0)
            self.average = {name: part.detach().clone() for name, part in self._layers(_LEARNING).items()}
        else:
            self._set_layers(_LEARNING, _read_layers(before, TRAINED))
            self._set_layers(SAMPLING, _read_layers(before, SAMPLING))
            self.average = {
                name: part.to(device, copy=True) for name, part in _read_layers(before, LORA).items()
            }
        self._transformer.set_adapter(_LEARNING)

    @property
    def weights(self) -> list[Any]:
        """Those that learn, in an order that stays."""
        return [weight for _, weight in sorted(self._name_weights(_LEARNING).items())]

    def backward(self, batch: Mapping[str, Any], optimality_B: Tensor, samples: int) -> tuple[float, float]:
        """Add this worker's gradients of a part of a step.

        Args:
            batch: parts, times (B,) and noise (B, N, C).
            optimality_B: of `compute_optimality`.
            samples: of the whole step.

        Returns:
            The sums of loss, without drift, and drift.
        """
        import torch

        given, settings = move_batch(batch, self.module), self._config.loss
        parts, times = given["parts"], given["times"]
        image = parts[TARGET].flatten(1, 2)
        points = interpolate(image, given["noise"], times)
        reference: Tensor | None = None
        with torch.no_grad():
            if settings.drift_weight:
                reference = self._ask_reference(parts, times, points)
            self._transformer.set_adapter(SAMPLING)
            sampling = self._predict(parts, times, points)
        # The passes without gradient come first: of checkpointed activations a layer is computed again in the
        # backward pass, with the adapter that is in use then.
        self._transformer.set_adapter(_LEARNING)
        learning = self._predict(parts, times, points)
        optimality = optimality_B.to(image.device)
        losses = nft_loss(learning, sampling, points, times, image, optimality, settings.beta, settings.clip)
        total, drift = losses.sum(), 0.0
        if reference is not None:
            drifts = measure_drift(learning, reference).sum()
            total, drift = total + settings.drift_weight * drifts, float(drifts.detach())
        (total / samples).backward()
        return float(losses.detach().sum()), drift

    def step(self, optimizer: Any) -> float:
        """A step of the optimiser by the gradients of all workers, and one of the average; the gradients'
        norm before it was cut.

        Raises:
            UserError: the gradients are no numbers any more.
        """
        norm = take_step(optimizer, self.weights, self._config.optimizer.max_grad_norm)
        blend_weights(self.average, self._layers(_LEARNING), self._config.ema)
        return norm

    def follow(self, iteration: int) -> float:
        """Move the policy that samples towards the one that learns; the share that it keeps.

        Args:
            iteration: from 0.
        """
        settings = self._config.retention
        kept = choose_retention(iteration, settings.slope, settings.most)
        blend_weights(self._name_weights(SAMPLING), self._name_weights(_LEARNING), kept)
        return kept

    def save(self, folder: Path) -> None:
        """Write all three adapters as diffusers loads them.

        Args:
            folder: of this machine; each gets one of its own there.
        """
        kind = import_pipeline(self._config.editor.pipeline)
        settings = self._transformer.peft_config[_LEARNING].to_dict()
        adapters = {
            TRAINED: self._layers(_LEARNING),
            SAMPLING: self._layers(SAMPLING),
            LORA: self.average,
        }
        for name, layers in adapters.items():
            save_lora(kind, {key: part.cpu() for key, part in layers.items()}, settings, folder / name)

    def _ask_reference(self, parts: dict[str, Tensor], times: Tensor, points: Tensor) -> Tensor:
        """What the model says that the training began with."""
        if self._begun:
            self._transformer.set_adapter(_BEGUN)
            return self._predict(parts, times, points)
        self._transformer.disable_adapters()
        found = self._predict(parts, times, points)
        self._transformer.enable_adapters()
        return found

    def _predict(self, parts: dict[str, Tensor], times: Tensor, points: Tensor) -> Tensor:
        with choose_arithmetic(self._config.precision, self.device):
            return self.module.predict(parts, times, points).float()

    def _name_weights(self, adapter: str) -> dict[str, Any]:
        """Its weights by names that are the same for each adapter."""
        return {
            name.replace(f".{adapter}.", "."): weight
            for name, weight in self._transformer.named_parameters()
            if f".{adapter}." in name
        }

    def _layers(self, adapter: str) -> dict[str, Tensor]:
        from peft.utils.save_and_load import get_peft_model_state_dict

        return get_peft_model_state_dict(self._transformer, adapter_name=adapter)

    def _set_layers(self, adapter: str, layers: Mapping[str, Tensor]) -> None:
        import torch

        with torch.no_grad():
            for name, part in self._layers(adapter).items():
                part.copy_(layers[name])


def _add_another(transformer: Any, name: str) -> None:
    """Add an adapter of the same shape as that which learns; it is the one in use then."""
    import torch
    from diffusers.training_utils import cast_training_params

    with warnings.catch_warnings():
        # Several adapters are what is wanted here.
        warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
        transformer.add_adapter(copy.deepcopy(transformer.peft_config[_LEARNING]), name)
    cast_training_params(transformer, dtype=torch.float32)


def _read_layers(files: Iteration, adapter: str) -> dict[str, Tensor]:
    from safetensors.torch import load

    found = load(files.read_bytes(f"{adapter}/{WEIGHTS}"))
    return {name.removeprefix(_PREFIX): part for name, part in found.items()}
