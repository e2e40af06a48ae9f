"""What a comparison must show to pass, as `--gate` says it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mira_batch.core.errors import ConfigError
from mira_batch.evaluate.compare import Comparison, show_signed

_GATE = re.compile(r"\s*(?P<name>[\w .-]+?)\s*(?P<sign>>=|<=)\s*(?P<limit>[+-]?\d+(?:\.\d+)?)\s*")


@dataclass(frozen=True)
class Gate:
    """What a difference must be for a comparison to pass."""

    name: str
    sign: str
    limit: float
    text: str

    def check(self, comparison: Comparison) -> tuple[bool, str]:
        """Whether it passes, and in words why. What counts is the worse end of the interval: a difference
        that can't be told from one beyond the limit doesn't pass.

        Raises:
            ConfigError: the comparison has no such figure, or no interval for it.
        """
        line = comparison.find_line(self.name)
        if line is None:
            known = ", ".join(line.name for line in (*comparison.scores, *comparison.effort))
            raise ConfigError(f"--gate {self.text}: there is no figure {self.name!r}; there are {known}")
        if line.interval is None:
            raise ConfigError(f"--gate {self.text}: {self.name} has no interval: {line.note}")
        end = line.interval.low if self.sign == ">=" else line.interval.high
        passed = end >= self.limit if self.sign == ">=" else end <= self.limit
        side = "low" if self.sign == ">=" else "high"
        word = "passed" if passed else "not passed"
        return passed, f"gate {self.text}: {word}; the {side} end of the interval is {show_signed(end)}"


def parse_gate(text: str) -> Gate:
    """A condition such as `overall>=-0.05`.

    Raises:
        ConfigError: it is none.
    """
    found = _GATE.fullmatch(text)
    if found is None:
        raise ConfigError(f"--gate {text!r}: give a name, >= or <=, and a number: overall>=-0.05")
    return Gate(found["name"], found["sign"], float(found["limit"]), text.strip())
