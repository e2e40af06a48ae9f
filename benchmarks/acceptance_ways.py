"""Ways to accept an edit, run over the world of `acceptance_world.py` by the real loop and the real panel."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from benchmarks.acceptance_world import (
    Image,
    Simulation,
    World,
    judge,
    make_original,
    make_task,
    read_edit,
)
from mira_batch.core.loop import run_record
from mira_batch.core.ports import JudgeRequest, Models
from mira_batch.core.types import Frame, Limits
from mira_batch.core.usage import Usage
from mira_batch.evaluate.statistics import Estimate, bootstrap_mean
from mira_batch.models.judges import Escalation, Panel, PanelRules
from tests.support.runs.steplogs import MemoryStepLog

WORLD = World()
UNSURE = 1.5
"""Nats above which the judge counts as unsure; six digits alike have 1.79."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to accept edits."""

    limits: Limits = Limits(attempts_per_step=4)
    judges: str = "first"
    """none, first, second, or both: the second where the first is unsure."""


STRATEGIES: dict[str, Strategy] = {
    "no judge": Strategy(judges="none"),
    "gate": Strategy(),
    "best of 2": Strategy(Limits(attempts_per_step=4, candidates=2)),
    "best of 4": Strategy(Limits(attempts_per_step=4, candidates=4)),
    "seed if unsure": Strategy(Limits(attempts_per_step=4, unsure_above=UNSURE)),
    "second judge": Strategy(judges="second"),
    "second if unsure": Strategy(judges="both"),
}
"""By the names that the tables have. Those with a judge draw up to four seeds where none is accepted."""
THRESHOLDS: dict[str, Strategy] = {
    f"seed above {nats}": Strategy(Limits(attempts_per_step=4, unsure_above=nats)) for nats in (1.2, 1.7)
}
"""The same as `seed if unsure`, with other ideas of what is unsure."""
LADDER = ("gate", "best of 2", "best of 4")
"""Ways to spend ever more calls of the editor on each record alike."""

WORLDS: Mapping[str, World] = {
    "as assumed": WORLD,
    "entropy says nothing": replace(WORLD, tells=False),
    "editor fails for 10 %": replace(WORLD, fails=0.1),
    "editor fails for 50 %": replace(WORLD, fails=0.5),
    "judge errs half as much": replace(WORLD, noise=WORLD.noise / 2, taste=WORLD.taste / 2),
}


@dataclass(frozen=True)
class Outcome:
    """What a strategy came to, by record."""

    truth: np.ndarray[Any, np.dtype[np.float64]]
    """Share of the edits that hold in its result."""
    calls: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]
    """How often each model was asked, by its name."""

    @property
    def whole(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """1 where all edits hold, else 0."""
        return (self.truth == 1.0).astype(float)

    def count(self, name: str) -> float:
        """Calls of a model for a record."""
        return float(self.calls[name].mean())


class _Asked:
    """A judge of the simulation where a panel has a `ModelClient`."""

    def __init__(self, ask: Any) -> None:
        self._ask = ask
        self.usage, self.out_of_memory = Usage(), 0

    async def submit(self, request: JudgeRequest, priority: tuple[int, ...] = ()) -> Any:
        return await self._ask(request)


def _choose_judge(simulation: Simulation, judges: str) -> Any:
    match judges:
        case "none":
            return None
        case "first":
            return simulation.score
        case "second":
            return simulation.score_again
    rules = PanelRules({"first": "1", "second": "2"}, "last", {}, None, Escalation(UNSURE, None))
    members: Any = {"first": _Asked(simulation.score), "second": _Asked(simulation.score_again)}
    return Panel(rules, members).submit


@cache
def run_strategy(world: World, strategy: Strategy, records: int) -> Outcome:
    """Run the loop over so many records.

    Args:
        world: what is assumed.
        strategy: how edits are accepted.
        records: how many; the first ones are the same whatever their number.
    """
    return asyncio.run(_run(world, strategy, records))


async def _run(world: World, strategy: Strategy, records: int) -> Outcome:
    truth, calls = [], []
    for number in range(records):
        simulation = Simulation(world)
        models = Models(simulation.propose, simulation.edit, _choose_judge(simulation, strategy.judges))
        task, original = make_task(number), make_original(world, number)
        trajectory = await run_record(task, original, models, MemoryStepLog(), strategy.limits)
        assert trajectory.failure is None, trajectory.failure
        truth.append(trajectory.result.pixels.truth)
        calls.append(simulation.calls)
    names = ("policy", "editor", "judge", "second judge")
    counted = {name: np.array([call[name] for call in calls], float) for name in names}
    return Outcome(np.array(truth), counted)


def estimate(values: np.ndarray[Any, np.dtype[np.float64]]) -> Estimate:
    """The mean over records, with its 95 % interval."""
    return bootstrap_mean(values, [str(number) for number in range(len(values))], seed=0)


def compare_to_chance(found: Outcome, ladder: Sequence[Outcome], by: str) -> Estimate:
    """How many more records come out whole than at the same price without any choice: if the next dearer way
    were taken for a share of the records, drawn at random, and the next cheaper one for the others, so that a
    model is called as often.

    Args:
        found: the strategy in question.
        ladder: ways that treat all records alike, from the cheapest to the dearest.
        by: whose calls are the price.
    """
    prices = [each.count(by) for each in ladder]
    place = min(max(bisect_right(prices, found.count(by)), 1), len(ladder) - 1)
    less, more = ladder[place - 1 : place + 1]
    share = (found.count(by) - prices[place - 1]) / (prices[place] - prices[place - 1])
    return estimate(found.whole - share * more.whole - (1 - share) * less.whole)


def measure_agreement(world: World, name: str, pairs: int) -> float:
    """How often a judge scores an image higher than one in which an edit less holds.

    Args:
        world: what is assumed.
        name: first or second.
        pairs: how many, each of a record of its own.
    """
    right = 0
    for number in range(pairs):
        original = make_original(world, number)
        edits = original.pixels.edits
        images = [Image(edits, frozenset(range(number % edits + more))) for more in (0, 1)]
        frames = [Frame(image, f"pair-{number}-{len(image.holds)}") for image in images]
        asked = [JudgeRequest(f"r{number}", "", original, frame, "") for frame in frames]
        worse, better = (judge(world, request, name).score for request in asked)
        right += better > worse
    return right / pairs


def measure_doubt(world: World, records: int) -> tuple[float, float]:
    """How often an edit holds in the image that the gate took for it at the first try: where the judge was
    sure of the image, and where it was unsure.

    Args:
        world: what is assumed.
        records: how many.
    """
    held: dict[bool, list[bool]] = {False: [], True: []}

    async def look(number: int) -> None:
        simulation = Simulation(world)
        models = Models(simulation.propose, simulation.edit, simulation.score)
        task, original = make_task(number), make_original(world, number)
        trajectory = await run_record(task, original, models, MemoryStepLog(), STRATEGIES["gate"].limits)
        for logged in trajectory.steps:
            (first, *others), step = logged.step.candidates, logged.step
            if step.accepted and not others:
                is_unsure = (first.entropy or 0.0) > UNSURE
                held[is_unsure].append(read_edit(step.instruction) in logged.frame.pixels.holds)

    async def look_at_all() -> None:
        for number in range(records):
            await look(number)

    asyncio.run(look_at_all())
    return float(np.mean(held[False])), float(np.mean(held[True]))
