"""What machines cost, and a limit of cost that could never end anything."""

from __future__ import annotations

from pydantic import Field

from mira_batch.config.base import Strict


class PricesConfig(Strict):
    """What the machine costs, so that a run can say what it cost. Endpoints bring their models' `prices`."""

    gpu_hour: float = Field(default=0.0, ge=0)
    """US dollars for an hour of one GPU. A worker pays for `workers.gpus` of them from its start to its last
    commit."""


def check_max_cost(max_cost: float | None, gpus: float, prices: PricesConfig, charges: bool) -> None:
    """Refuse a limit of cost that what it is to bound can never reach.

    Args:
        max_cost: `limits.max_cost`, US dollars; None sets none.
        gpus: GPUs of a worker.
        prices: of the machine.
        charges: whether the calls of any model have a price.

    Raises:
        ValueError: saying which prices to set.
    """
    if max_cost is None:
        return
    if gpus and not prices.gpu_hour:
        raise ValueError("limits.max_cost needs prices.gpu_hour, without which GPUs would cost nothing")
    if not gpus and not charges:
        raise ValueError(
            "limits.max_cost could never be reached, since nothing here has a price: set `prices` of an "
            "endpoint (editor.prices, policy.prices, judge.model.prices), or workers.gpus and "
            "prices.gpu_hour; or leave it out"
        )
