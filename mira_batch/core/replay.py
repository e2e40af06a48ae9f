"""What comes out when a record is run once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NEAR = 2.0
"""Mean difference of 8-bit values up to which images count as near: what other hardware comes to."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a replay first goes another way."""

    step: int | None
    """At which step, from 0; None: after the last."""
    role: str
    """Which component moved: policy, editor or judge; `limits` or `worker`, where they ended it; `input`,
    where the image itself is another by now."""
    was: str
    """What it gave then: its answer, a digest of pixels, a score, or how the record ended."""
    now: str
    """What it gives now."""
    mean: float | None = None
    """Mean difference of the 8-bit values, where both images can be had."""

    @property
    def near(self) -> bool:
        """Whether it is no more than a difference of hardware."""
        return self.mean is not None and self.mean <= NEAR


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay came to."""

    old: Mapping[str, Any]
    """The row of the run (schema `RESULTS`)."""
    new: Mapping[str, Any]
    """The row of the replay."""
    models: Mapping[str, tuple[str | None, str | None]]
    """Identities that are others by now: then and now, by role."""
    difference: Difference | None
    """None: bitwise the same."""

    @property
    def verdict(self) -> str:
        """same, near or different."""
        if self.difference is None:
            return "same"
        return "near" if self.difference.near else "different"
