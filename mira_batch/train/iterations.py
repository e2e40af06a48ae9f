"""A training as a sequence of batch jobs: what all of these have in common, whatever learns.

An iteration makes something with the model as it is, has it judged, and learns from it. Each phase's files
are created once, the last of them says that it is whole, and a call goes on in the phase that an earlier one
was in. Owns the order of iterations and validations, when a training ends, and which adapter it gives; leaves
to each training what happens in one.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from mira_batch import launch
from mira_batch.config.iterations import IterationsConfig
from mira_batch.config.models import JudgeConfig
from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import ConfigError, StoreError, UserError
from mira_batch.core.receipts import RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.runtime.lease import lease
from mira_batch.runtime.standing import NotedProgress
from mira_batch.storage.manifest import find_manifest
from mira_batch.storage.run.layout import read_document
from mira_batch.storage.stores import Store, check_create_only, open_store
from mira_batch.storage.training import METRICS, RESULT
from mira_batch.train.grpo.slices import RecordList, digest_files
from mira_batch.train.guards import Best, choose_best, is_diverging, is_past_best
from mira_batch.train.record import BASE, REMADE, claim, claim_base, give_way, put_once

Config = TypeVar("Config", bound=IterationsConfig)
Figures = dict[str, Any]


@dataclass
class Course(Generic[Config]):
    """A training while it runs."""

    config: Config
    store: Store
    records: RecordList
    stop: StopRequest
    note: Callable[[str], None]

    @cached_property
    def held_out(self) -> str:
        """What tells the manifest of the held-out records from others, as this call found it first."""
        return self.find_held_out()

    def find_held_out(self) -> str:
        """The same, as it is now."""
        config = self.config
        assert config.validation is not None
        return digest_files(find_manifest(config.validation.input, config.storage, config.output.uri))

    def run(self, job: JobConfig) -> RunSummary:
        """Run a job. Its own limits end it alone, `stop` ends it, too."""
        return launch.run(job, NotedProgress(self.note), self.stop.nest())

    def judge(self, judge: JudgeConfig, run: str, output: str, canaries: int = 0) -> str:
        """Have a run judged; the directory of the evaluation."""
        self.run(self.config.judge_job(judge, run, output, canaries))
        return f"{output}/run"


@dataclass(frozen=True, slots=True)
class IterationFiles:
    """The files of an iteration."""

    store: Store
    """Of the training."""
    number: int
    """From 0."""

    @property
    def folder(self) -> str:
        """Where they are in the store."""
        return f"iterations/{self.number:06d}"

    def locate_run(self, what: str) -> str:
        """Directory of a run of the iteration, by its name."""
        return self.store.locate(f"{self.folder}/{what}/run")

    def locate_runs(self, what: str) -> str:
        """The `output.uri` of that run."""
        return self.store.locate(f"{self.folder}/{what}")

    def read(self, name: str) -> Figures | None:
        """A JSON file of the iteration: rewards, update or iteration; None where it is not there yet."""
        return read_document(self.store, f"{self.folder}/{name}.json", cure=REMADE)

    def put(self, name: str, figures: Mapping[str, Any]) -> None:
        """Put such a file; one that is there stays."""
        self.store.create(f"{self.folder}/{name}.json", json.dumps(figures, indent=2).encode())

    def put_anew(self, name: str, data: bytes) -> None:
        """Put a file of a phase that is not whole yet, in place of what a killed call left of it."""
        if not self.store.create(key := f"{self.folder}/{name}", data):
            self.store.delete([key])
            self.store.create(key, data)

    def claim_base(self, identity: str, setting: str) -> None:
        """As `record.claim_base`, before the update. Until the first one is whole nothing rests on the
        weights."""
        if self.number == 0:
            self.store.delete([BASE])
        claim_base(self.store, identity, setting, self.folder)

    def read_bytes(self, name: str) -> bytes:
        """A file of a phase that is whole.

        Raises:
            StoreError: it is gone.
        """
        data = self.store.get(key := f"{self.folder}/{name}")
        if data is None:
            raise StoreError(f"{self.store.locate(key)}: is gone, and the training can't go on without it")
        return data


@dataclass(frozen=True, slots=True)
class Plan(Generic[Config]):
    """What a training by iterations does."""

    settings: str
    """The file that its settings are noted in."""
    learned: str
    """The folder of what an iteration learned, and of what the training gives."""
    goes_on_by: str | None
    """The setting by which another training goes on from that; None: there is none."""
    iterate: Callable[[Course[Config], int], Figures | None]
    """(training, number of the iteration, from 0) -> its figures; None: there is nothing left to learn."""
    validate: Callable[[Course[Config], int], Figures]
    """(training, iterations that are done) -> the figures of a validation, with `iteration` and `score`."""
    write_card: Callable[[Config, Best, str, str, Sequence[Figures], Sequence[Figures]], tuple[str, Figures]]
    """(config, adapter that is given, why it ended, digest of the records, figures of iterations, of
    validations) -> the card as Markdown, and as data."""
    check: Callable[[Course[Config]], None] | None = None
    """Sees, before anything is made, whether the model can be taught."""


def train_by_iterations(
    plan: Plan[Config], config: Config, note: Callable[[str], None], stop: StopRequest | None
) -> Figures:
    """Make all iterations, going on from wherever an earlier call stopped.

    Args:
        plan: what a training does.
        config: of it.
        note: told how it goes, for people.
        stop: by this a signal handler can end a run in order.

    Returns:
        The figures of `result.json`; of a training that is complete, those that are there.

    Raises:
        RunConflict: another driver trains here, or other settings or data were trained here.
        UserError: settings, files or data are wrong; or as an iteration's phases.
        RunStopped: `stop` was asked. The same call goes on.
        ClusterLost: workers died more often than `workers.retries`.
    """
    if importlib.util.find_spec("peft") is None:
        raise ConfigError("a training needs the package peft: pip install 'mira-batch[train]'")
    store = open_store(config.output.uri, config.storage)
    check_create_only(store)
    if store.exists(RESULT):
        _claim(plan, store, config, {})  # before it is read: the result of something else is not damaged
        found = read_document(store, RESULT, "iterations", "ended", cure=REMADE) or {}
        if config.iterations > found["iterations"] and found["ended"] == _tell_all(found["iterations"]):
            more = f", with {plan.goes_on_by}: {store.locate(plan.learned)}" if plan.goes_on_by else ""
            raise ConfigError(
                f"iterations: is {config.iterations:,}, and this training is complete after "
                f"{found['iterations']:,}; go on into another output.uri{more}"
            )
        note(f"complete already: {store.locate(plan.learned)}")
        return found
    with lease(store, give_way, note):
        records = RecordList(config.edit.input, config.storage, config.output.uri)
        if records.count < config.records:
            raise ConfigError(
                f"records: is {config.records}, and {config.edit.input.manifest} has {records.count} valid "
                "ones"
            )
        _claim(plan, store, config, {"records": records.digest})
        return _go_on(plan, Course(config, store, records, stop or StopRequest(), note))


def refuse_few(
    made: int, judged: int, left_out: Mapping[str, int], most: float, what: str, folder: str
) -> None:
    """See that enough of what an iteration or a validation made was judged.

    Args:
        made: all of them.
        judged: those that were.
        left_out: the others, by the kind of fault.
        most: the largest share that may be left out.
        what: they are, in the plural, and what the others have none of: "samples have no reward".
        folder: of the iteration or the validation.

    Raises:
        UserError: there are none, or more were not judged than is allowed.
    """
    if not made:
        raise UserError(f"{folder}: no record could be read; `mira-batch status` of the runs there says why")
    if not judged or (made - judged) / made > most:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in left_out.items())
        raise UserError(
            f"{made - judged:,} of {made:,} {what} ({kinds}), and rewards.max_left_out "
            f"is {most:g}: see `mira-batch status` of the runs in {folder} for what failed; delete that "
            "folder once it is mended, and the same command makes it anew"
        )


def _claim(plan: Plan[Config], store: Store, config: Config, data: Mapping[str, str]) -> None:
    """Note what is trained here, or see that it is what was: as `claim`. Until there is a result of a run
    nothing rests on what an earlier call noted, and a typo can be mended."""

    def find_disposable() -> list[str] | None:
        made = [entry.key for folder in ("iterations", "validation") for entry in store.list(folder)]
        return None if any("/results/" in key for key in made) else [*made, BASE]

    settings = config.learning(), data, config.model_dump(mode="json")
    keep = config.keep_decisive
    claim(store, plan.settings, *settings, find_disposable=find_disposable, keep_decisive=keep)


def _go_on(plan: Plan[Config], course: Course[Config]) -> Figures:
    config, iterations = course.config, list[Figures]()
    if plan.check is not None:
        plan.check(course)
    validations = [plan.validate(course, 0)] if _is_due(config, 0) else []
    ended, diverged = _tell_all(config.iterations), False
    for number in range(config.iterations):
        made = plan.iterate(course, number)
        if made is None:
            ended = f"It stopped after {number:,} iterations: all records are solved."
            course.note(ended)
            if config.validation is not None and validations[-1]["iteration"] < number:
                validations.append(plan.validate(course, number))
                _write_metrics(course.store, iterations, validations)
            break
        iterations.append(made)
        if _is_due(config, number + 1):
            validations.append(plan.validate(course, number + 1))
        _write_metrics(course.store, iterations, validations)
        early, diverged = _find_end(config, iterations, validations)
        if early is not None:
            course.note(ended := early)
            break
    patience = config.sentinel.patience if config.sentinel else None
    best = choose_best(validations, len(iterations), patience, diverged)
    _copy_learned(course.store, best.iteration - 1, plan.learned)
    card, result = plan.write_card(config, best, ended, course.records.digest, iterations, validations)
    course.store.put("README.md", card.encode())
    put_once(course.store, RESULT, json.dumps(result, indent=2).encode())
    learned = course.store.locate(plan.learned)
    course.note(f"done: {learned}, of iteration {best.iteration:,}: {best.why}")
    return result


def _is_due(config: IterationsConfig, done: int) -> bool:
    settings = config.validation
    return settings is not None and (done % settings.every == 0 or done == config.iterations)


def _tell_all(iterations: int) -> str:
    return f"All {iterations:,} iterations were made."


def _find_end(
    config: IterationsConfig,
    iterations: Sequence[Mapping[str, Any]],
    validations: Sequence[Mapping[str, Any]],
) -> tuple[str | None, bool]:
    """Why a training ends here, if it does, though iterations are left; and whether its judges diverge."""
    begun, sentinel = f"It stopped after {len(iterations):,} iterations: ", config.sentinel
    if sentinel is not None:
        training, watching = (
            [each.get(name) for each in iterations] for name in ("score_mean", "sentinel_mean")
        )
        if is_diverging(training, watching, sentinel.patience):
            times = f"{sentinel.patience} times in a row"
            return f"{begun}the training judge's score rose and the sentinel's fell {times}.", True
    patience = config.validation.patience if config.validation else None
    if patience is not None and is_past_best(validations, patience):
        return f"{begun}{patience} validations in a row scored less than the best before them.", False
    return None, False


def _write_metrics(
    store: Store, iterations: Sequence[Mapping[str, Any]], validations: Sequence[Mapping[str, Any]]
) -> None:
    lines = [{"of": "iteration", **each} for each in iterations]
    lines += [{"of": "validation", **each} for each in validations]
    lines.sort(key=lambda line: line["iteration"])
    store.put(METRICS, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _copy_learned(store: Store, iteration: int, learned: str) -> None:
    folder = f"{IterationFiles(store, iteration).folder}/{learned}"
    if not (entries := list(store.list(folder))):
        raise StoreError(f"{store.locate(folder)}: is gone, and the training gives what was in it")
    for entry in entries:
        put_once(store, f"{learned}/{entry.key.rpartition('/')[2]}", store.get(entry.key) or b"")
