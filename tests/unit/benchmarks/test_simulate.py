"""The simulator of a worker against the worker's own parts, and what it says of batches."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.child import in_child
from benchmarks.figure import Bench
from benchmarks.formation import POLICY_BATCHES, RATIOS, cells, least_steady, make_cell, work_out
from benchmarks.simulate import Model, Setting, cut_plan, simulate
from benchmarks.timeline import read_timeline
from benchmarks.workload import config, custom, manifest
from mira_batch.config.models.simulated import StepCounts
from mira_batch.config.shared import WorkersConfig
from mira_batch.edit.urgency import rank_request
from mira_batch.models.serving.microbatch import MicroBatcher
from mira_batch.runtime.admission import Admission, Hand
from mira_batch.runtime.pool import count_shards_in_hand
from mira_batch.storage.run.planfile import Shard
from tests.support.models.roles import EDITOR

LONG = 120
"""Seconds after which a test that hangs gives up."""
Event = tuple[str, str, list[str]]


class Held:
    """A model whose calls last until they are let go. Its answers reach nobody before its thread has taken
    the next batch or is idle: as it is where checking an answer takes its time."""

    def __init__(self, role: str, batch: int, shapes: dict[str, int]) -> None:
        self.begun: queue.Queue[list[str]] = queue.Queue()
        self._calls = 0
        self._ends = threading.Semaphore(0)
        checked = replace(EDITOR, name=role, check=self._check, check_apart=True)
        self.client: MicroBatcher[str, str] = MicroBatcher(checked, [self._call], shapes.__getitem__, batch)

    def let_go(self) -> None:
        self._ends.release()

    def _call(self, requests: Sequence[str]) -> list[tuple[str, int]]:
        self._calls += 1
        self.begun.put(list(requests))
        assert self._ends.acquire(timeout=LONG)
        return [(request, self._calls) for request in requests]

    def _check(self, answer: tuple[str, int]) -> str:
        name, call = answer
        until = time.monotonic() + LONG
        while self._calls == call and not (self.client._ready._waiters and not self.client._waiting):  # type: ignore[attr-defined]
            assert time.monotonic() < until
            time.sleep(0.0002)
        return name


async def replay(setting: Setting, script: Sequence[Event]) -> None:
    """Run the records on real micro-batchers, admission and hand, whose calls and commits end in the order of
    the script, and hold each call that begins against it."""
    shards = cut_plan(setting)
    shapes = {record.name: record.shape for shard in shards for record in shard.records}
    models = {
        "policy": Held("policy", setting.policy.batch, dict.fromkeys(shapes, 0)),
        "editor": Held("editor", setting.editor.batch, shapes),
    }
    policy, editor = (models[role].client for role in ("policy", "editor"))
    admission, hand = Admission(setting.in_flight), Hand(2 * setting.in_flight)
    commits: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
    left, moved = deque(shards), 0

    async def run_record(record: Any, end_record: Any) -> None:
        nonlocal moved
        number = record.shard.number
        async with admission.enter((True, number)):
            for made in range(record.edits):
                await policy.submit(record.name, rank_request(number, made))
                moved += 1
                await editor.submit(record.name, rank_request(number, made))
                moved += 1
            await policy.submit(record.name, rank_request(number, record.edits))
            moved += 1
            end_record()

    async def run_shards() -> None:
        while left:
            shard = left.popleft()
            async with hand.enter(shard.number, len(shard.records)) as end_record:
                await asyncio.gather(*(run_record(record, end_record) for record in shard.records))
            await commits[shard.records[0].name].wait()

    sizes = [Shard(shard.number, "", 0, len(shard.records)) for shard in shards]
    slots = [asyncio.create_task(run_shards()) for _ in range(count_shards_in_hand(setting.workers, sizes))]
    answered = 0
    for event, role, names in script:
        if event == "begin":
            assert await asyncio.to_thread(models[role].begun.get, True, LONG) == names
        elif role == "commit":
            commits[names[0]].set()
        else:
            models[role].let_go()
            answered += len(names)
        while moved < answered:
            await asyncio.sleep(0)
        for _ in range(20):  # whatever follows from it on the event loop
            await asyncio.sleep(0)
    await asyncio.gather(*slots)
    assert all(model.begun.empty() for model in models.values()) and not left
    await asyncio.gather(policy.close(), editor.close())


CELLS = {
    "editor limits": Setting(Model(0.04, 8), Model(0.2, 4), 46),
    "both alike, many in flight": Setting(Model(0.1971, 16), Model(0.2, 8), 120),
    "too few in flight": Setting(
        Model(0.5971, 16), Model(0.2, 8), 80, workers=WorkersConfig(records_in_flight=16)
    ),
    "policy limits, small shards": Setting(
        Model(0.3071, 1), Model(0.2, 1), 40, StepCounts(exact={"*": 3}), WorkersConfig(shard_size=2)
    ),
    "three shapes, time by batch": Setting(
        Model(0.0931, 4, per_item=0.0137), Model(0.0213, 4, per_item=0.0491), 60, shapes=3
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_real_micro_batchers_make_the_very_batches_that_are_worked_out(name: str) -> None:
    """By order and not by the clock: each call ends when its turn has come, on whatever machine."""
    setting = replace(CELLS[name], commit=0.0173, spread=0.0)
    script: list[Event] = []
    line = simulate(setting, lambda event, role, records: script.append((event, role, list(records))))
    asyncio.run(asyncio.wait_for(replay(setting, script), LONG))
    assert sum(call.size for call in line.policy) == line.made + line.records


@pytest.mark.parametrize("policy_batch", POLICY_BATCHES)
@pytest.mark.parametrize("ratio", RATIOS)
def test_the_model_that_limits_is_busy_with_full_batches(ratio: float, policy_batch: int) -> None:
    formed = work_out(make_cell(8, ratio, 8 * policy_batch, StepCounts()))
    assert formed.steady >= 0.97
    limits = {"policy": formed.policy.mean_batch / (8 * policy_batch), "editor": formed.editor.mean_batch / 8}
    assert limits[formed.limit] >= 0.97


def test_too_few_records_in_flight_leave_batches_half_empty() -> None:
    """The reason why their number follows from the batches where it is not set."""
    assert work_out(make_cell(8, 3.0, 16, StepCounts(), in_flight=16)).steady == pytest.approx(0.5, abs=0.02)
    assert work_out(make_cell(8, 3.0, 16, StepCounts(), in_flight=48)).steady >= 0.97


def test_a_worker_alone_fills_its_batches_until_the_last_record_is_begun() -> None:
    """Of a plan of mostly small shards, too, of which it must hold enough."""
    formed = work_out(Setting(Model(0.04, 8), Model(0.2, 4), 46, read=0.005, log=0.005, write=0.004))
    assert formed.steady >= 0.97 and formed.editor.mean_batch == pytest.approx(4, abs=0.1)


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    setting = replace(CELLS["three shapes, time by batch"], log=0.01)
    assert simulate(setting) == simulate(setting) != simulate(replace(setting, seed=1))


def test_the_figures_have_a_row_for_each_ratio_and_name_the_model_that_limits(tmp_path: Path) -> None:
    least, *others = [least_steady(bench := Bench(tmp_path, quick=True)), *cells(bench)]
    assert least.met and least.name == "batches_least_steady"
    rows = [figure.cell.row for figure in others if figure.cell and figure.cell.column == "steady"]
    assert [row.rpartition(": ")[2] for row in rows] == [*["editor limits"] * 3, "policy limits"]


def test_images_of_several_sizes_fill_batches_as_well() -> None:
    """A bucket that fills a call goes first: 0.86 without, at 16 in flight."""
    setting = replace(make_cell(4, 0.2, 8, StepCounts(), in_flight=16), shapes=3)
    assert work_out(setting).steady >= 0.97


@pytest.mark.soak
@pytest.mark.parametrize("name", CELLS)
def test_a_real_run_forms_batches_as_worked_out(name: str, tmp_path: Path) -> None:
    """The whole job with models that sleep: within a tenth of the batch, for here the clock has its say."""
    setting = replace(CELLS[name], read=0.005, log=0.005, write=0.004, commit=0.005, shapes=1)
    names = [record.name for shard in cut_plan(setting) for record in shard.records]
    notes = tmp_path / "notes"
    notes.mkdir()
    settings = {
        "policy": _describe(setting.policy) | {"steps": setting.steps.model_dump()},
        "editor": _describe(setting.editor),
    }
    models = {
        role: custom(f"noting_{role}", notes=str(notes), settings=known) for role, known in settings.items()
    }
    workers = setting.workers.model_dump(exclude_none=True)
    job = config(manifest(tmp_path, 32, names), tmp_path / "out", workers=workers, backend="inline", **models)
    found = in_child("run", config=job)
    editor = setting.editor
    real = read_timeline(notes, found, 1, editor.batch, editor.time(editor.batch)).steady()
    expected = work_out(setting).editor
    assert real.mean_batch == pytest.approx(expected.mean_batch, abs=0.1 * editor.batch)


def _describe(model: Model) -> dict[str, Any]:
    service = {"seconds": model.seconds, "per_item": model.per_item}
    return {"type": "simulated", "service": service, "max_batch": model.batch}
