"""Calls side by side, each in a process of its own with one thread of torch's: what they compute doesn't
depend on how many there are."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from mira_batch.core.errors import UserError

Note = Callable[[str], None]
_LOOK = 0.2
"""Seconds between looks at who has ended."""


def run_side_by_side(calls: Mapping[str, Callable[[Note], None]], at_once: int, note: Note) -> None:
    """Make all calls. Where one fails the others are stopped.

    Args:
        calls: by a name for people; to be pickled. Each begins no earlier than those before it.
        at_once: most that run at the same time.
        note: told what they say.

    Raises:
        UserError: one of them raised it.
        RuntimeError: one of them died.
    """
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    waiting, running = deque(calls.items()), dict[str, Any]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name, call = waiting.popleft()
                running[name] = context.Process(target=_run, args=(name, call, told, os.getpid()))
                running[name].start()
            ended = {name: process for name, process in running.items() if process.exitcode is not None}
            _pass_on(told, note)  # all that those have said is there by now
            for name, process in ended.items():
                del running[name]
                if process.exitcode:
                    raise RuntimeError(f"{name}: its process ended with {process.exitcode}")
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def _pass_on(told: Any, note: Note) -> None:
    """
    Raises:
        UserError: a process did.
    """
    while True:
        try:
            text, refused = told.get(timeout=_LOOK)
        except queue.Empty:
            return
        if refused:
            raise UserError(text)
        note(text)


def _run(name: str, call: Callable[[Note], None], told: Any, parent: int) -> None:
    """What a process does."""
    import torch

    def leave() -> None:  # a parent that is killed can't say so
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=leave, name="parent", daemon=True).start()
    torch.set_num_threads(1)
    try:
        call(lambda text: told.put((f"{name}: {text}", False)))
    except UserError as error:
        told.put((f"{name}: {error}", True))
