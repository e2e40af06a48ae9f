"""Connects to Ray, or starts one on this machine for as long as the job runs."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray._private import worker as ray_worker
from ray.exceptions import RpcError

from mira_batch.config.shared import WorkersConfig
from mira_batch.core.errors import ConfigError, describe
from mira_batch.runtime.backends.processes import shorten_note
from mira_batch.runtime.backends.session import HeldRay

_CONNECT_SECONDS = 10.0
_listen_error_messages = ray_worker.listen_error_messages
notes = logging.getLogger("mira_batch.ray")
"""Ray's own words on workers that died and why. Disabled while a pool is ended on purpose."""
_TOO_SLOW = "timed out during startup"
"""What Ray says when its raylet isn't up in 30 s, which no setting changes: the machine was too busy just
then, and a second start mostly succeeds."""


@contextmanager
def ray_session(workers: WorkersConfig) -> Iterator[HeldRay]:
    """A connection to Ray: the one that is there, the cluster of RAY_ADDRESS, or one of our own.

    Raises:
        ConfigError: Ray can't be reached or doesn't start, or can never place the smallest pool.
    """
    _quieten()
    address = os.environ.get("RAY_ADDRESS")
    options = None if ray.is_initialized() else _find_options(workers, address)
    own = options is not None and not address
    with _hush_stderr():
        try:
            held = _start(options, own)
        except Exception as error:  # Ray raises what it likes
            raise ConfigError(_explain(address, error)) from error
    try:
        _check_room(workers)
        yield held
    finally:
        held.end()


def _start(options: dict[str, Any] | None, own: bool) -> HeldRay:
    """Ray, connected. One of our own that is too slow is started once more; one that fails leaves nothing."""
    for last in (not own, True):
        held = HeldRay(options, own)
        try:
            held.start()
            return held
        except BaseException as error:
            held.end()
            if last or _TOO_SLOW not in str(error):
                raise
    raise AssertionError("unreachable")


def _find_options(workers: WorkersConfig, address: str | None) -> dict[str, Any]:
    """What `ray.init` is to be called with."""
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address:
        _check_reachable(address)
        return quiet
    # Ray's CPUs are a count, not a fence: enough of them that the whole pool and the plan's tasks
    # fit beside each other, also on a small laptop.
    cpus = max(os.cpu_count() or 1, int(workers.most * workers.cpus) + 1)
    own = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    return quiet | own | {"object_store_memory": 200_000_000}  # only names and receipts pass through it


def _explain(address: str | None, error: Exception) -> str:
    why = " ".join(describe(error).split())
    if address:
        return (
            f"RAY_ADDRESS={address}: can't connect to this cluster: {why}. Is it up, and of this "
            "version of Ray? Leave RAY_ADDRESS out to run on this machine"
        )
    return (
        f"Ray did not start on this machine: {why}. Run the same command again, when the machine is less "
        "busy if that was too slow; or with --set backend=inline, which needs no Ray"
    )


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


def _check_reachable(address: str) -> None:
    """Ray itself waits for minutes, in silence, for a cluster that isn't there."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):  # auto, local: Ray looks for it
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(
            f"RAY_ADDRESS={address}: nothing answers there ({error.strerror or error}); is the cluster up? "
            "Leave RAY_ADDRESS out to run on this machine"
        ) from error


@contextmanager
def _hush_stderr() -> Iterator[None]:
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


def _quieten() -> None:
    """Our own progress replaces Ray's notes."""
    # What happens to workers Ray prints on stdout, in the middle of a `--json` document.
    ray_worker.print_to_stdstream = _log_note
    ray_worker.listen_error_messages = _listen
    notes.disabled = False


def _listen(worker: Any, stopped: threading.Event) -> None:
    """What a thread of Ray's does. It would show a traceback where the GCS is gone before it has begun, which
    `session.py` sees and says."""
    with suppress(RpcError):
        _listen_error_messages(worker, stopped)


def _log_note(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    for text in data["lines"]:
        if "Raylet is terminated" in text and not os.environ.get("RAY_ADDRESS"):
            continue  # the only one there is: `session.py` says so, in one line
        if words := shorten_note(text.strip()):
            notes.warning("ray: %s", words)
