"""What is particular to `ShardLog`; what every step log must do is in tests/contract/test_steplog.py."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from mira_batch.config.shared import StorageConfig
from mira_batch.core.answers import PolicyAnswer
from mira_batch.core.identity import content_hash, frame_of
from mira_batch.core.judgement import Axis, Judgement
from mira_batch.core.types import Candidate, EditTask, LoggedStep, Step
from mira_batch.imaging import encode_png
from mira_batch.storage import schema
from mira_batch.storage.run.steplog import ShardLog, pack, unpack
from mira_batch.storage.run.steprows import make_candidate_rows, make_step_row, read_candidates
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.runs.steplogs import a_frame, a_history, a_task, another

ORIGINAL = a_frame((9, 9, 9))
HISTORY = a_history(4, ORIGINAL, rejected=(1,))
TASK = a_task()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path), StorageConfig())


def opened(store: Store, shard: int = 3) -> ShardLog:
    log = ShardLog(store, shard)
    log.open()
    return log


def key(index: int, task: EditTask = TASK) -> str:
    return f"state/00003/{task.work_id}/{index}.step"


def fill(store: Store, steps: list[LoggedStep] = HISTORY) -> None:
    append(opened(store), *steps)


def append(log: ShardLog, *steps: LoggedStep) -> list[LoggedStep]:
    async def all_of_them() -> list[LoggedStep]:
        return [await log.append(TASK, logged) for logged in steps]

    return asyncio.run(all_of_them())


def load(store: Store, task: EditTask = TASK) -> list[Step]:
    return [logged.step for logged in asyncio.run(opened(store).load(task))]


def packed(logged: LoggedStep, work: str = TASK.work_id) -> bytes:
    return pack(work, logged.step, encode_png(logged.frame.pixels))


def test_a_step_is_a_file_of_its_own(store: Store) -> None:
    fill(store)
    assert sorted(entry.key for entry in store.list("state")) == [key(i) for i in range(4)]
    assert store.get(key(0)) == packed(HISTORY[0])


def test_a_step_file_reads_back_equal() -> None:
    for logged in HISTORY:
        step, png = unpack(packed(logged), TASK.work_id) or pytest.fail("not read back")
        assert step == logged.step
        assert png == encode_png(logged.frame.pixels)


def swapped_byte(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def by_hand(logged: LoggedStep, png: bytes) -> bytes:
    """A file whose checksum is right, of a step and an image that need not belong together."""
    return pack(TASK.work_id, logged.step, png)


def reordered(data: bytes) -> bytes:
    """Another form of a later version, with a checksum of its own."""
    body = data.split(b"\n", 2)[2]
    return b"mira-batch step 3\n" + content_hash(body).encode() + b"\n" + body


def write_gray() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (3, 2)).save(buffer, "PNG")
    return buffer.getvalue()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "only the magic": lambda data: data[:18],
    "no body": lambda data: data.split(b"\n", 2)[0] + b"\n",
    "torn early": lambda data: data[:30],
    "torn late": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "bit in the body": lambda data: swapped_byte(data, len(data) // 2),
    "bit in the checksum": lambda data: swapped_byte(data, 25),
    "another program's": lambda data: b"\x89PNG\r\n\x1a\n" + data,
    "a later version": reordered,
    "of another record": lambda data: packed(HISTORY[2], a_task("r2").work_id),
    "of another place": lambda data: packed(HISTORY[3]),
    "from another image": lambda data: by_hand(
        replace(HISTORY[2], step=replace(HISTORY[2].step, before="0" * 32)),
        encode_png(HISTORY[2].frame.pixels),
    ),
    "with another image": lambda data: by_hand(HISTORY[2], encode_png(HISTORY[1].frame.pixels)),
    "with no image": lambda data: by_hand(HISTORY[2], b"no image"),
    "with half an image": lambda data: by_hand(HISTORY[2], encode_png(HISTORY[2].frame.pixels)[:45]),
    "with a gray image": lambda data: by_hand(HISTORY[2], write_gray()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_step_ends_the_history_and_is_made_anew(store: Store, damage: str) -> None:
    fill(store)
    data = store.get(key(2))
    assert data is not None
    store.put(key(2), DAMAGES[damage](data))
    assert load(store) == [logged.step for logged in HISTORY[:2]]
    assert sorted(entry.key for entry in store.list("state")) == [key(0), key(1)]
    fill(store, HISTORY[2:])
    assert load(store) == [logged.step for logged in HISTORY]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_file_where_a_step_belongs_is_replaced(store: Store, damage: str) -> None:
    """A log that was opened before the file appeared meets it when it appends."""
    fill(store, HISTORY[:2])
    log = opened(store)
    store.put(key(2), DAMAGES[damage](packed(HISTORY[2])))
    assert append(log, HISTORY[2])[0].step == HISTORY[2].step
    assert load(store) == [logged.step for logged in HISTORY[:3]]


def test_files_that_are_no_steps_are_left_alone(store: Store) -> None:
    fill(store)
    for name in (f"state/00003/{TASK.work_id}/x.step", "state/00003/readme", "state/00003/a/b/0.step"):
        store.put(name, b"?")
    assert load(store) == [logged.step for logged in HISTORY]


def test_shards_do_not_see_each_other(store: Store) -> None:
    fill(store)
    for shard in (0, 30, 31, 300, 100_003):
        assert asyncio.run(opened(store, shard).load(TASK)) == ()


def test_a_late_append_adopts_the_step_that_stands(store: Store) -> None:
    late = opened(store)
    fill(store, HISTORY[:1])
    [told] = append(late, another(HISTORY[0]))
    assert told.step == HISTORY[0].step
    assert frame_of(told.frame.pixels).digest == HISTORY[0].frame.digest
    assert store.get(key(0)) == packed(HISTORY[0])


def test_racing_appends_agree_and_the_file_is_the_step_they_were_told(store: Store) -> None:
    for round_ in range(20):
        task = a_task(f"race {round_}")
        start = threading.Barrier(8)
        steps = [HISTORY[0], another(HISTORY[0])] * 4

        def run(step: LoggedStep, task: EditTask = task, start: threading.Barrier = start) -> LoggedStep:
            log = opened(store)
            start.wait()
            return asyncio.run(log.append(task, step))

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(run, steps))
        assert len({logged.step.after for logged in told}) == 1
        assert load(store, task) == [told[0].step]


def test_the_images_of_steps_are_held_as_they_stand_in_the_log(store: Store) -> None:
    fill(store)
    kept = [(logged.frame, *logged.rejected) for logged in HISTORY]
    read = [(logged.frame, *logged.rejected) for logged in asyncio.run(opened(store).load(TASK))]
    for frame in itertools.chain(*kept, *read):
        assert frame.png == encode_png(frame.pixels)
    standing = append(opened(store), another(HISTORY[0]))[0].frame  # of a lost race: the image that stands
    assert standing.png == encode_png(HISTORY[0].frame.pixels)


def test_delete_takes_the_shards_state_and_no_other(store: Store, tmp_path: Path) -> None:
    fill(store)
    other = opened(store, 30)
    asyncio.run(other.append(TASK, HISTORY[0]))
    opened(store).delete()
    assert [entry.key for entry in store.list("state")] == [f"state/00030/{TASK.work_id}/0.step"]
    assert load(store) == []
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["00030"]


def test_an_image_enlarged_beyond_pillows_bound_is_read_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is for untrusted images. An editor may enlarge, and a resumed record must go on."""
    fill(store)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    assert load(store) == [logged.step for logged in HISTORY]


