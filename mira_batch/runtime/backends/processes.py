"""The processes of workers on Ray: whether one lives, how one ended, and how to end one that answers nobody.

Ray restarts an actor in a new process under the old name, so all this goes by the process's own id. Ray has
no public way to ask for a single process: `_find_entry` is the one place that looks into its tables.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private.state import state as ray_state
from ray._private.worker import global_worker
from ray.core.generated import common_pb2, gcs_pb2
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mira_batch.core.text import MOST_MESSAGE, show_text
from mira_batch.core.types import ErrorKind, Failure
from mira_batch.runtime.backends.nodes import find_loss, is_up
from mira_batch.runtime.loss import Loss

_EXITS: Any = common_pb2.WorkerExitType  # pyright: ignore[reportAttributeAccessIssue]
_Entry: Any = gcs_pb2.WorkerTableData  # pyright: ignore[reportAttributeAccessIssue]
_SIGNAL = re.compile(r"\*\*\* (SIG[A-Z0-9]+) received")
"""How the last words of a process that crashed begin, in its log."""
LAST_WORDS = "worker leaves: "
"""Begins the line in its log with which a worker says why it leaves."""
_LAST_WORDS = re.compile(rf"^{LAST_WORDS}(.*)$", re.MULTILINE)
_RETRY = re.compile(r"Task \S+ failed\. There are infinite retries remaining")
_DEATH = re.compile(
    r"A worker died or was killed .* Worker ID: (?P<id>[0-9a-f]+) Node ID: (?P<node>[0-9a-f]+) .* "
    r"Worker PID: (?P<pid>\d+) Worker exit type: (?P<type>\w+) Worker exit detail: (?P<detail>.*)"
)
_NODE_DEATH = re.compile(r"The node with node id: .* and address: (?P<address>\S+) .* has been marked dead")
_EXIT_CODE = re.compile(r"exit code (-?\d+)")
_killed: set[str] = set()
"""Ids of the processes that this one had killed."""
_TAIL = 1 << 16
"""Bytes at the end of a log in which they are looked for."""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """One process of a worker."""

    id: str
    """Ray's name for it, which is never used again."""
    node: str
    """Ray's name of the node that it is on."""
    pid: int
    host: str
    oom_kills: int = 0
    """How often the kernel had killed on its node for lack of memory, when it started."""

    def __str__(self) -> str:
        return f"{self.host}-{self.pid}"


def find_own_process() -> WorkerProcess:
    """This process, which is a worker's."""
    context = ray.get_runtime_context()
    own = context.get_worker_id(), context.get_node_id(), os.getpid(), socket.gethostname()
    return WorkerProcess(*own, count_oom_kills())


def is_alive(process: WorkerProcess) -> bool:
    """Whether a process is there, stopped or hung as it may be. Of those that were lost with their node Ray
    never says that they are not."""
    entry = _find_entry(process.id)
    return entry is not None and entry.is_alive and is_up(process.node)


def count_oom_kills() -> int:
    """How often the kernel of this node has killed a process for lack of memory; 0 where it doesn't say."""
    with suppress(OSError):
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0


def explain_exit(process: WorkerProcess, own: WorkerProcess) -> Failure | None:
    """How a process ended, as far as Ray knows, and if it was on this node, its log and the kernel.

    Args:
        process: it.
        own: the process that asks.
    """
    entry = _find_entry(process.id)
    if entry is None or entry.is_alive:
        return None
    starved = process.node == own.node and count_oom_kills() > process.oom_kills
    how = describe_exit(_EXITS.Name(entry.exit_type), entry.exit_detail, _read_log(process.id), starved)
    return Failure(ErrorKind.worker_crash, how)


def describe_exit(exit_type: str, detail: str, log: str, starved: bool = False) -> str:
    """How a process ended, in words.

    Args:
        exit_type: the name of Ray's `WorkerExitType`.
        detail: Ray's words.
        log: the end of what the process wrote to stderr.
        starved: whether the kernel killed on its node for lack of memory meanwhile, if not it, then another.
    """
    if exit_type == "NODE_OUT_OF_MEMORY":
        return "Ray ended it, because the node was about to run out of memory"
    if found := _SIGNAL.search(log):
        return f"it crashed with {found[1]}"
    if found := _LAST_WORDS.search(log):
        return show_text(found[1], MOST_MESSAGE)
    if "SIGTERM" in detail:
        return "it was ended from outside by SIGTERM"
    if found := _EXIT_CODE.search(detail):
        return f"it exited with code {found[1]}"
    if "connection error" in detail and starved:
        return "it was killed; the kernel's OOM killer struck on its node meanwhile"
    if "connection error" in detail:  # what Ray says of all other ends, with a list of guesses
        return "it was killed from outside, as by the kernel when memory runs out, or exited without a word"
    return detail


def shorten_note(line: str, find_loss: Callable[[str], Loss] = find_loss) -> str | None:
    """A line of Ray's on its workers, in our words where it is about one that died, or about its node; None
    where it is useless, as one for each call that the dead one had in hand.

    Args:
        line: it.
        find_loss: with what a process on the node of this id was lost.
    """
    if _RETRY.match(line):
        return None
    if death := _DEATH.match(line):
        how = describe_exit(death["type"], death["detail"], _read_log(death["id"]))
        if death["id"] in _killed:
            how = "it hung, and was ended"
        elif find_loss(death["node"]) is Loss.preempted:
            return None  # it left its node in order, of which `draining.py` tells
        return f"worker process {death['pid']} died: {how}; its records run again, one at a time"
    if node := _NODE_DEATH.match(line):
        return (
            f"node {node['address']} died or can't be reached; what its workers had in hand goes on elsewhere"
        )
    return line


def kill_process(process: WorkerProcess) -> Any:
    """Kill a process that may not even hear SIGTERM, from a task on its node; returns the task's reference.

    `ray.kill` is no help: it ends the actor, which by now may be at work in another process.
    """
    _killed.add(process.id)
    there = NodeAffinitySchedulingStrategy(process.node, soft=False)
    task: Any = ray.remote(num_cpus=0, max_retries=0)(_kill)
    return task.options(scheduling_strategy=there).remote(process.pid)


def _kill(pid: int) -> None:
    command = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self").exists() and not (command.exists() and b"ray::" in command.read_bytes()):
        return  # it is gone, and another may have its number
    os.kill(pid, signal.SIGKILL)


def _find_entry(process: str) -> Any | None:
    accessor: Any = ray_state._connect_and_get_accessor()
    data = accessor.get_worker_info(ray.WorkerID(bytes.fromhex(process)))
    return None if data is None else _Entry.FromString(data)


def _read_log(process: str) -> str:
    """The end of what a process on this node wrote to stderr."""
    node: Any = global_worker.node
    with suppress(OSError):
        for path in Path(node.get_logs_dir_path()).glob(f"worker-{process}-*.err") if node else ():
            return path.read_bytes()[-_TAIL:].decode("utf-8", "replace")
    return ""
