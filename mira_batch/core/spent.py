"""Where the seconds of a run went, in workers' time and in records' time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

Span = tuple[str, str, str, float, float, dict[str, Any]]
"""Something that took time: category (model, record, store or driver), name, lane (what can do one thing at a
time), when it began (seconds since the epoch), how many seconds it took, details."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one worker or of several; they can be added up.

    A worker's own time is `worker`; models' calls run within it, side by side. Records run side by side too,
    so what they waited, and their `io`, may add up to many times that.
    """

    worker: float = 0.0
    """From the start of a worker to its last commit."""
    gpu: float = 0.0
    """The same times the GPUs that each worker holds."""
    load: float = 0.0
    """Loading the models."""
    policy: float = 0.0
    """Calls of the policy that gave answers, over all its replicas."""
    editor: float = 0.0
    judge: float = 0.0
    retried: float = 0.0
    """Calls of any model that came to nothing: they failed, or their batch was too large."""
    policy_waiting: float = 0.0
    """Records that waited for the policy's call to begin."""
    editor_waiting: float = 0.0
    judge_waiting: float = 0.0
    io: float = 0.0
    """Records whose image was read, whose step was logged or whose row was made, and commits."""

    def __add__(self, other: Spent) -> Spent:
        return Spent(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*(a - b for a, b in zip(_values(self), _values(other), strict=True)))

    def times(self, factor: float) -> Spent:
        return Spent(*(value * factor for value in _values(self)))


_NAMES = tuple(field.name for field in fields(Spent))


def _values(spent: Spent) -> Sequence[float]:
    return [getattr(spent, name) for name in _NAMES]
