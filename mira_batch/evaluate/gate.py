"""What a comparison must show to pass, as `--gate` says it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mira_batch.core.errors import ConfigError
from mira_batch.evaluate.compare import Comparison, show_signed
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
        ConfigError: it is none.
    """
    found = _GATE.fullmatch(text)
    if found is None:
        raise ConfigError(f"--gate {text!r}: give a name, >= or <=, and a number: overall>=-0.05")
    return Gate(found["name"], found["sign"], float(found["limit"]), text.strip())
