"""What work took, in one addable form: seconds by what they went into, US dollars, faults waited out.

The same form serves a step, a record, a shard, a worker and a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Span = tuple[str, str, str, float, float, dict[str, object]]
"""Something that took time: category (model, record, store or driver), name, lane (what can do one thing at a
time), when it began (seconds since the epoch), how many seconds it took, details."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds, US dollars and retries; usages can be added and subtracted.

    What the names in `seconds` mean depends on whose usage it is:

        of a step, a record, or the records of a shard or run
            a model's role        the record's share of its calls (seconds of a call / its batch), so that
                                  shares add up to what the machine did
            waiting               the rest of the time behind models
            io                    reading, logging and encoding
        of a worker, or of all workers of a run
            worker, gpu, load     its life; that, times its GPUs; loading the models
            a model's role        calls that gave answers, over all replicas
            retried               calls that gave none: they failed, or their batch was too large
            <role>_served         of these, calls of endpoints, which need no machine of ours
            <role>_waiting        records that waited for that model's call to begin
            io                    records that were read, logged or encoded, and commits

    Records run side by side, so their seconds may add up to many times the worker's.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    """Name -> seconds. A name that is not there counts 0."""
    cost: float = 0.0
    """US dollars that endpoints charged."""
    retries: int = 0
    """Passing faults of image stores and endpoints that were waited out."""
    charges: Mapping[str, float] = field(default_factory=dict)
    """Of `cost`, what the models of a role charged, by its name. Not known of steps and receipts of earlier
    releases."""

    @classmethod
    def of(cls, *, cost: float = 0.0, retries: int = 0, **seconds: float) -> Usage:
        """A usage of these seconds by name; names of 0 seconds are left out."""
        return cls({name: value for name, value in seconds.items() if value}, cost, retries)

    @classmethod
    def paid(cls, role: str, dollars: float) -> Usage:
        """What a model's endpoint charged.

        Args:
            role: its role's name.
            dollars: US dollars; 0 where it charges nothing.
        """
        return cls(cost=dollars, charges={role: dollars} if dollars else {})

    def __getitem__(self, name: str) -> float:
        """The seconds under a name; 0.0 where there are none."""
        return self.seconds.get(name, 0.0)

    @property
    def total(self) -> float:
        """All seconds together: of a record, how long it ran."""
        return sum(self.seconds.values())

    def __add__(self, other: Usage) -> Usage:
        return self._combine(other, 1)

    def __sub__(self, other: Usage) -> Usage:
        return self._combine(other, -1)

    def __mul__(self, factor: float) -> Usage:
        """Seconds and dollars times a factor, for rates; retries are counts and stay whole."""
        seconds, charges = (
            {name: value * factor for name, value in values.items()}
            for values in (self.seconds, self.charges)
        )
        return Usage(seconds, self.cost * factor, round(self.retries * factor), charges)

    def _combine(self, other: Usage, sign: int) -> Usage:
        return Usage(
            _combine_parts(self.seconds, other.seconds, sign),
            self.cost + sign * other.cost,
            self.retries + sign * other.retries,
            _combine_parts(self.charges, other.charges, sign),
        )


def _combine_parts(first: Mapping[str, float], second: Mapping[str, float], sign: int) -> dict[str, float]:
    found = dict(first)
    for name, value in second.items():
        found[name] = found.get(name, 0.0) + sign * value
    # What is left of nothing is not there.
    return found if sign > 0 else {name: value for name, value in found.items() if value}
