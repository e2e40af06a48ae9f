"""Workers that crash, race, resume and wake too late, on a store that tears, refuses and loses answers.

Whatever happens between any two store operations, there is one result in the end, that of a run which
nothing disturbed, and it never changes. And little work is made twice, precisely:

    A worker makes no step twice. It makes no step (and before the commit deletes none) that stood whole in
    the log, with all steps before it, from before the worker looked there. It begins no step before the one
    it made before stands whole. And of a shard that was committed when it began it makes none.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.identity import work_id
from mira_batch.storage import schema
from mira_batch.storage.run.clean import delete_state
from mira_batch.storage.run.layout import result_key, state_prefix
from mira_batch.storage.run.planfile import Shard
from tests.support.pictures import corners
from tests.support.runs import interrupted
from tests.support.runs.interrupted import Died, Disk, Process, Then

STEPS = {"a": 1, "b": 3, "c": 2}
"""How many edits each record takes."""
RESULT, STATE = result_key(0), state_prefix(0)
MOST_ALIVE = 3

who = st.integers(0, MOST_ALIVE - 1)
"""One of the workers alive, counted round."""


class World:
    """A planned run of one shard, and what a worker makes of it that nothing disturbs."""

    def __init__(self, folder: Path) -> None:
        corners().save(folder / "i.png")
        self._run = folder
        self._config = BulkEditConfig.model_validate(
            {
                "input": {"manifest": str(folder / "m.jsonl")},
                "output": {"uri": str(folder)},
                "policy": {"type": "simulated", "steps": {"exact": STEPS}},
                "editor": interrupted.EDITOR,
                "workers": {"records_in_flight": 1},
            }
        )
        self.works = {name: work_id(name, "image", "x", "pipeline") for name in STEPS}
        plan = [
            {"record_id": name, "work_id": self.works[name], "instruction": "x", "metadata": "{}"}
            | {"image_uri": str(folder / "i.png")}
            for name in STEPS
        ]
        pq.write_table(pa.Table.from_pylist(plan, schema=schema.PLAN), folder / "plan.parquet")
        disk = Disk()
        process = self.begin(disk, 0)
        while not process.over:
            process.step()
        process.close()
        interrupted.edits.clear()
        self.rows = rows_of(disk.get(RESULT))
        assert [row["num_steps"] for row in self.rows] == list(STEPS.values())

    def begin(self, disk: Disk, session: int) -> Process:
        shard = Shard(0, "plan.parquet", 0, len(STEPS))
        return Process(self._config, str(self._run), shard, disk, f"{session:04x}")

    def key(self, record: str, step: int) -> str:
        return f"{STATE}/{self.works[record]}/{step}.step"


def rows_of(data: bytes | None) -> list[dict[str, Any]]:
    """All that a result file holds but times."""
    assert data is not None
    rows = pq.read_table(io.BytesIO(data)).to_pylist()
    for row in rows:
        for timed in (row, *row["steps"]):
            del timed["seconds"]
    return rows


def seen_by(process: Process, since: int) -> bool:
    """Whether the worker looked into the log after this moment."""
    return process.listed is not None and since < process.listed


class Resuming(RuleBasedStateMachine):
    """Workers on one shard, each halted before its next store operation."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.is_sound = True
        """Whether all checks have passed."""
        self.on_an_empty_disk()

    def on_an_empty_disk(self) -> None:
        self.disk = Disk()
        self.processes: list[Process] = []
        self.result: bytes | None = None
        self.clock = 0
        """Store operations so far, of all workers."""
        self.whole_since: dict[str, int] = {}
        """Since when each step stands whole that does, with all before it."""

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.processes if not process.over]

    def pick(self, number: int) -> Process:
        return self.alive[number % len(self.alive)]

    def begin(self) -> Process:
        process = self.world.begin(self.disk, len(self.processes))
        process.began_before_commit = self.result is None
        self.processes.append(process)
        return process

    @precondition(lambda self: self.result is None and len(self.alive) < MOST_ALIVE)
    @rule(operations=st.integers(0, 3))
    def start(self, operations: int) -> None:
        """A driver's worker, the first one or a second beside it; or a run is resumed."""
        self.begin()
        self.go_on(-1, operations)

    @precondition(lambda self: self.result and not self.alive)
    @rule()
    def another_story(self) -> None:
        self.end()
        self.close()
        self.on_an_empty_disk()

    @precondition(lambda self: self.alive)
    @rule(number=who, operations=st.integers(1, 5))
    def go_on(self, number: int, operations: int) -> None:
        process = self.pick(number)
        for _ in range(operations):
            if not process.over:
                self.step(process)

    @precondition(lambda self: self.alive)
    @rule(
        number=who,
        place=st.sampled_from(["", "create state", "create results", "delete state"]),
        then=st.sampled_from(["go", "refuse", "lose", "deny", "die", "half"]),
    )
    def fault(self, number: int, place: str, then: Then) -> None:
        """A worker comes to such an operation, and this becomes of it."""
        process = self.pick(number)
        while process.pending and not " ".join(process.pending).startswith(place):
            self.step(process)
        if process.pending:
            self.step(process, then)

    @precondition(lambda self: self.alive)
    @rule(number=who, place=st.floats(0, 1, exclude_max=True), bits=st.integers(0, 255))
    def power_cut(self, number: int, place: float, bits: int) -> None:
        """A worker dies, and the step that it wrote last is cut short there (no bits), or damaged."""
        process = self.pick(number)
        self.step(process, "die")
        data = self.disk.get(process.last_step) if process.last_step else None
        if process.last_step and data:
            at = int(place * len(data))
            rest = bytes([data[at] ^ bits]) + data[at + 1 :] if bits else b""
            self.disk.put(process.last_step, data[:at] + rest)
            self.look()

    def step(self, process: Process, then: Then = "go") -> None:
        """Let one store operation happen, and check all that must hold after it."""
        assert process.pending is not None
        what, key = process.pending
        stood = dict(self.whole_since)
        self.is_sound = False
        process.step(then)
        self.clock += 1
        if what == "list" and process.listed is None:
            process.listed = self.clock
        self.look()
        self.is_sound = False
        if what == "delete" and self.result is None:
            lost = [key for key in stood if key not in self.whole_since and seen_by(process, stood[key])]
            assert not lost, "steps that it found whole are deleted before the commit"
        self.check_edits(process)
        if what == "list" or (what, key) == ("create", RESULT):
            process.stood = self.state()
        if process.over and process.error is None:
            assert not process.stood & self.state(), "a worker that ended well left the shard's state behind"
        elif process.over and not isinstance(process.error, Died):
            assert isinstance(process.error, StoreError) and "scripted" in str(process.error), process.error
        self.is_sound = True

    def check_edits(self, process: Process) -> None:
        """Those made since the last operation, while nobody else ran."""
        for record, step in interrupted.edits:
            process.edited[record, step] += 1
            assert process.edited[record, step] == 1, "a worker makes a step twice"
            since = self.whole_since.get(self.world.key(record, step))
            assert since is None or not seen_by(process, since), "a step that is whole is made again"
            assert process.began_before_commit, "a shard that was committed is run again"
            before = self.world.key(record, step - 1)
            if (record, step - 1) in process.edited:
                assert self.is_whole(before), "a step is begun before the worker's last one is written"
        interrupted.edits.clear()

    def look(self) -> None:
        """Take in what stands in the store now."""
        self.is_sound = False
        whole: dict[str, int] = {}
        for record, steps in STEPS.items():
            for key in (self.world.key(record, step) for step in range(steps)):
                if not self.is_whole(key):
                    break
                whole[key] = self.whole_since.get(key, self.clock)
        self.whole_since = whole
        found = [entry.key for entry in self.disk.list("") if not entry.key.startswith(f"{STATE}/")]
        assert found == ([RESULT] if self.result or found else [])
        data = self.disk.get(RESULT)
        assert self.result is None or data == self.result, "the result has changed"
        self.result = data
        self.is_sound = True

    def state(self) -> set[str]:
        return {entry.key for entry in self.disk.list(STATE)}

    def is_whole(self, key: str) -> bool:
        data = self.disk.get(key)
        return data is not None and data == self.disk.made.get(key)

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self.end()
        finally:
            self.close()

    def close(self) -> None:
        for process in self.processes:
            process.close()
        interrupted.edits.clear()

    def end(self) -> None:
        """Resume undisturbed while the others are halted; then these wake up, and what is left is swept."""
        others, result = self.alive, self.result
        last = self.begin()
        while not last.over:
            self.step(last)
        assert last.receipt is not None and last.receipt.committed is (result is None)
        assert self.result is not None and rows_of(self.result) == self.world.rows
        for process in others:
            while not process.over:
                self.step(process)
        receipts = [process.receipt for process in self.processes if process.receipt]
        assert sum(receipt.committed for receipt in receipts) <= 1, "one that died may have been the one"
        delete_state(self.disk, keep=set())
        self.look()
        assert [entry.key for entry in self.disk.list("")] == [RESULT]


@pytest.mark.timeout(900)  # shrinking a failure takes minutes
def test_a_shard_is_committed_once_and_as_if_nothing_had_happened(tmp_path: Path) -> None:
    world = World(tmp_path)
    run_state_machine_as_test(
        lambda: Resuming(world),
        settings=settings(
            max_examples=50, stateful_step_count=30, deadline=None, derandomize=True, database=None
        ),
    )
