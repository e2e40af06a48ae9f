"""Two results of one record, and which of them is the better one.

`core.ports.JudgeRequest` has room for one candidate, and a `Judgement` is a score; which of two is better is
neither. So comparing has a request and an answer of its own, as small as they can be. The order in which two
are shown is part of the request, and whoever asks decides it: models prefer a place, and only asking in both
orders tells that from a preference for an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from mira_batch.core.types import Frame


class Winner(StrEnum):
    """Which of two results is better."""

    first = "first"
    """The one that was shown first."""
    second = "second"
    """The one that was shown second."""
    tie = "tie"
    """Neither."""

    @property
    def swapped(self) -> Winner:
        """The same verdict about the two in the other order."""
        return {Winner.first: Winner.second, Winner.second: Winner.first}.get(self, Winner.tie)


@dataclass(frozen=True, slots=True)
class PairRequest:
    """Which of two results shows the instruction better, seen against `original`? Images are read-only."""

    record_id: str
    instruction: str
    """The complex instruction, whole, as the user wrote it: untrusted text."""
    original: Frame
    first: Frame
    """The result that is shown first."""
    second: Frame
    """The one that is shown second."""
    draw: int = 0
    """Which asking of the same question, from 0, as in `core.ports.JudgeRequest`."""

    def swap(self) -> PairRequest:
        """The same two in the other order."""
        return replace(self, first=self.second, second=self.first)


@dataclass(frozen=True, slots=True)
class Preference:
    """A judge's answer to a `PairRequest`, in one order. A judge that can't say fails; that is no tie."""

    winner: Winner
    """Which one, in the order of the request."""
    reason: str = ""
    """In words, for people."""
    protocol: str = ""
    """By which procedure, as name/version; preferences of different ones don't compare."""
    raw: tuple[str, ...] = ()
    """The answers as they came."""
    validity: Mapping[str, float] = field(default_factory=dict)
    """How far it can be trusted, by name."""


def agree(forward: Winner, backward: Winner) -> Winner:
    """The verdict of both orders: what they agree on, else a tie.

    Args:
        forward: of the pair as it is.
        backward: of the same pair in the other order.
    """
    return forward if forward is backward.swapped else Winner.tie
