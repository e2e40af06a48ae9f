"""Connects to Ray, or starts one on this machine for as long as the job runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.data import DataContext

from mira_batch.config.bulk_edit import WorkersConfig
from mira_batch.core.errors import ConfigError


@contextmanager
def ray_session(workers: WorkersConfig) -> Iterator[None]:
    """A connection to Ray: the one that is there, the cluster of RAY_ADDRESS, or one of our own.

    Raises:
        ConfigError: the cluster can never place the smallest pool.
    """
    _quiet()
    if ray.is_initialized():
        _check_room(workers)
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        with _hushed():
            ray.init(logging_level=logging.ERROR, log_to_driver=False)
    else:
        # Ray's CPUs are a count, not a fence: enough of them that the whole pool and the plan's tasks
        # fit beside each other, also on a small laptop.
        cpus = max(os.cpu_count() or 1, int(workers.most * workers.cpus) + 1)
        with _hushed():
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                object_store_memory=200_000_000,  # only names and receipts pass through it
            )
    try:
        _check_room(workers)
        yield
    finally:
        ray.shutdown()


def _check_room(workers: WorkersConfig) -> None:
    """A cluster may be growing just now, so there a lack is only reported; on this machine it is final."""
    total = ray.cluster_resources()
    for resource, each in (("CPU", workers.cpus), ("GPU", workers.gpus)):
        have = total.get(resource, 0)
        if have >= each:
            continue
        lack = f"workers.{resource.lower()}s: a worker needs {each:g} {resource}, there are {have:g}"
        if not os.environ.get("RAY_ADDRESS"):
            raise ConfigError(f"{lack} on this machine; lower it, or run on a cluster (RAY_ADDRESS)")
        logging.getLogger(__name__).warning("%s in the cluster now; waiting until there are more", lack)


@contextmanager
def _hushed() -> Iterator[None]:
    """Start Ray's core without its notes on file descriptor 2, which pass Python by.

    Its log is cut to what is fatal, because it calls every actor pool of Ray Data's an error (the pool's
    constructor arguments live in the driver's object store; without the driver there is no job anyway);
    and that it was cut it announces too.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _quiet() -> None:
    """Our own progress replaces Ray Data's bars and notes."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
