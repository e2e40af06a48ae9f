"""A judge's scores held against people's decisions about the same pixels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mira_batch.core.errors import RunConflict
from mira_batch.evaluate.calibration import (
    Acceptance,
    Agreement,
    PassRate,
    estimate_pass_rate,
    find_acceptance,
    measure_agreement,
)
from mira_batch.evaluate.scores import OVERALL, Scores, refuse_pairs
from mira_batch.evaluate.statistics import StatisticsError
from mira_batch.storage.catalogue.decided import Verdicts
from mira_batch.storage.run.decisions import APPROVE


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
    acceptance: Acceptance
    agreement: Agreement
    """At the threshold of `acceptance`; where there is none, at the one in the middle of the scores."""
    pass_rate: PassRate | None
    pass_rate_note: str
    """Why there is none."""

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
        StatisticsError: there are too few decisions, or too few of a kind.
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
    values, good = [known[key] for key in decided], [verdicts[key] == APPROVE for key in decided]
    acceptance = find_acceptance(values, good, list(known.values()), most_bad)
    threshold = acceptance.threshold
    if threshold is None:
        threshold = sorted(known.values())[len(known) // 2]
    others = [value for key, value in known.items() if key not in verdicts]
    pass_rate, note = None, ""
    try:
        pass_rate = estimate_pass_rate(values, good, others)
    except StatisticsError as error:
        note = str(error)
    return Calibration(
        run=scores.run,
        judge=", ".join(scores.identity["judge"]),
        results=len(known),
        decided=len(decided),
        approved=sum(good),
        unscored=sum(key in verdicts for key in keys if key not in known),
        acceptance=acceptance,
        agreement=measure_agreement(values, good, threshold),
        pass_rate=pass_rate,
        pass_rate_note=note,
    )
