"""Processes that this one started, and theirs: found in /proc, so on Linux only; elsewhere there are none."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress

_MARK = "MIRA_BATCH_PROCESS"
_BEGINNING = 2.0
"""Most seconds that a process is waited for which may have the mark and doesn't show its environment yet."""


def find_children(pid: int) -> list[int]:
    """Processes that `pid` started, without theirs."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    return found


def kill_with_descendants(pids: Collection[int]) -> None:
    """Kill these processes and all that they started: they are asked nothing and finish nothing.

    Args:
        pids: processes of our own.
    """
    doomed = list(pids)
    for pid in doomed:  # grows meanwhile
        doomed += find_children(pid)
    _kill(doomed)


def mark_descendants(mark: str) -> None:
    """Have all processes that this one starts from now on, and theirs, carry a mark, whoever's children they
    become when those between have died."""
    os.environ[_MARK] = mark
    # Ray's processes give themselves titles, which else are written over the environment that /proc shows.
    os.environ["SPT_NOENV"] = "1"


def kill_marked(mark: str, seconds: float) -> None:
    """Kill the processes that carry a mark, and those that they start meanwhile.

    Args:
        mark: as given to `mark_descendants`.
        seconds: after which to leave it at that.
    """
    started = last_found = time.monotonic()
    while (now := time.monotonic()) < started + seconds:
        found, unsure = _find_marked(f"{_MARK}={mark}".encode())
        _kill(found)
        if found:
            last_found = now
        elif not unsure or now > last_found + _BEGINNING:
            break
        time.sleep(0.05)


def _find_marked(entry: bytes) -> tuple[list[int], bool]:
    """Living processes whose environment had this entry when they began their program; and whether there are
    some that just begin one: they have no environment for a moment, or for longer on a busy machine."""
    found, beginning = list[int](), list[int]()
    for pid in _list_processes():
        with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            environment = file.read()
            if entry in environment.split(b"\0"):
                found.append(pid)
            elif not environment and os.path.exists(f"/proc/{pid}/exe"):  # no thread of the kernel's
                beginning.append(pid)
    return [pid for pid in found if is_running(pid)], any(map(is_running, beginning))


def _kill(pids: Collection[int]) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _list_processes() -> list[int]:
    """All processes that /proc shows."""
    names = os.listdir("/proc") if os.path.isdir("/proc") else ()
    return [int(name) for name in names if name.isdigit()]


def is_running(pid: int) -> bool:
    """Whether a process lives; one that has ended and that nobody waited for does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] not in (b"Z", b"X")
    except OSError:
        return False


def find_process(argument: str) -> int | None:
    """The process that was started with exactly this argument, if one lives.

    Args:
        argument: one of its command line.
    """
    return next((pid for pid in _list_processes() if argument in read_command(pid)), None)


def read_command(pid: int) -> list[str]:
    """The command line of a process; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")
    except OSError:
        return []
