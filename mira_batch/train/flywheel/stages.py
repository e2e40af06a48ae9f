"""The stages of a turn: what each asks of a job, and what is noted of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mira_batch import launch
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.construct.run import construct, list_samples
from mira_batch.core.errors import ConfigError, RunConflict, StoreError, UserError
from mira_batch.core.stop_request import StopRequest
from mira_batch.evaluate.compare import EFFORT, Comparison, compare
from mira_batch.evaluate.gate import parse_gate
from mira_batch.evaluate.scores import Scores, read_scores
from mira_batch.runtime.standing import NotedProgress
from mira_batch.storage import schema
from mira_batch.storage.run.history import read_columns
from mira_batch.storage.run.layout import read_run
from mira_batch.storage.stores import open_arrow_filesystem, open_store
from mira_batch.storage.weights import fetch_weights
from mira_batch.train.flywheel.record import CANDIDATE, COMPARISON, CURRENT, DATA, TRAINED, Turn

_MOST_NAMED = 5


@dataclass(frozen=True)
class Course:
    """A turn as it is being made."""

    config: FlywheelConfig
    turn: Turn
    stop: StopRequest
    note: Callable[[str], None]
    """Told how it goes, for people."""

    def take(self, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What is noted of a stage; where nothing is, it is carried out first."""
        if (found := self.turn.read(name)) is not None:
            return found
        return self.turn.note(name, make())


def gather_samples(course: Course) -> dict[str, Any]:
    """Make the samples.

    Raises:
        RunConflict: what they are made of has changed since an earlier call was cut short.
        UserError: as of construct.
    """

    def make() -> dict[str, Any]:
        course.note("samples are made")
        job = course.config.construct_job(course.turn.uri)
        try:
            card = construct(job, None, course.stop)["card"]
        except RunConflict as error:
            raise RunConflict(
                f"{error}\nThis turn can't go on then: end it with `mira-batch flywheel --abandon WHY`; the "
                "next takes its sources as they are"
            ) from None
        splits = card["counts"]["split"]
        return {
            "uri": job.output.uri,
            "snapshot": card["snapshot"],
            "samples": card["samples"],
            "train": splits.get("train", 0),
            "val": splits.get("val", 0),
            "dropped": {
                name.removeprefix("dropped."): count
                for name, count in card["stages"]["select"].items()
                if name.startswith("dropped.")
            },
        }

    return course.take(DATA, make)


def try_current(course: Course, adapter: str | None, samples: str) -> dict[str, Any]:
    """Run the current policy on the held-out records, unless an earlier turn did, and have it judged. What is
    wrong with manifest, editor, judge or gate shows here, before anything is trained.

    Args:
        course: the turn.
        adapter: of the current policy; None: it is the base model.
        samples: directory of what construct made.

    Raises:
        ConfigError: a held-out image is in the samples, or the gate names a figure that there isn't.
        UserError, RunStopped: as of the jobs.
    """

    def make() -> dict[str, Any]:
        course.note(f"held-out records: the current policy, {adapter or 'the base model'}")
        found = _try(course, adapter)
        check_apart(course.config, found["run"], samples)
        check_names(course.config, read_scores(found["evaluation"], course.config.storage))
        return found

    return course.take(CURRENT, make)


def try_candidate(course: Course, adapter: str) -> dict[str, Any]:
    """The same of the candidate.

    Raises:
        RunConflict: the held-out manifest has changed since the current policy was tried.
        UserError, RunStopped: as of the jobs.
    """

    def make() -> dict[str, Any]:
        course.note(f"held-out records: the candidate, {adapter}")
        found, current = _try(course, adapter), course.turn.read(CURRENT) or {}
        if found["manifest"] != current["manifest"]:
            raise RunConflict(
                f"{course.config.edit.input.manifest}: has changed since the current policy was tried on it; "
                "restore it, or end this turn with `mira-batch flywheel --abandon WHY`"
            )
        return found

    return course.take(CANDIDATE, make)


def _try(course: Course, adapter: str | None) -> dict[str, Any]:
    config = course.config
    run = launch.run(config.edit_job(adapter), NotedProgress(course.note), course.stop.nest())
    if run.unread:
        raise StoreError(f"{run.run}: results can't be read; `mira-batch verify {run.run}` names them")
    judged = launch.run(config.evaluate_job(run.run), NotedProgress(course.note), course.stop.nest())
    about = read_run(open_store(run.run, config.storage, make=False))
    return {
        "run": run.run,
        "evaluation": judged.run,
        "manifest": about["settings"]["manifest_content"],
        "records": run.committed,
        "ok": run.ok,
        "unfinished": run.unfinished,
        "failed": run.failed,
    }


