"""Ray, held by a thread of its own: started, watched and shut down there."""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

import ray
from ray._private import node as ray_node
from ray._private import ray_constants
from ray._private import services as ray_services
from ray._private import state as ray_state
from ray._private import utils as ray_utils
from ray._private import worker as ray_worker

from mira_batch.core.errors import ClusterLost, MiraError, describe
from mira_batch.core.processes import (
    find_children,
    find_process,
    is_running,
    kill_with_descendants,
    read_command,
)

_LOOK = 0.5
"""Seconds between looks at what Ray can't go on without. Where it dies, Ray ends this process, from C++ and
without a word, after 12 s (raylet) or 60 s (GCS)."""
_PATIENCE = 40.0
"""Seconds that a cluster's GCS may be out of reach: where it is made to survive, it is started again."""
_STARTING = 90.0
"""Most seconds that a start may take. Ray's own limits, of 30 s and 60 s, come first where it has some."""
_ENDING = 30.0
"""Most seconds that shutting Ray down may take."""


class HeldRay:
    """A Ray of our own, or a connection to one that is there.

    The thread keeps the main one free to hear signals: in that one `ray.init` would replace the handler of
    SIGTERM by one that exits at once, and no handler runs during long calls in C++. It also outlives all
    it starts: on Linux Ray's processes die with the thread that made them.
    """

    def __init__(self, options: dict[str, Any] | None, own: bool) -> None:
        """Nothing happens before `start`.

        Args:
            options: those of `ray.init`; None where this process is connected already.
            own: Ray is started on this machine, and not found there.
        """
        self.lost = ""
        """What died, for people; empty while all is well."""
        self.on_lost: Callable[[], None] = lambda: None
        """Called by the thread when `lost` is set."""
        self._options = options
        self._own = own
        self._before = set(find_children(os.getpid()))
        self._started: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._leave = threading.Event()
        self._abandoned = False
        self._workers: list[int] = []  # a raylet that died leaves them behind, as nobody's children
        self._found_lost = threading.Event()
        self._thread = threading.Thread(target=self._hold, name="ray", daemon=True)

    def start(self) -> None:
        """Be connected to Ray; raises whatever `ray.init` does, and TimeoutError where it does nothing."""
        self._thread.start()
        try:
            error = self._started.get(timeout=_STARTING)
        except queue.Empty:
            error = TimeoutError(f"nothing happened for {_STARTING:.0f} s")
            self._abandoned = True
        if error is not None:
            raise error

    def wait_lost(self) -> str:
        """`lost`, as the next look has it."""
        self._found_lost.wait(3 * _LOOK)
        return self.lost

    def end(self) -> None:
        """Shut Ray down, unless it was there before."""
        self._leave.set()
        if not self.lost and not self._abandoned:  # else the thread stays
            self._thread.join(timeout=_ENDING)
        self._kill_processes()

    def _hold(self) -> None:
        try:
            if self._options is not None:
                # Else its core puts a handler before ours of SIGTERM, which prints a stack and aborts. Not by
                # the environment, which workers inherit: how they crash is read from what it prints.
                ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True
                with _adapt_node() if self._own else nullcontext():
                    ray.init(**self._options)
            watch = _Watch(0.0 if self._own else _PATIENCE)
        except BaseException as error:  # the thread's boundary
            with suppress(Exception):
                ray.shutdown()
            self._kill_processes()
            self._started.put(error)
            return
        self._started.put(None)
        while not self._leave.wait(_LOOK):
            self._workers = watch.find_workers() or self._workers
            if lost := watch.look():
                self.lost = f"{lost}; what is done is kept, and the same command goes on"
                self._found_lost.set()
                self.on_lost()
                threading.Event().wait()  # its processes end with this thread; `end` needs them
        if self._options is not None:
            ray.shutdown(wait_for_processes=True)

    def _kill_processes(self) -> None:
        """What Ray left running of what it started here."""
        if self._own:
            started = set(find_children(os.getpid())) - self._before
            rays = [pid for pid in started if "/ray/" in " ".join(read_command(pid))]
            kill_with_descendants(rays + self._workers)


