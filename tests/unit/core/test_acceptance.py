"""Which candidate is taken, and when another is drawn: every rule by itself, and all of them together."""

from __future__ import annotations

import itertools

import pytest

from mira_batch.core.acceptance import find_best, is_accepted, wants_another
from mira_batch.core.types import Candidate, Limits

SURE, UNSURE = 0.1, 0.9


def drawn(*found: float | tuple[float, float]) -> list[Candidate]:
    """Candidates by score, or by score and entropy."""
    pairs = [each if isinstance(each, tuple) else (each, SURE) for each in found]
    return [Candidate(number, f"c{number}", *pair) for number, pair in enumerate(pairs)]


def test_the_best_is_the_first_of_the_best_scores() -> None:
    assert find_best(drawn(0.2)) == 0
    assert find_best(drawn(0.2, 0.7, 0.7, 0.1)) == 1
    assert find_best(drawn(0.0, 0.0)) == 0


def test_what_is_accepted() -> None:
    limits = Limits(tolerance=0.25)
    assert is_accepted(None, 0.9, limits), "without a judge"
    assert is_accepted(0.5, 0.75, limits) and not is_accepted(0.49, 0.75, limits)
    assert not is_accepted(0.0, 0.0, limits) and not is_accepted(0.0, 0.1, limits), "nothing of it is done"


GATE = Limits(attempts_per_step=4)
BEST_OF_3 = Limits(attempts_per_step=4, candidates=3)
STOPS_EARLY = Limits(attempts_per_step=4, candidates=3, satisfied=0.9)
ADAPTIVE = Limits(attempts_per_step=4, unsure_above=0.5)
SATISFIED = Limits(attempts_per_step=4, unsure_above=0.5, satisfied=0.9)


@pytest.mark.parametrize(
    ("limits", "found", "more"),
    [
        (GATE, drawn(0.6), False),
        (GATE, drawn((0.6, UNSURE)), False),
        (GATE, drawn(0.4), True),
        (GATE, drawn(0.4, 0.6), False),
        (GATE, drawn(0.4, 0.3, 0.2), True),
        (GATE, drawn(0.4, 0.3, 0.2, 0.1), False),
        (BEST_OF_3, drawn(0.6), True),
        (BEST_OF_3, drawn(0.6, 0.95), True),
        (BEST_OF_3, drawn(0.6, 0.4, 0.3), False),
        (BEST_OF_3, drawn(0.4, 0.4, 0.3), True),
        (STOPS_EARLY, drawn(0.6, 0.95), False),
        (STOPS_EARLY, drawn(0.6, 0.85), True),
        (ADAPTIVE, drawn(0.6), False),
        (ADAPTIVE, drawn((0.6, 0.5)), False),
        (ADAPTIVE, drawn((0.6, UNSURE)), True),
        (ADAPTIVE, drawn((0.6, UNSURE), 0.55), True),
        (ADAPTIVE, drawn((0.6, UNSURE), 0.65), False),
        (ADAPTIVE, drawn(0.4), True),
        (ADAPTIVE, drawn(*[(0.6, UNSURE)] * 4), False),
        (SATISFIED, drawn((0.95, UNSURE)), True),
        (SATISFIED, drawn(0.95), False),
    ],
)
def test_another_is_drawn(limits: Limits, found: list[Candidate], more: bool) -> None:
    assert wants_another(found, 0.5, limits) is more


def test_without_a_judge_there_is_one() -> None:
    limits = Limits(attempts_per_step=4, candidates=3)
    assert not wants_another([Candidate(1, "c", None)], 0.5, limits)


def test_never_fewer_than_asked_for_and_never_more_than_allowed() -> None:
    """Over every small setting and every way that the judge may answer."""
    answers = [(0.3, SURE), (0.6, SURE), (0.6, UNSURE), (0.95, UNSURE)]
    for attempts, fewest in ((a, c) for a in range(1, 4) for c in range(1, a + 1)):
        for unsure_above, satisfied in itertools.product((None, 0.5), (None, 0.9)):
            limits = Limits(8, 2, attempts, fewest, unsure_above, 0.0, satisfied)
            for found in itertools.product(answers, repeat=attempts):
                count = 1
                while wants_another(drawn(*found[:count]), 0.5, limits):
                    count += 1
                taken = drawn(*found[:count])
                best = taken[find_best(taken)]
                assert count <= attempts
                reached = satisfied is not None and (best.score or 0) >= satisfied
                assert count >= fewest or reached
                if count < attempts:
                    assert is_accepted(best.score, 0.5, limits)
                    assert unsure_above is None or best.entropy == SURE
