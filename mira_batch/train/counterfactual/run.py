"""A counterfactual from its config to its rows: two runs of the edit job, each judged by the evaluate job.

<output>/counterfactual.json     settings, and the trajectories that are looked at
         states.jsonl, laid.jsonl, originals/   what is tried: see `states.py`
         states/run/, laid/run/                 the runs
         states-scores/run/, laid-scores/run/   their evaluations
         steps.parquet           a row of `VALUED_STEPS` for each step
         result.json             counts; it is written last, and says that all is there
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mira_batch import launch
from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.config.edit import BulkEditConfig, InputConfig
from mira_batch.config.load import load_run_config
from mira_batch.core.errors import ConfigError
from mira_batch.core.identity import content_hash
from mira_batch.core.stop_request import StopRequest
from mira_batch.runtime.lease import lease
from mira_batch.runtime.standing import NotedProgress
from mira_batch.storage.counterfactual import (
    LAID,
    RESULT_FILE,
    STATES,
    STEPS_FILE,
    VALUED_STEPS,
    read_counterfactual,
)
from mira_batch.storage.run.calls import read_last_config
from mira_batch.storage.run.layout import read_document, read_edit_run
from mira_batch.storage.run.result_file import results_file
from mira_batch.storage.stores import Store, check_create_only, open_store
from mira_batch.train.counterfactual.plan import Plan, make_plan
from mira_batch.train.counterfactual.states import list_laid, list_states, write_manifests
from mira_batch.train.counterfactual.steps import (
    End,
    Ends,
    check_laid,
    complete_ends,
    describe_ends,
    list_unusable,
    read_ends,
    value_trajectory,
)
from mira_batch.train.counterfactual.trajectories import Chosen, choose_trajectories
from mira_batch.train.grpo.rollouts import read_scores
from mira_batch.train.record import REMADE, claim, give_way, put_once

ABOUT = "counterfactual.json"
_SHOWN = ("trajectories", "ruined", "none_named", "with_advantage", "continuations", "laid_down", "unusable")
"""What `result.json` has at least, for whoever prints it."""
_LISTED = 100
"""Names that `result.json` has of what could not be had."""


def plan(config: CounterfactualConfig) -> Plan:
    """What it would take. Nothing is written.

    Args:
        config: of the counterfactual.

    Raises:
        RunConflict: `run` is no run of the edit job.
        ConfigError: nothing of it can be looked at.
        StoreError: it can't be read.
    """
    base = _read_base(config)
    return make_plan(config, choose_trajectories(config), base.limits.max_steps)


def find_values(
    config: CounterfactualConfig, note: Callable[[str], None], stop: StopRequest | None = None
) -> dict[str, Any]:
    """Find what each step was worth, going on from wherever an earlier call stopped.

    Args:
        config: of the counterfactual.
        note: told how it goes, for people.
        stop: by this a signal handler can end a run in order.

    Returns:
        The figures of `result.json`; of one that is complete, those that are there.

    Raises:
        RunConflict: another driver is at work here, or other settings or trajectories were.
        StoreError: what is noted here is damaged.
        UserError: settings, the run or a model are wrong.
        RunStopped: `stop` was asked. The same call goes on.
    """
    base = _read_base(config)
    store = open_store(config.output.uri, config.storage)
    check_create_only(store)
    with lease(store, give_way, note):
        if store.exists(RESULT_FILE) and store.exists(STEPS_FILE):  # else what is gone is made again
            _claim(store, config, base, {})  # before it is read: the result of something else is not damaged
            found = read_document(store, RESULT_FILE, *_SHOWN, cure=REMADE) or {}
            read_counterfactual(store.uri, config.storage)  # nobody can check figures of damaged rows
            note(f"complete already: {store.locate(STEPS_FILE)}")
            return found
        chosen = choose_trajectories(config)
        works = content_hash(*(each.work_id for each in chosen.trajectories))
        _claim(store, config, base, {"trajectories": works})
        planned = make_plan(config, chosen, base.limits.max_steps)
        for line in planned.describe():
            note(line)
        return _go_on(_Call(config, base, store, note, stop or StopRequest()), chosen, planned)


def _claim(store: Store, config: CounterfactualConfig, base: BulkEditConfig, data: dict[str, str]) -> None:
    trying = config.trying() | {"edit": base.pixels()}
    claim(store, ABOUT, trying, data, config.model_dump(mode="json"), "counterfactual")


def _read_base(config: CounterfactualConfig) -> BulkEditConfig:
    """The config of the run that is looked at."""
    uri = config.run.rstrip("/")
    store = open_store(uri, config.storage, make=False)
    read_edit_run(store)
    base = load_run_config(read_last_config(store), uri)
    assert isinstance(base, BulkEditConfig)
    output = base.output
    if output.step_images == "drop" or not _is_lossless(base):
        raise ConfigError(
            f"run: {uri} kept no image of its steps without loss (output.step_images: {output.step_images}, "
            f"output.format: {output.format}), so nothing can begin from its states; make a run with "
            "step_images: embed and format: png"
        )
    return base


def _is_lossless(base: BulkEditConfig) -> bool:
    return base.output.format == "png" or (base.output.format == "webp" and base.output.quality == 100)


@dataclass(frozen=True)
class _Call:
    """What all of a call share."""

    config: CounterfactualConfig
    base: BulkEditConfig
    store: Store
    note: Callable[[str], None]
    stop: StopRequest

    def reach(self, source: InputConfig, name: str, number: int) -> dict[str, list[End]]:
        """Run a manifest of states, and have what came of it judged."""
        config, store = self.config, self.store
        words = {STATES: "the policy goes on from each state", LAID: "edits are laid down"}[name]
        run, scores = store.locate(f"{name}/run"), store.locate(f"{name}-scores/run")
        self.note(f"{words}: {run}")
        job = config.edit_job(self.base, source, store.locate(name), number)
        launch.run(job, NotedProgress(self.note), self.stop.nest())
        self.note(f"the ends of that are judged: {scores}")
        judging = config.judge_job(run, store.locate(f"{name}-scores"))
        launch.run(judging, NotedProgress(self.note), self.stop.nest())
        found, _ = read_scores(scores, config.storage)
        return read_ends(run, found, number, config.storage)


def _go_on(call: _Call, chosen: Chosen, planned: Plan) -> dict[str, Any]:
    config, store, uri = call.config, call.store, call.config.run.rstrip("/")
    drops, numbers = config.drops > 0, {STATES: config.continuations, LAID: max(config.drops, 1)}
    sources = write_manifests(chosen.trajectories, uri, store, config.storage, drops)
    lengths = {
        name: {
            record: branch["steps"] + len(branch.get("edits", ()))
            for _, record, branch in listed(chosen.trajectories)
        }
        for name, listed in ((STATES, list_states), (LAID, partial(list_laid, drops=drops)))
    }
    states, laid = (
        complete_ends(call.reach(sources[name], name, number), lengths[name], number)
        for name, number in numbers.items()
    )
    laid = check_laid(laid, lengths[LAID])
    rows = [row for each in chosen.trajectories for row in value_trajectory(each, states, laid, config)]
    put_once(store, STEPS_FILE, bytes(results_file(rows, VALUED_STEPS)))
    figures = _count(rows, planned) | {
        "run": uri,
        "continuations": describe_ends(end for found in states.values() for end in found),
        "laid_down": describe_ends(end for found in laid.values() for end in found),
        "unusable": _name_unusable(states, laid),
    }
    put_once(store, RESULT_FILE, json.dumps(figures, indent=2).encode())
    return figures


def _name_unusable(states: Ends, laid: Ends) -> dict[str, Any]:
    names = sorted({*list_unusable(states), *list_unusable(laid)})
    return {"records": len(names), "names": names[:_LISTED]}


def _count(rows: list[dict[str, Any]], planned: Plan) -> dict[str, Any]:
    """What the rows add up to. Trajectories of which a step is named and those of which none is, are all."""
    ruined = [row for row in rows if row["ruined"]]
    actions = Counter(row["action"] for row in rows)
    trajectories = planned.rows["chosen"]
    return {
        "rows": planned.rows,
        "trajectories": trajectories,
        "ruined": len(ruined),
        "none_named": trajectories - len(ruined),
        "steps": len(rows),
        "edits": actions["edit"],
        "stops": actions["stop"],
        "with_advantage": sum(row["advantage"] is not None for row in rows),
        "with_drop_effect": sum(row["drop_effect"] is not None for row in rows),
        "plan": planned.dump(),
    }
