"""The stages of a turn: what each asks of a job, and what is noted of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mira_batch import launch
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.construct.run import construct
from mira_batch.core.errors import ConfigError, RunConflict, StoreError
from mira_batch.core.stop_request import StopRequest
from mira_batch.evaluate.compare import compare
from mira_batch.evaluate.scores import read_scores
from mira_batch.runtime.prepare import find_source
from mira_batch.runtime.standing import NotedProgress
from mira_batch.storage.run.layout import read_run
from mira_batch.storage.source import hash_contents
from mira_batch.storage.stores import open_store
from mira_batch.storage.weights import fetch_weights
from mira_batch.train.flywheel.checks import (
    check_apart,
    check_gate,
    check_measurable,
    check_names,
    check_unscored,
)
from mira_batch.train.flywheel.record import CANDIDATE, COMPARISON, CURRENT, DATA, TRAINED, Turn


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
        ConfigError: a held-out image is in the samples, or nothing could pass the gate.
        UserError, RunStopped: as of the jobs.
    """

    def make() -> dict[str, Any]:
        course.note(f"held-out records: the current policy, {adapter or 'the base model'}")
        found = _try(course, adapter)
        check_apart(course.config, found["run"], samples)
        scores = read_scores(found["evaluation"], course.config.storage)
        check_names(course.config, scores)
        check_measurable(course.config, scores)
        return found

    return course.take(CURRENT, make)


def read_manifest_content(config: FlywheelConfig) -> str:
    """What the manifest of held-out records holds now, as runs over it note it.

    Args:
        config: the flywheel's.

    Raises:
        UserError: it isn't there.
    """
    return hash_contents(find_source(launch.make_job(config.edit_job(None))).files)


def _check_manifest(course: Course) -> None:
    """Refuse to spend anything on a candidate that could not be compared.

    Raises:
        RunConflict: the held-out manifest has changed since the current policy was tried on it.
    """
    if read_manifest_content(course.config) != (course.turn.read(CURRENT) or {})["manifest"]:
        raise RunConflict(
            f"{course.config.edit.input.manifest}: has changed since the current policy was tried on it; "
            "restore it, or end this turn with `mira-batch flywheel --abandon WHY`"
        )


def try_candidate(course: Course, adapter: str) -> dict[str, Any]:
    """The same of the candidate.

    Raises:
        RunConflict: the held-out manifest has changed since the current policy was tried.
        UserError, RunStopped: as of the jobs.
    """

    def make() -> dict[str, Any]:
        course.note(f"held-out records: the candidate, {adapter}")
        _check_manifest(course)
        found = _try(course, adapter)
        _check_manifest(course)
        return found

    return course.take(CANDIDATE, make)


def _try(course: Course, adapter: str | None) -> dict[str, Any]:
    config = course.config
    if adapter is not None:
        try:
            fetch_weights(adapter, config.storage)
        except ConfigError as error:
            raise ConfigError(
                f"{str(error).removeprefix('weights: ')}. This turn tries it: restore it, or end the turn "
                "with `mira-batch flywheel --abandon WHY`"
            ) from None
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


def teach(course: Course) -> dict[str, Any]:
    """Train the candidate.

    Raises:
        RunConflict: the held-out manifest has changed since the current policy was tried.
        UserError: as of the training.
    """

    def make() -> dict[str, Any]:
        from mira_batch.train.run import train

        job = course.config.train_job(course.turn.uri)
        course.note("the candidate is trained")
        _check_manifest(course)
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
