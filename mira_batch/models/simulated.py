"""Models that answer by script: service time, step counts and failures without weights.

They implement the real Protocols and ship with the package, so that benchmarks and users' own tests can
try a pipeline, its throughput and its way with faults. Answers depend on the request alone, never on
the process, the batch or the time. What can be scripted is declared in `config/models/simulated.py`.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

from mira_batch.config.models.simulated import (
    Fault,
    SimulatedConfig,
    SimulatedEditorConfig,
    SimulatedJudgeConfig,
    SimulatedPolicyConfig,
    StepCounts,
)
from mira_batch.core.actions import format_action
from mira_batch.core.identity import content_hash, fingerprint
from mira_batch.core.ports import Axis, EditRequest, Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.source_type import ENHANCED
from mira_batch.core.types import Edit, StopAction

MAX_BATCH = 8
"""What the simulated models declare unless their config says otherwise."""
MALFORMED = "I would rather talk about the weather."

C = TypeVar("C", bound=SimulatedConfig)

_WHOLE_CALL = {"hang", "out_of_memory", "exit"}
_Place = tuple[str, int, Fault]
"""A fault's own place: role, index in the list, and the fault itself."""

_happened: Counter[_Place] = Counter()
"""How often each fault happened. `Fault.times` counts per process, so replicas count together."""
_lock = threading.Lock()


class _Simulated(Generic[C]):
    """What the three have in common: loading, service time, faults."""

    def __init__(self, config: C, role: str) -> None:
        self.config = config
        self._role = role
        settings = {key: value for key, value in config.pixels().items() if key != "service"}
        self._identity = f"simulated-{role}/1 {fingerprint(settings)}"
        _sleep(config.service.load)

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def max_batch(self) -> int:
        return self.config.max_batch or MAX_BATCH

    def serve(self, requests: Iterable[tuple[str, int | None]]) -> list[Fault | None]:
        """Spend the service time of one call on these (record, step); the fault of each, if any.

        Faults of the whole call happen here: it may hang, raise MemoryError or end the process.
        """
        batch = list(requests)
        call, singles = self._draw(batch)
        match call.does if call else None:
            case "exit":
                os._exit(1)
            case "out_of_memory":
                raise MemoryError(f"scripted: a batch of {len(batch)} does not fit")
            case "hang":
                assert call is not None
                _sleep(call.hang_seconds)
        service = self.config.service
        _sleep(service.seconds + service.per_item * len(batch))
        return singles

    def _draw(self, batch: Sequence[tuple[str, int | None]]) -> tuple[Fault | None, list[Fault | None]]:
        """The fault of the whole call, and the faults of the single requests.

        A fault is counted only if it happens: those of single requests don't when the call raises.
        """
        singles: list[Fault | None] = [None] * len(batch)
        with _lock:
            due = [self._due(record, step, len(batch)) for record, step in batch]
            call = next((place for place in due if place and place[2].does in _WHOLE_CALL), None)
            if call:
                _happened[call] += 1
                if call[2].does != "hang":
                    return call[2], singles
            for index, (record, step) in enumerate(batch):
                first = due[index]
                if first is None or first[2].does in _WHOLE_CALL:
                    continue
                place = self._due(record, step, len(batch))  # again: a neighbour may have used it up
                if place and place[2].does not in _WHOLE_CALL:
                    _happened[place] += 1
                    singles[index] = place[2]
        return (call[2] if call else None), singles

    def _due(self, record: str, step: int | None, batch: int) -> _Place | None:
        """The first fault that matches a request and has not happened often enough."""
        for index, fault in enumerate(self.config.faults):
            place = (self._role, index, fault)
            if (
                fnmatchcase(record, fault.records)
                and (fault.step is None or fault.step == step)
                and batch > fault.above_batch
                and (fault.times is None or _happened[place] < fault.times)
            ):
                return place
        return None


