"""Trainings on Ray Train: workers that learn together in one process group of torch's.

What a training keeps is in its own store, and not Ray Train's business: here are only its processes.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.config import LoggingConfig
from ray.train.v2.api.exceptions import TrainingFailedError

from mira_batch.config.shared import WorkersConfig
from mira_batch.config.train import TrainWorkersConfig
from mira_batch.core.errors import ClusterLost, JobError, UserError, describe
from mira_batch.runtime.backends import TrainFunction
from mira_batch.runtime.backends.cluster import ray_session
from mira_batch.runtime.backends.errors import pack_error, unpack_error
from mira_batch.runtime.backends.nodes import stay_here

_LOOK = 0.5
"""Seconds between looks at what the workers said."""


@ray.remote(num_cpus=0)
class _Desk:
    """Where workers leave what is for the driver."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._refusal: dict[str, str] | None = None

    def note(self, text: str) -> None:
        """A line for people."""
        self._lines.append(text)

    def refuse(self, packed: dict[str, str]) -> None:
        """An error that no other try would mend; the first one counts."""
        self._refusal = self._refusal or packed

    def take(self) -> tuple[list[str], dict[str, str] | None]:
        """The lines since the last call, and the refusal."""
        lines, self._lines = self._lines, []
        return lines, self._refusal


def train_on_ray(
    function: TrainFunction,
    settings: Mapping[str, Any],
    workers: TrainWorkersConfig,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """As `runtime.training.run_training`, on the cluster there is or on a Ray of our own on this machine.

    Args:
        function, settings, workers, note: as there.

    Raises:
        UserError: the function raised it.
        ClusterLost: Ray died, or workers did more often than `workers.retries`.
    """
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    room = WorkersConfig(min=workers.num, cpus=workers.cpus, gpus=workers.gpus)
    with ray_session(room) as held:
        deaths = 0
        while True:
            found = _try_once(function, settings, workers, note)
            if not isinstance(found, TrainingFailedError):
                return found
            deaths += 1
            if held.wait_lost():
                raise ClusterLost(held.lost)
            if deaths > workers.retries:
                raise ClusterLost(
                    f"workers died {deaths} times (workers.retries: {workers.retries}), the last time so: "
                    f"{_shorten(found)}; what is done is kept, and the same command goes on"
                )
            note(f"a worker died ({_shorten(found)}); all begin again from the newest checkpoint")


def _try_once(
    function: TrainFunction,
    settings: Mapping[str, Any],
    workers: TrainWorkersConfig,
    note: Callable[[str], None],
) -> dict[str, Any] | TrainingFailedError:
    """What the first worker returned, or how workers died."""
    desk: Any = _Desk.options(scheduling_strategy=stay_here()).remote()
    folder = tempfile.mkdtemp(prefix="mira-batch-ray-train-")
    trainer = TorchTrainer(
        partial(_work, function, desk),
        train_loop_config=dict(settings),
        torch_config=TorchConfig(backend="nccl" if workers.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers.num,
            use_gpu=workers.gpus > 0,
            resources_per_worker={"CPU": workers.cpus, **({"GPU": workers.gpus} if workers.gpus else {})},
        ),
        run_config=RunConfig(
            storage_path=folder,  # of its notes; checkpoints are in our own store
            failure_config=FailureConfig(max_failures=0),
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )
    done = threading.Event()

    def listen() -> None:
        while not done.wait(_LOOK):
            _tell(desk, note)

    listening = threading.Thread(target=listen, name="training", daemon=True)
    listening.start()
    try:
        return trainer.fit().return_value or {}
    except TrainingFailedError as error:
        done.set()
        listening.join()
        if refusal := _tell(desk, note):
            raise unpack_error(refusal) from None
        return error
    finally:
        done.set()
        listening.join()
        _tell(desk, note)
        shutil.rmtree(folder, ignore_errors=True)


def _work(function: TrainFunction, desk: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What each worker runs."""

    def note(text: str) -> None:
        desk.note.remote(text)

    try:
        return function(settings, note)
    except (UserError, JobError) as error:
        ray.get(desk.refuse.remote(pack_error(error)))
        raise


def _tell(desk: Any, note: Callable[[str], None]) -> dict[str, str] | None:
    lines, refusal = ray.get(desk.take.remote())
    for line in lines:
        note(line)
    return refusal


def _shorten(error: BaseException) -> str:
    """How a worker died, in a line: the last of what Ray says."""
    lines = [line.strip() for line in describe(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