def check_apart(config: FlywheelConfig, run: str, samples: str) -> None:
    """Refuse samples of images that the gate is measured on, as the pixels of originals tell.

    Args:
        config: the flywheel's.
        run: on the held-out records.
        samples: directory of what construct made.

    Raises:
        ConfigError: there are some; it counts and names them.
        StoreError: a file can't be read.
    """
    held_out: dict[str, str] = {}
    for _, table in read_columns(
        run, ("record_id", "source_digest"), schema.RESULTS, config.storage, _raise_error
    ):
        for row in table.to_pylist():
            if row["source_digest"]:
                held_out.setdefault(row["source_digest"], row["record_id"])
    found: dict[str, str] = {}
    taken = 0
    for row in read_lineage(samples, config, ("source_digest", "record_id")):
        if row["source_digest"] in held_out:
            taken += 1
            found.setdefault(row["source_digest"], row["record_id"])
    if found:
        named = ", ".join(
            f"{held_out[digest]!r} (as {record!r} in the samples)"
            for digest, record in sorted(found.items())[:_MOST_NAMED]
        )
        raise ConfigError(
            f"edit.input.manifest: {len(found):,} of its {len(held_out):,} images are in {taken:,} samples, "
            f"{named} among them: what is learned by heart would pass the gate. Take them out of the "
            "manifest, or out of the sources, and end this turn with `mira-batch flywheel --abandon WHY`"
        )


def read_lineage(samples: str, config: FlywheelConfig, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Some columns of all samples.

    Args:
        samples: directory of what construct made.
        config: the flywheel's.
        columns: which.
    """
    store = open_store(samples, config.storage, make=False)
    fs, root = open_arrow_filesystem(samples, config.storage)
    for split in ("train", "val"):
        for key in list_samples(store, split):
            yield from pq.read_table(f"{root}/{key}", filesystem=fs, columns=[*columns]).to_pylist()


def _raise_error(error: StoreError) -> None:
    raise error


def check_names(config: FlywheelConfig, scores: Scores) -> None:
    """Refuse names that no comparison will have before a training, not after it.

    Args:
        config: the flywheel's.
        scores: of the current policy.

    Raises:
        ConfigError: the gate names a figure that there isn't.
    """
    effort = [name for name, column in EFFORT.items() if not np.isnan(scores.results.numbers(column)).all()]
    known = [*scores.scales, *effort]
    for text in config.gate:
        if (gate := parse_gate(text)).name not in known and scores.results.scored.any():
            raise ConfigError(f"gate: {text}: there is no figure {gate.name!r}; there are {', '.join(known)}")


def teach(course: Course) -> dict[str, Any]:
    """Train the candidate.

    Raises:
        UserError: as of the training.
    """

    def make() -> dict[str, Any]:
        from mira_batch.train.run import train

        job = course.config.train_job(course.turn.uri)
        course.note("the candidate is trained")
        result = train(job, course.note, course.stop)
        adapter = f"{job.output.uri}/{result['learned']}"
        return {
            "training": job.output.uri,
            "adapter": adapter,
            "digest": fetch_weights(adapter, course.config.storage).identity,
            "base": result["base"],
            "base_identity": result["base_identity"].partition(" adapter=")[0],
            "prompt": job.prompt.model_dump(mode="json"),
            "data_digest": result["data_digest"],
            "steps": result["steps"],
            "figures": result["figures"],
        }

    return course.take(TRAINED, make)


def hold_together(course: Course) -> dict[str, Any]:
    """Compare the candidate with the current policy, and say whether it passes.

    Raises:
        UserError: an evaluation can't be read.
    """

    def make() -> dict[str, Any]:
        storage = course.config.storage
        current, candidate = (
            read_scores((course.turn.read(name) or {})["evaluation"], storage)
            for name in (CURRENT, CANDIDATE)
        )
        found = compare(current, candidate)
        checks = [check_gate(text, found) for text in course.config.gate]
        checks.append(check_unscored(found, course.config.max_unscored))
        return {
            "verdict": found.verdict,
            "passed": all(check["passed"] for check in checks),
            "checks": checks,
            "figures": found.dump(),
        }

    return course.take(COMPARISON, make)


def check_gate(text: str, found: Comparison) -> dict[str, Any]:
    """Whether a comparison passes a gate, as it is noted. Where nothing is shown, it doesn't.

    Args:
        text: the gate, such as `overall>=0`.
        found: the comparison.
    """
    gate = parse_gate(text)
    try:
        passed, why = gate.check(found)
    except UserError as error:  # no figure, or no interval for it: nothing is shown, so it doesn't pass
        passed, why = False, f"gate {text}: not passed; {str(error).removeprefix(f'--gate {gate.text}: ')}"
    return {"gate": text, "passed": passed, "why": why}


def check_unscored(found: Comparison, most: float) -> dict[str, Any]:
    """Whether the candidate leaves hardly more records without a score, as it is noted. A record that only
    one of both evaluations has counts as one without a score in the other.

    Args:
        found: the comparison of the current policy with it.
        most: largest share of the records that it may leave more.
    """
    records = found.paired + found.only_a + found.only_b
    # What one evaluation lacks has no score there: `statuses` or `where` left the result out.
    current, candidate = (
        getattr(found.no_result, of) + getattr(found.judge_failed, of) + lacks
        for of, lacks in (("a", found.only_b), ("b", found.only_a))
    )
    passed = (candidate - current) / records <= most
    why = (
        f"without a score: {current:,} of {records:,} by the current policy, {candidate:,} by the "
        f"candidate: {'passed' if passed else 'not passed'}, {100 * most:.3g} % more of them are allowed"
    )
    if found.only_a or found.only_b:
        why += (
            f"; evaluate.input left {found.only_b:,} of these out of the judging of the current policy, and "
            f"{found.only_a:,} of the candidate's"
        )
    return {"gate": "max_unscored", "passed": passed, "why": why}
