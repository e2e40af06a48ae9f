"""The served models that all contenders call: a policy and an editor of a real HTTP server, and its notes.

The policy names one edit after the other until a record has as many as `step_count` says. The editor answers
with one photograph after the other, so that each edit changes the image and the last one is known. Both queue
what is more than they answer at once, as vLLM does. The editor is the bottleneck.
"""

from __future__ import annotations

import heapq
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.workload import read_picture
from mira_batch.config.models.simulated import StepCounts
from mira_batch.models.simulated import step_count
from tests.support.servers.models import Answer, Asked, edit_json, failing, png

EDITORS, SECONDS = 16, 1.0
"""Edits at once, and what each takes."""
POLICIES, POLICY_SECONDS = 16, 0.2
_RECORD = re.compile(r"rec-\d{6}")


@dataclass
class _Queue:
    """So many calls at once; the others wait in the order in which they came."""

    at_once: int
    seconds: float
    free: list[float] = field(default_factory=list)
    """When each place is free again."""

    def take(self, now: float) -> float:
        """The moment at which a call that comes now is answered."""
        begin = max(now, heapq.heappop(self.free)) if len(self.free) >= self.at_once else now
        heapq.heappush(self.free, begin + self.seconds)
        return begin + self.seconds


@dataclass
class ServedModels:
    """The script of the server, and what it noted. Moments are those of `time.time()`."""

    photographs: list[Path]
    refused: float = 0.0
    """The share of calls that are refused at once with 429."""
    began: float | None = None
    edits: dict[str, int] = field(default_factory=dict)
    """Of each record."""
    asked: dict[str, int] = field(default_factory=dict)
    """Policy's answers of each record."""
    answered: list[float] = field(default_factory=list)
    """When each edit is answered."""
    refusals: int = 0

    def __post_init__(self) -> None:
        self._dice = random.Random(0)
        self._policies = _Queue(POLICIES, POLICY_SECONDS)
        self._editors = _Queue(EDITORS, SECONDS)
        self._images = [png(read_picture(path)) for path in self.photographs]
        self._answers = [edit_json(image) for image in self._images]

    def answer(self, asked: Asked) -> Answer:
        """What becomes of a call."""
        now = time.time()
        self.began = self.began or now
        if self._dice.random() < self.refused:
            self.refusals += 1
            return failing(429, "too many requests")
        found = _RECORD.search(asked.text)
        if found is None:
            return failing(400, f"no record is named in {asked.text!r}")
        name = found[0]
        made = self.edits.get(name, 0)
        if asked.kind == "chat":
            self.asked[name] = self.asked.get(name, 0) + 1
            end = self._policies.take(now)
            more = made < step_count(name, StepCounts())
            text = f"<edit>make {name} nicer, part {made + 1}</edit>" if more else "<stop>it is nice</stop>"
            return Answer(text, seconds=end - now)
        self.edits[name] = made + 1
        end = self._editors.take(now)
        self.answered.append(end)
        return Answer(self._answers[self._number(name, made + 1)], seconds=end - now)

    def result(self, name: str) -> Path:
        """The photograph that a record ends as."""
        return self.photographs[self._number(name, step_count(name, StepCounts()))]

    def _number(self, name: str, made: int) -> int:
        return (int(name.removeprefix("rec-")) + made) % len(self.photographs)
