"""What the comparison says in numbers is what the benchmarks' page says."""

from __future__ import annotations

from tests.docs.guides import read_figure, read_words

GUIDE = "docs/alternatives.md"


def test_the_figures_are_those_of_the_benchmarks() -> None:
    text = read_words(GUIDE)
    lockstep, sixteen, unrolled = (
        f"{read_figure(f'speed_against_{name}'):.2f}" for name in ("lockstep", "lockstep_over_16", "unrolled")
    )
    assert f"makes {lockstep} times the records per second of lockstep" in text
    assert f"{sixteen} times those of lockstep over sixteen records at once" in text
    assert f"{unrolled} times those of unrolled stages" in text


def test_it_says_of_when_it_is() -> None:
    assert "As of November 2026" in read_words(GUIDE)
