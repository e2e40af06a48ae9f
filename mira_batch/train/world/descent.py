"""Steps of an optimizer, as the pretrainings of the world's models make them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_WARM_UP = 0.05
"""Share of the steps until a rate is reached."""
_DECAY = 0.01
"""Of weights, times the rate, at each step."""


class Descent:
    """So many steps of AdamW, and of Muon for matrices if some are named, at rates that rise and fall as a
    cosine."""

    def __init__(
        self,
        weights: Sequence[Any],
        rate: float,
        steps: int,
        matrices: Sequence[Any] = (),
        muon_rate: float = 0.0,
    ) -> None:
        """
        Args:
            weights: that learn, all of them.
            rate: the highest, of AdamW.
            steps: how many there will be.
            matrices: those of the weights that Muon moves.
            muon_rate: the highest, of Muon, in the scale of AdamW's.
        """
        import torch

        self._weights, self._steps = weights, steps
        turned = {id(each) for each in matrices}
        others = [each for each in weights if id(each) not in turned]
        self._optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=_DECAY), rate)
        ]
        if matrices:
            muon = torch.optim.Muon(
                matrices, lr=muon_rate, weight_decay=_DECAY, adjust_lr_fn="match_rms_adamw"
            )
            self._optimizers.append((muon, muon_rate))
        self.step = 0
        self.loss = math.nan

    @property
    def gone(self) -> float:
        """Share of the steps that are made."""
        return self.step / self._steps

    def descend(self, loss: Tensor) -> None:
        """Make one step."""
        import torch

        risen = min(1.0, (self.gone + 0.1 * _WARM_UP) / _WARM_UP)
        for optimizer, rate in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * risen * (0.505 + 0.495 * math.cos(math.pi * self.gone))
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        for optimizer, _ in self._optimizers:
            optimizer.step()
        self.loss = float(loss.detach())
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        states = [optimizer.state_dict() for optimizer, _ in self._optimizers]
        return {"optimizers": states, "step": self.step, "loss": self.loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        for (optimizer, _), kept in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.step, self.loss = state["step"], state["loss"]
