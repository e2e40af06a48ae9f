"""A training by rollouts from its config: what is checked beforehand, its iterations, and what they made."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mira_batch.config.grpo import GrpoConfig
from mira_batch.core.errors import ConfigError, RunConflict
from mira_batch.core.stop_request import StopRequest
from mira_batch.runtime.lease import lease
from mira_batch.storage.stores import Store, check_create_only, open_store
from mira_batch.train.grpo.card import write_card
from mira_batch.train.grpo.guards import choose_best, is_diverging
from mira_batch.train.grpo.iteration import Course, run_iteration
from mira_batch.train.grpo.record import METRICS, RESULT, SETTINGS, Iteration
from mira_batch.train.grpo.slices import RecordList
from mira_batch.train.grpo.validation import is_due, validate
from mira_batch.train.record import claim, give_way, put_once


def train(config: GrpoConfig, note: Callable[[str], None], stop: StopRequest | None = None) -> dict[str, Any]:
    """Train a policy by its own rollouts, going on from wherever an earlier call stopped.

    Args:
        config: of the training.
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
    if (done := store.get(RESULT)) is not None:
        _claim(store, config, {})
        found = json.loads(done)
        if config.iterations > found["iterations"] and found["ended"] == _tell_all(found["iterations"]):
            raise ConfigError(
                f"iterations: is {config.iterations:,}, and this training is complete after "
                f"{found['iterations']:,}; go on into another output.uri, with model.adapter: "
                f"{store.locate('adapter')}"
            )
        note(f"complete already: {store.locate('adapter')}")
        return found
    with lease(store, give_way, note):
        records = RecordList(config.edit.input, config.storage, config.output.uri)
        if records.count < config.records:
            raise ConfigError(
                f"records: is {config.records}, and {config.edit.input.manifest} has {records.count} valid "
                "ones"
            )
        _claim(store, config, {"records": records.digest})
        return _go_on(Course(config, store, records, stop or StopRequest(), note))


def _claim(store: Store, config: GrpoConfig, data: Mapping[str, str]) -> None:
    """Note what is trained here, or see that it is what was: as `claim`. Until there is a result nothing
    rests on what an earlier call noted, and a typo can be mended."""
    try:
        claim(store, SETTINGS, config.learning(), data, config.model_dump(mode="json"))
    except RunConflict:
        made = [entry.key for folder in ("iterations", "validation") for entry in store.list(folder)]
        if store.exists(RESULT) or any("/results/" in key for key in made):
            raise
        store.delete([SETTINGS, *made])
        _claim(store, config, data)


def _go_on(course: Course) -> dict[str, Any]:
    config, iterations = course.config, list[dict[str, Any]]()
    validations = [validate(course, 0)] if is_due(course, 0) else []
    ended = _tell_all(config.iterations)
    diverged = False
    for number in range(config.iterations):
        iterations.append(run_iteration(course, number))
        if is_due(course, number + 1):
            validations.append(validate(course, number + 1))
        _write_metrics(course.store, iterations, validations)
        if diverged := _diverges(config, iterations):
            ended = (
                f"It stopped after {number + 1:,} iterations: the training judge's score rose and the "
                f"sentinel's fell {config.sentinel.patience if config.sentinel else 0} times in a row."
            )
            course.note(ended)
            break
    patience = config.sentinel.patience if config.sentinel else None
    best = choose_best(validations, len(iterations), patience, diverged)
    _copy_adapter(course.store, best.iteration - 1)
    card, result = write_card(config, best, ended, course.records.digest, iterations, validations)
    course.store.put("README.md", card.encode())
    put_once(course.store, RESULT, json.dumps(result, indent=2).encode())
    course.note(f"done: {course.store.locate('adapter')}, of iteration {best.iteration:,}: {best.why}")
    return result


def _tell_all(iterations: int) -> str:
    return f"All {iterations:,} iterations were made."


def _diverges(config: GrpoConfig, iterations: Sequence[Mapping[str, Any]]) -> bool:
    if config.sentinel is None:
        return False
    training, sentinel = ([each.get(name) for each in iterations] for name in ("score_mean", "sentinel_mean"))
    return is_diverging(training, sentinel, config.sentinel.patience)


def _write_metrics(
    store: Store, iterations: Sequence[Mapping[str, Any]], validations: Sequence[Mapping[str, Any]]
) -> None:
    lines = [{"of": "iteration", **each} for each in iterations]
    lines += [{"of": "validation", **each} for each in validations]
    lines.sort(key=lambda line: line["iteration"])
    store.put(METRICS, "".join(json.dumps(line) + "\n" for line in lines).encode())


def _copy_adapter(store: Store, iteration: int) -> None:
    folder = f"{Iteration(store, iteration).folder}/adapter"
    for entry in store.list(folder):
        put_once(store, f"adapter/{entry.key.rpartition('/')[2]}", store.get(entry.key) or b"")
