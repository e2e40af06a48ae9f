"""An editor that ends or freezes its process at some records, in ways that a script in Python can't.

    editor: {type: custom, factory: "tests.support.models.deadly:make_editor", options: {does: {…}}}

`does` maps "<record_id>/<step>" to what the edit does there: see `WAYS`.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mira_batch.config.models.simulated import SimulatedEditorConfig
from mira_batch.core.ports import EditRequest
from mira_batch.models.simulated import SimulatedEditor


def deadly(
    does: Mapping[str, str], once: Path | None = None, always: Mapping[str, str] | None = None, **options: Any
) -> dict[str, Any]:
    """The editor's config. With `once`, a folder, each of these things happens only once; those of `always`
    whenever the step is made."""
    factory = f"{__name__}:make_editor"
    settings = {"does": dict(does), "always": dict(always or {}), "once": str(once or "")}
    return {"type": "custom", "factory": factory, "options": settings, **options}


def make_editor(does: Mapping[str, str], always: Mapping[str, str], once: str = "") -> SimulatedEditor:
    return _DeadlyEditor(does, always, once)


class _DeadlyEditor(SimulatedEditor):
    def __init__(self, does: Mapping[str, str], always: Mapping[str, str], once: str) -> None:
        super().__init__(SimulatedEditorConfig(type="simulated"))
        self._does = {**does, **always}
        self._always = always
        self._once = once

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        for request in requests:
            place = f"{request.record_id}/{request.step}"
            if place in self._does and self._is_due(place):
                WAYS[self._does[place]]()
        return super().apply(requests)

    def _is_due(self, place: str) -> bool:
        if not self._once or place in self._always:
            return True
        try:
            Path(self._once, place.replace("/", "-")).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def raise_base() -> None:
    raise BaseException("the editor has had enough")


def hold_lock() -> None:
    """Sleep in C with the interpreter's lock held: no other thread of the process runs."""
    ctypes.PyDLL(None).sleep(600)


WAYS: Mapping[str, Callable[[], Any]] = {
    "raise": raise_base,
    "exit": lambda: os._exit(3),
    "exit_0": lambda: os._exit(0),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hold_lock": hold_lock,
}
