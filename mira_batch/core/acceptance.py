"""Which of the images that were drawn for an edit is taken, and when another one is drawn (docs/adr/0022).

Pure functions of what was drawn so far. The judge's score decides which is best, and of equals the first. The
score of the image that the edit starts from is called `standing`; the untouched original's is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from mira_batch.core.types import Candidate, Limits


def find_best(drawn: Sequence[Candidate]) -> int:
    """The place of the candidate with the best score.

    Args:
        drawn: at least one.
    """
    return max(range(len(drawn)), key=lambda place: drawn[place].score or 0.0)


def is_accepted(score: float | None, standing: float, limits: Limits) -> bool:
    """Whether a candidate may be what the next edit starts from. Without a judge every one may.

    Args:
        score: the candidate's.
        standing: that of the image it was made from.
        limits: how much worse it may be.
    """
    return score is None or 0 < score >= standing - limits.tolerance


def wants_another(drawn: Sequence[Candidate], standing: float, limits: Limits) -> bool:
    """Whether a further seed is to be tried for the same edit.

    That is so as long as none is accepted, or fewer than `candidates` were drawn and none satisfies the
    judge, or the judge is unsure of the best; but never beyond `attempts_per_step`.

    Args:
        drawn: all so far, by attempt; at least one.
        standing: the score of the image that they were made from.
        limits: those of the loop.
    """
    best = drawn[find_best(drawn)]
    if best.score is None or len(drawn) >= limits.attempts_per_step:
        return False
    satisfies = limits.satisfied is not None and best.score >= limits.satisfied
    is_sure = limits.unsure_above is None or (best.entropy or 0.0) <= limits.unsure_above
    enough = len(drawn) >= limits.candidates or satisfies
    return not (is_accepted(best.score, standing, limits) and enough and is_sure)
