"""Steps of an optimizer, as the pretrainings of the world's models make them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_WARM_UP = 0.05
"""Share of the steps until a rate is reached."""


class Descent:
    """So many steps of AdamW, at a rate that rises and falls as a cosine."""

    def __init__(self, weights: Sequence[Any], rate: float, steps: int) -> None:
        """
        Args:
            weights: that learn.
            rate: the highest.
            steps: how many there will be.
        """
        import torch

        self._weights, self._rate, self._steps = weights, rate, steps
        self._optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
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
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * risen * (0.505 + 0.495 * math.cos(math.pi * self.gone))
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._weights, 1.0)
        self._optimizer.step()
        self.loss = float(loss.detach())
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"optimizer": self._optimizer.state_dict(), "step": self.step, "loss": self.loss}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.loss = state["step"], state["loss"]
