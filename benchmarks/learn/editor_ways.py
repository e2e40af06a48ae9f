"""What is measured of editors that learn, and what it has to show: counts of held-out edits, and what else
each of them changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.learn.successes import OWN_FAULTS, Rate, Solved, estimate_gain, estimate_mean, estimate_rate
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import UserError
from mira_batch.storage.run.results import read_outputs
from mira_batch.train.grpo.rollouts import read_scores


@dataclass(frozen=True, slots=True)
class EditorWay:
    """An editor, measured on held-out edits; or a policy with it, on held-out instructions."""

    name: str
    title: str
    editor: str
    """The stage that made it."""
    loops: bool = False


EDITOR_WAYS = (
    EditorWay("base", "before it is taught", "base"),
    EditorWay("sft", "editor-sft", "sft"),
    EditorWay("nft", "editor-nft, by the truth", "nft"),
    EditorWay("nft-all", "the same, no group left out", "nft-all"),
    EditorWay("nft-judged", "editor-nft, by a score-logit judge", "nft-judged"),
    EditorWay("loop-sft", "policy with the editor of editor-sft", "sft", loops=True),
    EditorWay("loop-nft", "policy with the editor of editor-nft", "nft", loops=True),
)


@dataclass(frozen=True, slots=True)
class EditorTarget:
    """What has to be shown: of two ways the gain, edit by edit, in what is solved or in what is spared."""

    title: str
    way: str
    against: str
    of: str = "solved"
    """Or `spared`: the share of what was not to change that is as it was."""
    certain: bool = True
    """Whether it has to be above 0 by more than its interval, or only not below."""


EDITOR_TARGETS = (
    EditorTarget("editor-nft by the truth over editor-sft", "nft", "sft"),
    EditorTarget("what editor-nft by the truth spares more", "nft", "sft", "spared", certain=False),
    EditorTarget("editor-nft by a score-logit judge over editor-sft", "nft-judged", "sft"),
    EditorTarget("what editor-nft by a judge spares more", "nft-judged", "sft", "spared", certain=False),
    EditorTarget("the policy with the better editor over the policy", "loop-nft", "loop-sft"),
)
AGREEMENT = 0.75
"""Share of pairs of which the judge has to say what the truth says."""


def read_edits(run: str, evaluation: str, tasks: int) -> dict[str, dict[str, float]]:
    """What came of each task of a run: `solved`, 0 or 1, and `spared`, by the task's name.

    Args:
        run: its directory.
        evaluation: directory of its evaluation, by the truth.
        tasks: how many there must be.

    Raises:
        UserError: a task is missing, failed, or has no score.
    """
    scores, _ = read_scores(evaluation, StorageConfig())
    found: dict[str, dict[str, float]] = {"solved": {}, "spared": {}}
    for row in read_outputs(run, columns=["record_id", "status", "error_kind"]).to_pylist():
        name, scored = row["record_id"], scores.get((row["record_id"], 0))
        if row["status"] == "failed" and row["error_kind"] in OWN_FAULTS:
            found["solved"][name] = found["spared"][name] = 0.0  # the policy's own doing
            continue
        if row["status"] == "failed" or scored is None or scored.score is None:
            why = row["error_kind"] or "the judge gave no score"
            raise UserError(
                f"{run}: {name}: {why}; what is not known is no figure. Delete the run and {evaluation}, "
                "and go on"
            )
        found["solved"][name] = float(scored.score == 1.0)
        found["spared"][name] = 1.0 - scored.axes["collateral"]
    if len(found["solved"]) != tasks:
        raise UserError(
            f"{run}: has {len(found['solved'])} of {tasks} tasks; delete the run and {evaluation}, and go on"
        )
    return found


def sum_up_editors(
    seeds: Sequence[Mapping[str, Mapping[str, Solved]]], agreements: Sequence[float | None]
) -> dict[str, Any]:
    """The table of editors.

    Args:
        seeds: of each seed what `read_edits` gives, by way.
        agreements: of each seed, the share of pairs of which its judge says what the truth says; None: there
            are no pairs, and nothing is said of judges.
    """
    rows, targets = [], []
    for way in EDITOR_WAYS:
        solved = [seed[way.name]["solved"] for seed in seeds]
        row = {
            "name": way.name,
            "title": way.title,
            **estimate_rate(solved).dump(),
            "solved": round(sum(sum(each.values()) for each in solved)),
            "tasks": sum(map(len, solved)),
            "spared": fmean(fmean(seed[way.name]["spared"].values()) for seed in seeds),
        }
        rows.append(row)
    for target in EDITOR_TARGETS:
        ours, theirs = ([seed[name][target.of] for seed in seeds] for name in (target.way, target.against))
        targets.append(
            _tell(
                target.title,
                0.0,
                rate := estimate_gain(ours, theirs),
                (rate.low > 0) if target.certain else (rate.value >= 0),
            )
        )
    known = [value for value in agreements if value is not None]
    if known and len(known) == len(agreements):
        rate = estimate_mean(known)
        title = "the judge says what the truth says, of pairs"
        targets.append(_tell(title, AGREEMENT, rate, rate.value >= AGREEMENT))
    return {"ways": rows, "targets": targets}


def _tell(title: str, least: float, rate: Rate, met: bool) -> dict[str, Any]:
    return {"title": title, "least": least, "met": met, **rate.dump()}
