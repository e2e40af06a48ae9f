from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage import schema
from mira_batch.storage.run import layout
from mira_batch.storage.run.planfile import (
    SHARDS_PER_FILE,
    LeftOut,
    Plan,
    PlanReader,
    Shard,
    count_rejects,
    read_plan,
    read_rejects,
    read_shard,
)
from mira_batch.storage.run.planwriter import PlanWriter
from mira_batch.storage.stores.objects import Store, open_store

NO_REJECTS = schema.REJECTS.empty_table()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path), StorageConfig())


def plan_row(index: int) -> dict[str, Any]:
    return {
        "record_id": f"r{index}",
        "work_id": f"{index:032x}",
        "instruction": "drehe es schön 🌅",
        "image_uri": None if index % 3 else f"/data/{index}.png",
        "image_file": "/data/m.parquet" if index % 3 else None,
        "image_row_group": index % 7 if index % 3 else None,
        "image_row": index if index % 3 else None,
        "metadata": "{}",
        "image_part": f"{index:016x}",
        "instruction_part": None,
    }


def table(first: int, count: int) -> pa.Table:
    return pa.Table.from_pylist([plan_row(i) for i in range(first, first + count)], schema=schema.PLAN)


def write(store: Store, records: int, most: int, workers: int, by: int = 1_000) -> Plan:
    writer = PlanWriter(store, most, workers)
    for first in range(0, records, by):
        writer.add(table(first, min(by, records - first)))
    return writer.finish(NO_REJECTS, LeftOut(5))


def test_a_plan_reads_back_whole_and_in_order(store: Store) -> None:
    plan = write(store, records=1_000, most=32, workers=2, by=70)
    assert read_plan(store) == plan
    assert plan.records == 1_000 and plan.skipped == 5 and plan.rejected == 0
    assert list(plan.sizes) == sorted(plan.sizes, reverse=True)
    assert plan.sizes[0] == 32 and plan.sizes[-7:] == (1,) * 7
    shards = list(plan.shards())
    assert [shard.index for shard in shards] == list(range(len(plan.sizes)))
    rows = [row for shard in shards for row in read_shard(store, shard)]
    assert rows == [plan_row(i) for i in range(1_000)]
    assert [len(read_shard(store, shard)) for shard in shards] == [shard.records for shard in shards]


