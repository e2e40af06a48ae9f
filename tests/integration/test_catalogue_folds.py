"""What a catalogue says is what its runs say, also where runs were deleted, moved in or damaged by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.runtime.forget import Retention, forget
from mira_batch.storage import schema
from mira_batch.storage.catalogue import fold as folding
from mira_batch.storage.catalogue.check import check_catalogue
from mira_batch.storage.catalogue.fold import fold, read_run
from mira_batch.storage.catalogue.snapshot import list_numbers
from mira_batch.storage.catalogue.trajectory import find_trajectory
from mira_batch.storage.stores import open_store
from tests.support.runs.nights import Nights

AGAIN = {"select": {"where": "true", "again": True}}


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    found = Nights(tmp_path)
    found.add(4)
    return found


def find_problems(nights: Nights) -> Any:
    return check_catalogue(nights.open_catalogue(), schema.RESULTS).problems


@pytest.mark.parametrize("same_work", [True, False])
def test_where_a_run_is_deleted_by_hand_earlier_results_stand_again(nights: Nights, same_work: bool) -> None:
    first = nights.run()
    if not same_work:
        for row in nights.rows.values():
            row["instruction"] = "mirror it"
    second = nights.run(more=AGAIN if same_work else None)
    assert nights.owners() == {second.run_id}
    shutil.rmtree(second.run)
    assert nights.current() == dict.fromkeys(nights.rows, "ok")
    assert find_trajectory(nights.output, "rec-0000").run.uri == first.run
    for row in nights.rows.values():
        row["instruction"] = "make it sepia"
    assert nights.plan().planned == 0
    assert nights.run().run_id in ("", first.run_id) and nights.owners() == {first.run_id}
    assert find_problems(nights) == []


def test_rows_are_the_same_however_many_shards_are_laid_out_together(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(nights.run().run, StorageConfig())

    def read() -> list[pa.Table]:
        return list(read_run(store, "edit", StorageConfig(), schema.RESULTS, pytest.fail))

    (whole,) = read()
    monkeypatch.setattr(folding, "_TOGETHER", 1)
    parts = read()
    assert len(parts) == len(set(whole["shard"].to_pylist())) > 1
    assert pa.concat_tables(parts).equals(whole) and whole.num_rows == 4
    places = list(zip(whole["shard"].to_pylist(), whole["row"].to_pylist(), strict=True))
    assert places == sorted(set(places)) and whole["image_part"].null_count == 0


def test_where_all_runs_are_deleted_by_hand_nothing_is_left(nights: Nights) -> None:
    shutil.rmtree(nights.run().run)
    assert nights.plan().planned == 4
    with pytest.raises(StoreError, match="holds no run"):
        nights.current()


def test_a_damaged_file_is_no_news_each_time(nights: Nights) -> None:
    first = nights.run()
    shutil.rmtree(Path(nights.output, "catalogue"))
    min(Path(first.run, "results").iterdir()).write_bytes(b"damaged")
    assert [nights.plan().planned for _ in range(3)] == [1] * 3
    told: list[StoreError] = []
    for _ in range(3):
        fold(nights.open_catalogue(), schema.RESULTS, told.append)
    assert list_numbers(nights.open_catalogue().store) == [1] and told


def test_runs_of_earlier_releases_keep_their_order_when_one_is_forgotten(nights: Nights) -> None:
    """They have no numbers of their own."""
    name = ""
    for instruction in ("make it sepia", "mirror it", "blur it"):
        nights.rows["rec-0000"]["instruction"] = instruction
        if name:
            nights.rows["rec-0001"]["instruction"] = instruction
        name = nights.run().run_id
    shutil.rmtree(Path(nights.output, "catalogue"))
    for marker in Path(nights.output).glob("*/plan/plan.json"):
        marker.write_text(json.dumps({**json.loads(marker.read_text()), "number": 0}))
    assert nights.plan().planned == 0
    done = forget(nights.open_catalogue(), schema.RESULTS, Retention(), lambda _: None)
    assert len(done.deleted) == 1, "the one in the middle"
    assert find_problems(nights) == []
