"""Steps as rows: in results, and in the header of a step file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from mira_batch.core.answers import PolicyAnswer
from mira_batch.core.judgement import Axis, Judgement
from mira_batch.core.types import Candidate, Frame, LoggedStep, Step
from mira_batch.core.usage import Usage
from mira_batch.storage import schema

_APART = ("usage", "candidates", "answers")
_NAMES = tuple(field.name for field in fields(Step) if field.name not in _APART)
_SECONDS = tuple(field.name for field in schema.SECONDS)
_OF_CANDIDATE = tuple(field.name for field in fields(Candidate) if field.name != "judgement")


def make_step_row(step: Step, image: dict[str, Any] | None) -> dict[str, Any]:
    """A step as a row of schema `STEP`."""
    return dump_fields(step) | {"image": image}


def dump_fields(step: Step) -> dict[str, Any]:
    """A step's own fields and usage: `asdict`, which copies every value deeply, at a tenth of its cost.

    Args:
        step: the step.
    """
    return {name: getattr(step, name) for name in _NAMES} | make_usage_row(step.usage)


def make_usage_row(usage: Usage) -> dict[str, Any]:
    """The columns `seconds` and `cost` of a step or a result."""
    return {"seconds": {name: usage[name] for name in _SECONDS}, "cost": usage.cost}


def dump_candidate(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON data; what the judge said only where that is kept."""
    found = {name: getattr(candidate, name) for name in _OF_CANDIDATE}
    return found if candidate.judgement is None else found | {"judgement": asdict(candidate.judgement)}


def read_candidate(found: Mapping[str, Any]) -> Candidate:
    """What `dump_candidate` gave."""
    said = found.get("judgement")
    if said is None:
        return Candidate(**found)
    axes = {name: Axis(**axis) for name, axis in said["axes"].items()}
    judgement = Judgement(**{**said, "axes": axes, "raw": tuple(said["raw"])})
    return Candidate(**{**found, "judgement": judgement})


def read_answer(found: Mapping[str, Any]) -> PolicyAnswer:
    """An answer, of its fields."""
    tokens = None if found["tokens"] is None else tuple(found["tokens"])
    problem = found["problem"] or ""
    return PolicyAnswer(
        **{**found, "problem": problem, "tokens": tokens, "logprobs": tuple(found["logprobs"])}
    )


def make_candidate_rows(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """The column `candidates` of a result."""
    return [
        {"step": step.index, "attempt": attempt, **{name: getattr(each, name) for name in _OF_CANDIDATE}}
        for step in steps
        for attempt, each in enumerate(step.candidates)
    ]


def read_candidates(rows: Iterable[Mapping[str, Any]] | None, step: int) -> tuple[Candidate, ...]:
    """The candidates of a step, of a result's column `candidates`.

    Args:
        rows: the column's value; None of a result of an earlier release.
        step: index of the step.
    """
    mine = (row for row in rows or () if row["step"] == step)
    return tuple(Candidate(**{name: row[name] for name in _OF_CANDIDATE}) for row in mine)


def make_answer_rows(answers: Iterable[PolicyAnswer]) -> list[dict[str, Any]]:
    """The column `answers` of a result."""
    return [asdict(answer) | {"problem": answer.problem or None} for answer in answers]


def dump_judgement(judgement: Judgement | None) -> dict[str, Any]:
    """The columns of `schema.JUDGEMENT`; of no verdict they are null."""
    if judgement is None:
        return dict.fromkeys(("axes", "validity", "protocol", "reason", "raw"))
    return {
        "axes": [
            {"name": name, "value": axis.value, "low": axis.low, "high": axis.high}
            for name, axis in judgement.axes.items()
        ],
        "validity": [{"name": name, "value": value} for name, value in judgement.validity.items()],
        "protocol": judgement.protocol or None,
        "reason": judgement.reason or None,
        "raw": list(judgement.raw),
    }


def make_judged_rows(
    steps: Iterable[LoggedStep], keep: Callable[[LoggedStep, Frame], Mapping[str, Any] | None]
) -> list[dict[str, Any]]:
    """The column `judgements` of a result. Of candidates with the same pixels the first has the image, and
    none where they are those of an image that was taken.

    Args:
        steps: of the trajectory.
        keep: gives the `schema.IMAGE` of a candidate that was not taken.
    """
    steps = list(steps)
    written, rows = {logged.step.after for logged in steps}, list[dict[str, Any]]()
    for logged in steps:
        frames = {frame.digest: frame for frame in logged.rejected}
        for attempt, candidate in enumerate(logged.step.candidates):
            frame = frames.get(candidate.after)
            image = None if frame is None or frame.digest in written else keep(logged, frame)
            written.add(candidate.after)
            place = {"step": logged.step.index, "attempt": attempt, "after": candidate.after}
            rows.append(place | {"image": image} | dump_judgement(candidate.judgement))
    return rows