def test_many_shards_take_several_files_and_little_memory(store: Store) -> None:
    plan = write(store, records=3_200, most=4, workers=1, by=500)
    assert len(plan.sizes) > 3 * SHARDS_PER_FILE
    assert len(plan.files) == -(-len(plan.sizes) // SHARDS_PER_FILE)
    last = list(plan.shards())[-1]
    assert read_shard(store, last) == [plan_row(3_199)]
    held = PlanWriter(store, most=4, workers=1)
    for first in range(0, 12_000, 2_000):
        held.add(table(first, 2_000))
        assert held._held <= 2_000 + 2 * 16 + 4 * SHARDS_PER_FILE


def test_how_the_rows_arrive_does_not_matter(tmp_path: Path) -> None:
    first, *others = (
        write(open_store(str(tmp_path / str(by)), StorageConfig()), 900, most=2, workers=1, by=by)
        for by in (1, 77, 900)
    )
    assert others == [first, first]


def test_there_is_no_plan_before_the_marker(store: Store) -> None:
    assert read_plan(store) is None
    writer = PlanWriter(store, most=1, workers=1)
    writer.add(table(0, 600))
    assert list(store.list("plan")), "files are there already"
    assert read_plan(store) is None


def test_of_two_drivers_the_first_ones_plan_stands_for_both(store: Store) -> None:
    first, second = PlanWriter(store, most=8, workers=1), PlanWriter(store, most=8, workers=1)
    first.add(table(0, 100))
    second.add(table(50, 100))
    theirs = first.finish(NO_REJECTS)
    assert second.finish(NO_REJECTS, LeftOut(7)) == theirs
    assert read_plan(store) == theirs
    rows = [row for shard in theirs.shards() for row in read_shard(store, shard)]
    assert rows == [plan_row(i) for i in range(100)]


def test_a_plan_may_be_empty(store: Store) -> None:
    plan = PlanWriter(store, most=8, workers=1).finish(NO_REJECTS, LeftOut(3))
    assert plan == Plan((), (), 0, 3)
    assert read_plan(store) == plan and list(plan.shards()) == [] and plan.records == 0


def test_rejects_are_kept(store: Store) -> None:
    assert read_rejects(store) == []
    rows = [{"where": "m:1", "record_id": None, "field": "image", "reason": "is missing or null"}]
    plan = PlanWriter(store, most=8, workers=1).finish(pa.Table.from_pylist(rows, schema=schema.REJECTS))
    assert plan.rejected == 1
    assert read_rejects(store) == rows


def test_a_lost_or_damaged_plan_file_is_named(store: Store) -> None:
    plan = write(store, records=10, most=8, workers=1)
    [shard] = list(plan.shards())[:1]
    data = store.get(shard.file)
    assert data is not None
    store.put(shard.file, data[: len(data) // 2])
    with pytest.raises(StoreError, match=r"plan-0000-\w+.parquet: this plan file is damaged"):
        read_shard(store, shard)
    store.delete([shard.file])
    with pytest.raises(StoreError, match=f"{store.locate(shard.file)}: this plan file is missing"):
        read_shard(store, Shard(0, shard.file, 0, 1))


def test_a_damaged_marker_is_named(store: Store) -> None:
    write(store, records=10, most=8, workers=1)
    shapeless = json.dumps({"files": 3, "sizes": ["many"], "rejected": 0, "skipped": 0}).encode()
    for damage, problem in (
        (b"{", "JSONDecodeError"),
        (b"[]", "it holds a list"),
        (b"{}", "it lacks files"),
        (shapeless, "it is no plan: files, sizes.0"),
    ):
        store.put(layout.PLAN, damage)
        with pytest.raises(
            StoreError, match=rf"plan/plan\.json: is damaged \({problem}.*; restore it, or leave"
        ):
            read_plan(store)


def test_result_keys() -> None:
    for shard in (0, 7, 99_999, 100_000, 12_345_678):
        assert layout.shard_of(layout.result_key(shard)) == shard
    assert layout.result_key(7) == "results/part-00007.parquet"
    others = ("part-00007.parquet", "results/part-7.parquet", "results/part-00007.parquet.tmp")
    others += ("results/x/part-00007.parquet", "results/part-0000a.parquet", "results/notes.txt")
    assert [layout.shard_of(other) for other in others] == [None] * len(others)


def test_a_reader_opens_a_file_of_the_plan_once_for_all_of_its_shards(store: Store, tmp_path: Path) -> None:
    plan = write(store, records=3_200, most=4, workers=1, by=500)
    shards = [shard for shard in plan.shards() if shard.file == plan.files[0]]
    reader, parts = PlanReader(store), PlanReader(store, ("work_id", "image_part", "of no release"))
    whole = [read_shard(store, shard) for shard in shards]
    assert reader.read(shards[0]) == whole[0]
    wanted = [[{key: row[key] for key in ("work_id", "image_part")} for row in rows] for rows in whole]
    assert parts.read(shards[-1]) == wanted[-1]
    (tmp_path / plan.files[0]).unlink()
    assert [reader.read(shard) for shard in shards] == whole
    assert [parts.read(shard) for shard in reversed(shards)] == wanted[::-1]
    with pytest.raises(StoreError, match="this plan file is missing"):
        PlanReader(store).read(shards[0])


def test_a_damaged_list_of_rejects_is_named(store: Store) -> None:
    assert read_rejects(store) == [] and count_rejects(store) == {}
    store.put(layout.REJECTS, b"PAR1 and then nothing")
    for read in (read_rejects, count_rejects):
        with pytest.raises(layout.DamagedFile, match=r"rejects.parquet: is damaged .*; restore it, or leave"):
            read(store)