def explain(held: HeldRay, error: Exception, doing: str) -> MiraError:
    """What to say of something that Ray raised, which may be the first sign that it died.

    Args:
        held: the Ray that raised it.
        error: what it raised.
        doing: what it could not do.
    """
    if lost := held.wait_lost():
        return ClusterLost(lost)
    failure = MiraError(f"Ray could not {doing}: {describe(error)}")
    failure.__cause__ = error
    return failure


@contextmanager
def _adapt_node() -> Iterator[None]:
    """Start Ray as one job on one machine needs it: without what nobody asks anything of.

    Left out are the autoscaler's monitor, the reader of logs that are not passed on, and the server of the
    dashboard and of submitted jobs; of the dashboard's agent, which Ray insists on, all but its core, as
    where Ray is installed without the dashboard's packages. Each imports for seconds, at the very time when
    workers do. No option of `ray.init` leaves them out.

    On Linux its processes are in groups of their own, so that a signal for all of ours (of `timeout`, of a
    terminal that is closed) leaves them to end the run in order. Elsewhere Ray ends them by our group.
    """
    adapted: list[tuple[Any, str, Callable[..., Any]]] = [
        (ray_node.Node, "start_monitor", lambda *_, **__: None),
        (ray_node.Node, "start_log_monitor", lambda *_, **__: None),
        (ray_node.Node, "start_api_server", lambda *_, **__: None),
        (ray_utils, "get_dashboard_dependency_error", lambda: ImportError("not wanted")),
        (ray_services, "get_node", partial(_find_node, ray_services.get_node)),
    ]
    if sys.platform == "linux":
        own_group = partial(ray_services.ConsolePopen, process_group=0)
        adapted.append((ray_services, "ConsolePopen", own_group))
    kept = [getattr(owner, name) for owner, name, _ in adapted]
    for owner, name, other in adapted:
        setattr(owner, name, other)
    try:
        yield
    finally:
        for (owner, name, _), own in zip(adapted, kept, strict=True):
            setattr(owner, name, own)


def _find_node(find: Callable[[str, str], dict[str, Any]], gcs: str, node: str) -> dict[str, Any]:
    """What `find` finds, as soon as it is there: by itself it looks once a second, and a raylet takes about
    that long to register."""
    state = ray_state.GlobalState()
    state._initialize_global_state(ray_services._get_gcs_client_options(gcs))
    end = time.monotonic() + _STARTING / 3
    while time.monotonic() < end and all(each["NodeID"] != node for each in state.node_table()):
        time.sleep(0.02)
    state.disconnect()
    return find(gcs, node)


class _Watch:
    """Looks whether the raylet of this machine and the cluster's GCS are there."""

    def __init__(self, patience: float) -> None:
        node = ray_worker._global_node  # None where Ray is reached through its client server
        raylet = getattr(node, "raylet_socket_name", None)
        self._raylet = find_process(f"--raylet_socket_name={raylet}") if raylet else None
        self._gcs: str = getattr(node, "gcs_address", None) or ""
        self._patience = patience
        self._answered = time.monotonic()

    def find_workers(self) -> list[int]:
        """Processes that the raylet started."""
        return find_children(self._raylet) if self._raylet is not None else []

    def look(self) -> str:
        """What is gone; empty if all is there."""
        if self._raylet is not None and not is_running(self._raylet):
            return f"Ray's raylet on this machine (process {self._raylet}) died"
        if self._gcs:
            now = time.monotonic()
            if _answers(self._gcs):
                self._answered = now
            elif now - self._answered > self._patience + 2 * _LOOK:
                return f"Ray's GCS, which all of it needs, is gone: nothing answers at {self._gcs}"
        return ""


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True
