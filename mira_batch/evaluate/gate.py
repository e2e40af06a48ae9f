"""What a comparison must show to pass, as `--gate` says it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mira_batch.core.errors import ConfigError
from mira_batch.evaluate.compare import Comparison, show_signed
from mira_batch.evaluate.scores import OVERALL
from mira_batch.evaluate.statistics import Interval

PAIRWISE = "pairwise"
"""The share of pairs in which B is preferred."""
_GATE = re.compile(r"\s*(?P<name>[^<>=\s][^<>=]*?)\s*(?P<sign>>=|<=)\s*(?P<limit>[+-]?\d+(?:\.\d+)?)\s*")


@dataclass(frozen=True)
class Gate:
    """What a figure must be for a comparison to pass."""

    name: str
    sign: str
    limit: float
    text: str

    def check(self, comparison: Comparison) -> tuple[bool, str]:
        """Whether it passes, and in words why. What counts is the worse end of the interval: a figure that
        can't be told from one beyond the limit doesn't pass.

        Raises:
            ConfigError: the comparison has no such figure, or no interval for it.
        """
        interval, is_share = self._find_interval(comparison)
        end = interval.low if self.sign == ">=" else interval.high
        passed = end >= self.limit if self.sign == ">=" else end <= self.limit
        side = "low" if self.sign == ">=" else "high"
        word = "passed" if passed else "not passed"
        shown = f"{end:.3f}" if is_share else show_signed(end)
        return passed, f"gate {self.text}: {word}; the {side} end of the interval is {shown}"

    def check_limit(self, scales: Mapping[str, tuple[float, float]]) -> None:
        """Refuse a limit that no difference reaches, or that any does.

        Args:
            scales: the least and the greatest value of each score, by name; other figures have no range.

        Raises:
            ConfigError: it is beyond the range, which is named.
        """
        low, high = scales.get(self.name, (-math.inf, math.inf))
        if abs(self.limit) > high - low:
            raise ConfigError(
                f"--gate {self.text}: {self.name} lies between {low:g} and {high:g}, so that no difference "
                f"is larger than {high - low:g}; give a limit from {low - high:g} to {high - low:g}"
            )

    def _find_interval(self, comparison: Comparison) -> tuple[Interval, bool]:
        """Of the figure, and whether that is a share rather than a difference."""
        if self.name == PAIRWISE:
            found = comparison.pairwise and comparison.pairwise.preference
            if found is None:
                raise ConfigError(
                    f"--gate {self.text}: no pair was compared; give --pairs EVALUATION_OF_PAIRS"
                )
        else:
            found = comparison.find_line(self.name)
        if found is None and not comparison.scored:
            raise ConfigError(f"--gate {self.text}: no record has a score in both evaluations")
        if found is None:
            known = ", ".join([*(line.name for line in (*comparison.scores, *comparison.effort)), PAIRWISE])
            raise ConfigError(f"--gate {self.text}: there is no figure {self.name!r}; there are {known}")
        if found.interval is None:
            raise ConfigError(f"--gate {self.text}: {self.name} has no interval: {found.note}")
        return found.interval, self.name == PAIRWISE


def parse_gate(text: str) -> Gate:
    """A condition such as `overall>=-0.05`.

    Raises:
        ConfigError: it is none, or its limit is beyond the range of a figure whose range is always the same.
    """
    found = _GATE.fullmatch(text)
    if found is None:
        raise ConfigError(f"--gate {text!r}: give a name, >= or <=, and a number: overall>=-0.05")
    gate = Gate(found["name"], found["sign"], float(found["limit"]), text.strip())
    if not math.isfinite(gate.limit):
        raise ConfigError(
            f"--gate {gate.name}{gate.sign}…: the limit has too many digits; give a smaller one"
        )
    if gate.name == PAIRWISE and not 0 <= gate.limit <= 1:
        raise ConfigError(
            f"--gate {gate.text}: {PAIRWISE} is a share of pairs; give a limit from 0 to 1: {PAIRWISE}>=0.45"
        )
    gate.check_limit({OVERALL: (0.0, 1.0)})
    return gate
