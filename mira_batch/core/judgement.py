"""What a judge says of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Axis:
    """A judge's raw value on one of its own scales, before anything was made of it."""

    value: float
    """Within [low, high], which is all that the scale allows."""
    low: float
    """The least value of the scale."""
    high: float
    """The greatest."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judge's verdict. Only `score` must be given; a judge that has none raises, or returns an error."""

    score: float
    """In [0, 1]; 1 is a faithful and clean result."""
    reason: str = ""
    """In words, for people."""
    axes: Mapping[str, Axis] = field(default_factory=dict)
    """What the score was made of, by name: semantic consistency, perceptual quality, say."""
    protocol: str = ""
    """By which procedure it was scored, as name/version; scores of different ones don't compare."""
    raw: tuple[str, ...] = ()
    """The judge's answers as they came, before anything was read from them."""
    validity: Mapping[str, float] = field(default_factory=dict)
    """How far the score can be trusted, by name. Of one read from logits: `digit_mass`, the probability of
    all digits together, and `entropy` over them, in nats."""
