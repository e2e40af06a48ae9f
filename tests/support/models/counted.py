"""An editor that writes down what it does, so that a test can count the work a run repeated.

    editor: {type: custom, factory: "tests.support.models.counted:make_editor", options: {…}}

The log survives any kill: one line per edit begun and per edit ended, appended in one write each. With
`hold` a test can also keep a record's edit from ending: it waits while `<hold>/<record_id>` exists; and with
`slow` have each call take so many seconds while `<hold>/slow` exists.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mira_batch.config.models.simulated import SimulatedEditorConfig
from mira_batch.core.ports import EditRequest
from mira_batch.models.simulated import SimulatedEditor


def counted(
    log: Path,
    seconds: float = 0.0,
    max_batch: int = 2,
    hold: Path | None = None,
    slow: float = 0.0,
    **simulated: Any,
) -> dict[str, Any]:
    """The editor's config: a simulated editor of this service time, and further settings of it."""
    own = {"log": str(log), "seconds": seconds, "hold": str(hold or ""), "slow": slow}
    options = own | {"simulated": simulated}
    factory = f"{__name__}:make_editor"
    return {"type": "custom", "factory": factory, "max_batch": max_batch, "options": options}


def make_editor(
    log: str, seconds: float, simulated: dict[str, Any], hold: str = "", slow: float = 0.0
) -> SimulatedEditor:
    service = {"seconds": seconds}
    config = SimulatedEditorConfig.model_validate({"type": "simulated", "service": service} | simulated)
    return _CountedEditor(config, log, hold, slow)


class _CountedEditor(SimulatedEditor):
    def __init__(self, config: SimulatedEditorConfig, log: str, hold: str, slow: float) -> None:
        super().__init__(config)
        self._log = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self._hold = Path(hold) if hold else None
        self._slow = slow

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        self._write("begin", requests)
        while self._hold and any((self._hold / request.record_id).exists() for request in requests):
            time.sleep(0.02)
        if self._hold and self._slow and (self._hold / "slow").exists():
            time.sleep(self._slow)
        edited = super().apply(requests)
        self._write("end", requests)
        return edited

    def _write(self, what: str, requests: Sequence[EditRequest]) -> None:
        lines = [f"{what} {os.getpid()} {r.step} {r.record_id}\n" for r in requests]
        os.write(self._log, "".join(lines).encode())


@dataclass(frozen=True)
class Edits:
    """What the log says of edits, each named (record_id, step)."""

    begun: Counter[tuple[str, int]]
    ended: Counter[tuple[str, int]]
    open: dict[int, set[tuple[str, int]]]
    """By process: the edits it has begun and not ended."""
    lost: Counter[int]
    """By process: how many of its edits were begun again, by whomever."""

    @property
    def pids(self) -> set[int]:
        return set(self.open)

    @property
    def repeated(self) -> int:
        """Edits begun more than once, counted by their repetitions."""
        return sum(times - 1 for times in self.begun.values())


def read_edits(log: Path) -> Edits:
    begun: Counter[tuple[str, int]] = Counter()
    ended: Counter[tuple[str, int]] = Counter()
    open_: dict[int, set[tuple[str, int]]] = defaultdict(set)
    lost: Counter[int] = Counter()
    last: dict[tuple[str, int], int] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        what, pid, step, record = line.split(" ", 3)
        edit, process = (record, int(step)), int(pid)
        if what == "begin":
            begun[edit] += 1
            open_[process].add(edit)
            if edit in last:
                lost[last[edit]] += 1
            last[edit] = process
        else:
            ended[edit] += 1
            open_[process].discard(edit)
    return Edits(begun, ended, open_, lost)
