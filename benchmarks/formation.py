"""How full the batches of one worker get, and what limits it: worked out (`simulate.py`), in seconds.

A worker does as much as its slower model can: of each cell the model that limits is named, and what is held
against the target is how busy that one is with full batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from benchmarks.figure import Bench, Figure, at_least, in_table, reported
from benchmarks.simulate import Model, Setting, simulate
from benchmarks.timeline import Steady
from mira_batch.config.models.simulated import StepCounts
from mira_batch.config.shared import WorkersConfig

SECONDS = 0.2
"""Of an editor's call."""
BATCHES = (1, 2, 4, 8)
RATIOS = (0.05, 0.2, 1.0, 3.0)
"""Seconds of a policy's call over those of an editor's."""
POLICY_BATCHES = (1, 2)
"""The policy's batch over the editor's."""
STEPS = {
    "1 to 8 edits, 2.4 on average": StepCounts(),
    "3 edits each": StepCounts(exact={"*": 3}),
    "1 to 24 edits, 6 on average": StepCounts(mean=6, max=24),
}
IO: dict[str, Any] = {"read": 0.005, "log": 0.005, "write": 0.004, "commit": 0.005}
"""Seconds, as measured on this machine with 64² images; half as much to half as much again."""
TABLE = "Batches of one worker, worked out"
SHAPES = (1, 2, 3, 6)
SHAPES_TABLE = "The same with images of several sizes, evenly mixed"


@dataclass(frozen=True, slots=True)
class Formed:
    """One cell's steady state."""

    setting: Setting
    editor: Steady
    policy: Steady

    @property
    def limit(self) -> str:
        """The model that the other one waits for."""
        return "policy" if self.policy.efficiency > self.editor.efficiency else "editor"

    @property
    def steady(self) -> float:
        """How much of its time the model that limits needs for the same work at full batches."""
        return max(self.policy.efficiency, self.editor.efficiency)


def work_out(setting: Setting) -> Formed:
    """The steady state of a cell, of both models in windows of the same kind (`Timeline.steady`).

    Args:
        setting: the cell.
    """
    line, policy = simulate(setting), setting.policy
    seconds = policy.time(policy.batch)
    asked = replace(line, batch=policy.batch, seconds=seconds, edits=line.policy, workers=policy.replicas)
    return Formed(setting, line.steady(), asked.steady())


def make_cell(
    batch: int, ratio: float, policy_batch: int, steps: StepCounts, in_flight: int | None = None
) -> Setting:
    """A cell with enough records for a steady state.

    Args:
        batch: the editor's.
        ratio: of the policy's seconds to the editor's.
        policy_batch: the policy's.
        steps: how many edits a record takes.
        in_flight: `workers.records_in_flight`.
    """
    workers = WorkersConfig(records_in_flight=in_flight)
    policy, editor = Model(ratio * SECONDS, policy_batch), Model(SECONDS, batch)
    return Setting(policy, editor, 200 + 40 * batch, steps, workers, **IO)


def _work_out_all(bench: Bench) -> Iterator[Formed]:
    batches, ratios = (BATCHES[-1:], RATIOS[1:3]) if bench.quick else (BATCHES, RATIOS)
    for batch, ratio, times, steps in product(batches, ratios, POLICY_BATCHES, STEPS.values()):
        yield work_out(make_cell(batch, ratio, times * batch, steps))


def least_steady(bench: Bench) -> Figure:
    found = list(_work_out_all(bench))
    least = min(found, key=lambda formed: formed.steady)
    setting = least.setting
    return at_least(
        0.97,
        "batches_least_steady",
        least.steady,
        "",
        f"Worked out by discrete events with the worker's own decisions, one worker, {len(found)} cells: "
        f"batch {_list(BATCHES)}, policy's seconds ÷ editor's {_list(RATIOS)}, the policy's batch as large "
        f"or twice as large, {len(STEPS)} lengths of trajectory. Of each the share of time that the model "
        "which limits needs for the same work at full batches, from when 5 % were done to when 90 % were or "
        f"the last record was begun; the least of them: editor {setting.editor.batch} at {SECONDS:g} s, "
        f"policy {setting.policy.batch} at {setting.policy.seconds:g} s.",
    )


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def cells(bench: Bench) -> list[Figure]:
    """A row per batch and ratio: the policy's batch twice the editor's, records of 1 to 8 edits."""
    found = []
    for batch, ratio in product(BATCHES[-1:] if bench.quick else BATCHES, RATIOS):
        setting = make_cell(batch, ratio, 2 * batch, StepCounts())
        formed, sixteen = work_out(setting), work_out(make_cell(batch, ratio, 2 * batch, StepCounts(), 16))
        row = f"batch {batch}, policy {2 * batch} in {ratio:g} of the time: {formed.limit} limits"
        columns = {
            "steady": ("steady", formed.steady),
            "editor's batch": ("editor_batch", formed.editor.mean_batch),
            "policy's batch": ("policy_batch", formed.policy.mean_batch),
            "records in flight": ("in_flight", float(setting.in_flight)),
            "steady at 16": ("steady_at_16", sixteen.steady),
        }
        found += [
            in_table(reported(f"batches_{name}_{batch}_{ratio:g}", value, "", row), TABLE, row, column)
            for column, (name, value) in columns.items()
        ]
    return found


def shapes(bench: Bench) -> list[Figure]:
    """A row per number of image sizes, of which an editor's call takes one; the policy takes a fifth of the
    editor's time."""
    found = []
    for sizes in SHAPES:
        row = f"{sizes} size{'s' if sizes > 1 else ''} of image"
        for batch in BATCHES[-1:] if bench.quick else BATCHES[1:]:
            formed = work_out(replace(make_cell(batch, 0.2, 2 * batch, StepCounts()), shapes=sizes))
            figure = reported(f"batches_shapes_{sizes}_{batch}", formed.steady, "", row)
            found.append(in_table(figure, SHAPES_TABLE, row, f"steady at batch {batch}"))
    return found


FIGURES = (least_steady, cells, shapes)
