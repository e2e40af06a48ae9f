"""A judge's scores held against people's decisions about the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from mira_batch.core.errors import RunConflict
from mira_batch.evaluate.calibration import (
    LEAST_DECISIONS,
    Acceptance,
    Agreement,
    PassRate,
    estimate_pass_rate,
    find_acceptance,
    measure_agreement,
)
from mira_batch.evaluate.sampled import check_random_sample
from mira_batch.evaluate.scores import OVERALL, Scores, refuse_pairs
from mira_batch.evaluate.statistics import StatisticsError, check_share
from mira_batch.evaluate.summary import SEED
from mira_batch.storage.catalogue.decided import Verdicts
from mira_batch.storage.run.decisions import APPROVE

T = TypeVar("T")


@dataclass(frozen=True)
class Calibration:
    """What people's decisions say of a judge, and of the results that it scored."""

    run: str
    judge: str
    results: int
    """Results with a score."""
    decided: int
    """Of these, those that people decided about. Decisions about other pixels count for nothing."""
    approved: int
    unscored: int
    """Decided results of which the judge gave no score."""
    most_bad: float
    acceptance: Acceptance | None
    acceptance_note: str
    """Why there is none."""
    agreement: Agreement | None
    """At the threshold of `acceptance`; where there is none, at the one in the middle of the scores."""
    agreement_note: str
    pass_rate: PassRate | None
    pass_rate_note: str

    def dump(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def calibrate(scores: Scores, verdicts: Verdicts, most_bad: float) -> Calibration:
    """Hold the scores of an evaluation against decisions, which must be a random sample of its results.

    Args:
        scores: of the evaluation.
        verdicts: the decisions, by record_id and the pixels that were looked at.
        most_bad: the share of accepted results that may be bad, 0 to 1.

    Raises:
        RunConflict: no decision is about a result that was scored, or the evaluation is one of pairs.
        StatisticsError: there are too few decisions, they are no random sample, or `most_bad` is no share.
    """
    refuse_pairs(scores, "evaluate the run by itself")
    table = scores.results.table
    keys = list(zip(table["of"].to_pylist(), table["result_digest"].to_pylist(), strict=True))
    scored = zip(keys, scores.results.values[OVERALL].tolist(), strict=True)
    known = {key: value for key, value in scored if value == value}
    decided = [key for key in known if key in verdicts]
    if not decided:
        raise RunConflict(
            f"{scores.run}: none of the {len(verdicts):,} decisions is about a result that was scored here; "
            "give the decisions about the run that was evaluated"
        )
    if len(decided) < LEAST_DECISIONS:
        raise StatisticsError(
            f"{len(decided)} decisions: {LEAST_DECISIONS} at least are needed. Review more results"
        )
    check_share(most_bad, "The share of bad ones")
    values, good = [known[key] for key in decided], [verdicts[key] == APPROVE for key in decided]
    everything = list(known.values())
    check_random_sample(values, everything, seed=SEED)
    acceptance, acceptance_note = _try(lambda: find_acceptance(values, good, everything, most_bad))
    threshold = acceptance.threshold if acceptance else None
    if threshold is None:
        threshold = sorted(everything)[len(everything) // 2]
    agreement, agreement_note = _try(lambda: measure_agreement(values, good, threshold))
    others = [value for key, value in known.items() if key not in verdicts]
    pass_rate, pass_rate_note = _try(lambda: estimate_pass_rate(values, good, others))
    return Calibration(
        run=scores.run,
        judge=", ".join(scores.identity["judge"]),
        results=len(known),
        decided=len(decided),
        approved=sum(good),
        unscored=sum(key in verdicts for key in keys if key not in known),
        most_bad=most_bad,
        acceptance=acceptance,
        acceptance_note=acceptance_note,
        agreement=agreement,
        agreement_note=agreement_note,
        pass_rate=pass_rate,
        pass_rate_note=pass_rate_note,
    )


def _try(find: Callable[[], T]) -> tuple[T | None, str]:
    """What decisions say, or why they don't: one figure that they are too few for takes no other away."""
    try:
        return find(), ""
    except StatisticsError as error:
        return None, str(error)
