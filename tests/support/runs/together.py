"""Trainings by several workers without Ray: processes of torch's own, which are there sooner."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from mira_batch.runtime.backends import TrainFunction


def train_together(
    trainings: Sequence[dict[str, Any] | Callable[[], None]],
    workers: int = 2,
    function: TrainFunction | None = None,
) -> None:
    """Trainings one after another, by the same processes over gloo: as Ray Train's do, and no driver.

    Args:
        trainings: settings of each, and what the first worker has to do between them.
        workers: how many.
        function: what each of them runs, of the settings; None: a training by demonstrations.
    """
    import torch.multiprocessing

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_work, (list(trainings), workers, port, function), nprocs=workers)


def _work(
    rank: int,
    trainings: list[dict[str, Any] | Callable[[], None]],
    workers: int,
    port: int,
    function: TrainFunction | None,
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(workers),
        "LOCAL_WORLD_SIZE": str(workers),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    import torch

    from mira_batch.train.sft import train_policy

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=workers)
    for each in trainings:
        if not callable(each):
            (function or train_policy)(each, lambda text: None)
        elif rank == 0:
            each()
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()