class SimulatedPolicy(_Simulated[SimulatedPolicyConfig]):
    """Names numbered edits, and stops once as many were accepted as the record is to take."""

    def __init__(self, config: SimulatedPolicyConfig) -> None:
        super().__init__(config, "policy")

    def bucket(self, request: PolicyRequest) -> Hashable:
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        faults = self.serve((r.record_id, len(r.history)) for r in requests)
        return [self._answer(r, fault) for r, fault in zip(requests, faults, strict=True)]

    def _answer(self, request: PolicyRequest, fault: Fault | None) -> str | Exception:
        match fault.does if fault else None:
            case "raise":
                return _script_error(request.record_id, len(request.history))
            case "malformed":
                return MALFORMED
            case "nothing":
                return format_action(StopAction("stopped early, as scripted"))
        total = step_count(request.record_id, self.config.steps)
        done = sum(step.accepted for step in request.history)
        if done >= total:
            return format_action(
                StopAction("nothing is missing", thought=f"{done} of {total} edits are done")
            )
        edit = Edit(f"simulated edit {done + 1} of {total}", thought=f"{done} of {total} edits are done")
        return format_action(edit)


class SimulatedEditor(_Simulated[SimulatedEditorConfig]):
    """Paints a rectangle whose place and colour come from the seed."""

    source_type = ENHANCED

    def __init__(self, config: SimulatedEditorConfig) -> None:
        super().__init__(config, "editor")

    def bucket(self, request: EditRequest) -> Hashable:
        """Image size, as with an editor on a GPU."""
        return request.image.size

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        faults = self.serve((r.record_id, r.step) for r in requests)
        return [self._edit(r, fault) for r, fault in zip(requests, faults, strict=True)]

    def _edit(self, request: EditRequest, fault: Fault | None) -> object:
        if fault is None:
            return paint_mark(request.image.pixels, request.seed)
        if fault.does == "nothing":
            return request.image.pixels
        return _script_error(request.record_id, request.step)


class SimulatedJudge(_Simulated[SimulatedJudgeConfig]):
    """Scores by the candidate's digest, evenly between `low` and `high`."""

    def __init__(self, config: SimulatedJudgeConfig) -> None:
        super().__init__(config, "judge")

    def bucket(self, request: JudgeRequest) -> Hashable:
        return None

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        faults = self.serve((r.record_id, None) for r in requests)
        return [self._judge(r, fault) for r, fault in zip(requests, faults, strict=True)]

    def _judge(self, request: JudgeRequest, fault: Fault | None) -> Judgement | Exception:
        low, high = self.config.low, self.config.high
        if fault is None:
            drawn = min(low + (high - low) * _draw_uniform("judge", request.candidate.digest), high)
            return self._give(request, drawn, "drawn from the candidate's pixels")
        if fault.does == "nothing":
            return self._give(request, low, "the least score, as scripted")
        return _script_error(request.record_id, None)

    def _give(self, request: JudgeRequest, score: float, reason: str) -> Judgement:
        axes = {"drawn": Axis(score, self.config.low, self.config.high)}
        most = self.config.entropy
        doubt = {} if most is None else {"entropy": most * _draw_uniform("doubt", request.candidate.digest)}
        return Judgement(score, reason, axes, "simulated-judge/1", validity=doubt)


def step_count(record_id: str, steps: StepCounts) -> int:
    """How many edits a record takes: the first `exact` glob that matches, or else a geometric draw."""
    for pattern, count in steps.exact.items():
        if fnmatchcase(record_id, pattern):
            return count
    if steps.mean == 1:
        return 1
    # The inverse of the geometric distribution on 1, 2, 3 … whose mean is `mean`.
    drawn = 1 + int(math.log(_draw_uniform("steps", record_id)) / math.log(1 - 1 / steps.mean))
    return min(drawn, steps.max)


def paint_mark(image: Any, seed: int) -> Any:
    """A copy of an RGB or RGBA `PIL.Image.Image` with a rectangle that differs from what it covers."""
    drawn = bytes.fromhex(content_hash("mark", str(seed)))
    width, height = image.size
    left = int.from_bytes(drawn[4:8], "little") % width
    top = int.from_bytes(drawn[8:12], "little") % height
    colour = (drawn[0], drawn[1], drawn[2], 255)[: len(image.getbands())]
    if image.getpixel((left, top)) == colour:
        colour = (colour[0] ^ 128, *colour[1:])
    marked = image.copy()
    marked.paste(colour, (left, top, left + max(1, width // 4), top + max(1, height // 4)))
    return marked


def _draw_uniform(*parts: str) -> float:
    """A number in (0, 1] drawn from the parts."""
    return (int(content_hash(*parts, size=8), 16) + 1) / 2**64


def _script_error(record: str, step: int | None) -> RuntimeError:
    return RuntimeError(f"scripted failure of {record}" + ("" if step is None else f" at step {step}"))


def _sleep(seconds: float) -> None:
    if seconds > 0:
        time.sleep(seconds)
