"""Runs a training function in workers that learn together: on Ray Train, or once in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from mira_batch.config.train import TrainWorkersConfig
from mira_batch.runtime.backends import TrainFunction


def run_training(
    function: TrainFunction,
    settings: Mapping[str, Any],
    workers: TrainWorkersConfig,
    backend: Literal["ray", "inline"],
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Run a training to its end; what the first worker's function returns.

    A worker that dies ends all; they are begun again, up to `workers.retries` times, and the function goes on
    from whatever it has kept. An error of settings or data ends the training at once.

    Args:
        function: run by each worker.
        settings: for it.
        workers: how many, and on what.
        backend: ray, or inline for one in this process.
        note: told what the first worker says.

    Raises:
        UserError: the function raised it.
        ClusterLost: workers died more often than that.
    """
    if backend == "inline":
        return function(settings, note)
    from mira_batch.runtime.backends.training import train_on_ray

    return train_on_ray(function, settings, workers, note)