def test_a_step_of_an_earlier_release_has_no_candidates_and_no_charges_by_role() -> None:
    step = HISTORY[3].step
    data = pack(TASK.work_id, step, b"png")
    magic, _, header, png = data.split(b"\n", 3)
    row = json.loads(header)
    assert row["step"].pop("candidates") and row["step"].pop("charges")
    old = json.dumps(row).encode()
    before = unpack(b"\n".join((magic, content_hash(old).encode(), old, png)), TASK.work_id)
    expected = replace(step, candidates=(), usage=replace(step.usage, charges={}))
    assert before is not None and before == (expected, b"png") and before[0].usage.cost == step.usage.cost > 0


def test_answers_verdicts_and_images_that_were_not_taken_are_in_the_file_of_the_step(store: Store) -> None:
    said = Judgement(0.5, "so", {"sc": Axis(3.0, 0.0, 10.0)}, "p/1", ("raw",), {"entropy": 0.1})
    answers = (
        PolicyAnswer(0, 0, "malformed", "hm", "no edit", 7, (1, 2), (-0.125, -3.25)),
        PolicyAnswer(0, 1, "edit", "<edit>x</edit>", "", 8, None, (-0.5,)),
    )
    others = (a_frame((1, 2, 3)), a_frame((3, 2, 1)))
    drawn = tuple(
        Candidate(seed, digest, 0.5, 0.1, said)
        for seed, digest in enumerate((others[0].digest, HISTORY[0].step.after, others[1].digest))
    )
    step = replace(HISTORY[0].step, candidates=drawn, answers=answers)
    logged = LoggedStep(step, HISTORY[0].frame, others)
    append(opened(store), logged)
    (found,) = asyncio.run(opened(store).load(TASK))
    assert found.step == step
    assert [frame.digest for frame in found.rejected] == [frame.digest for frame in others]
    data = store.get(key(0))
    assert data is not None
    store.put(key(0), data[:-30] + bytes(30))
    assert load(store) == []


def test_the_candidates_of_a_row_are_found_again_by_step() -> None:
    rows = make_candidate_rows(logged.step for logged in HISTORY)
    assert pa.array([rows], schema.RESULTS.field("candidates").type).to_pylist() == [rows]
    assert [(row["step"], row["attempt"]) for row in rows] == [(0, 0), (2, 0), (3, 0), (3, 1)]
    for logged in HISTORY:
        assert read_candidates(rows, logged.step.index) == logged.step.candidates
    assert read_candidates(None, 0) == ()


def test_the_step_of_a_result_row_and_of_a_file_have_one_schema() -> None:
    row = make_step_row(HISTORY[0].step, {"bytes": b"x", "path": None})
    assert set(row) == {field.name for field in schema.STEP}
    assert pa.array([row], schema.STEP).to_pylist() == [row]
