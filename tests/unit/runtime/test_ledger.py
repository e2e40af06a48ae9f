"""The sums of receipts: right after any mix of killed drivers, other drivers and removed files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mira_batch.core.receipts import Receipt, RunSummary, Tally
from mira_batch.core.usage import Usage
from mira_batch.runtime.ledger import (
    FOOTER,
    Ledger,
    from_json,
    read_receipt,
    sum_receipts,
    to_json,
)
from mira_batch.storage.run.committed import find_committed_shards, find_ranges
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.runs.edits import edit_results
from tests.support.runs.finished import a_config

NEW = RunSummary("run", "run")


def commit(store: Store, shard: int, **counts: int) -> Receipt:
    receipt = Receipt(shard, Tally(shard + 1, shard, errors={"editor_failed": 1}, **counts))
    assert store.create(result_key(shard), edit_results([], {FOOTER: to_json(receipt)}))
    return receipt


def test_a_result_file_carries_its_receipt(store: Store) -> None:
    receipt = commit(store, 3, steps=7)
    found = read_receipt(store, 3)
    size = next(entry.size for entry in store.list("results"))
    assert (found.shard, found.tally.records, found.tally.steps, found.written) == (3, 4, 7, size)
    assert found.tally == receipt.tally


def test_receipts_of_before_there_was_unfinished_are_read_with_it() -> None:
    """Release 0.1 wrote two forms, and counted as ok what a limit or a guard had ended."""
    counts = {"records": 10, "ok": 8, "steps": 9, "resumed_steps": 0, "errors": {"judge_failed": 2}}
    stops = {"policy_stop": 3, "judge_satisfied": 1, "max_steps": 2, "time_limit": 1, "no_progress": 1}
    first = counts | {"stops": stops, "seconds": {}}
    second = {"tally": counts | {"stops": stops}}
    for old in (first, second):
        tally = from_json(old).tally
        assert (tally.ok, tally.unfinished, tally.failed, tally.records) == (4, 4, 2, 10)
        again = from_json(json.loads(to_json(from_json(old)))).tally
        assert again == tally, "once told, it is not told again"


def test_totals_are_the_same_with_and_without_the_sums(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"), a_config(tmp_path).storage)
    receipts = [commit(store, shard) for shard in range(6)]
    read = sum_receipts(store, find_committed_shards(store))
    assert (read.tally.records, read.tally.ok, read.tally.errors) == (21, 15, {"editor_failed": 6})
    for session, shards in (("aa", (0, 1, 3)), ("bb", (2, 4))):  # 5: its driver was killed before a save
        ledger = Ledger(store, session, NEW)
        for shard in shards:
            ledger.add(receipts[shard], receipts[shard].tally.records)
        ledger.save()
    assert sum_receipts(store, find_committed_shards(store)).tally.records == 21


def test_what_another_driver_committed_is_counted_once(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"), a_config(tmp_path).storage)
    first, second = Ledger(store, "aa", NEW), Ledger(store, "bb", NEW)
    receipt = commit(store, 0)
    first.add(receipt, 1)
    second.add(Receipt(0, Tally(1), committed=False), 1)
    second.add(commit(store, 1), 2)
    first.save()
    second.save()
    assert (sum_receipts(store, find_committed_shards(store)).tally.records, second.summary.committed) == (
        3,
        3,
    )


def test_a_sum_over_a_removed_file_is_left_aside(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"), a_config(tmp_path).storage)
    ledger = Ledger(store, "aa", NEW)
    for shard in range(3):
        ledger.add(commit(store, shard), shard + 1)
    ledger.save()
    store.delete([result_key(1)])
    assert sum_receipts(store, find_committed_shards(store)).tally.records == 1 + 3


def test_a_sum_over_a_file_that_was_damaged_since_is_left_aside(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"), a_config(tmp_path).storage)
    ledger = Ledger(store, "aa", NEW)
    for shard in range(3):
        ledger.add(replace(commit(store, shard), written=find_committed_shards(store)[shard]), shard + 1)
    ledger.save()
    assert sum_receipts(store, find_committed_shards(store)).tally.records == 6
    store.put(result_key(1), b"")
    assert sum_receipts(store, find_committed_shards(store)).tally.records == 1 + 3


def test_a_damaged_file_counts_as_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"), a_config(tmp_path).storage)
    store.put(result_key(0), b"PAR1 no more")
    store.put(result_key(1), edit_results([]))
    assert sum_receipts(store, find_committed_shards(store)).tally.records == 0


@given(st.sets(st.integers(0, 200), min_size=1))
def test_ranges_cover_exactly_the_shards(shards: set[int]) -> None:
    ranges = find_ranges(shards)
    assert [i for first, last in ranges for i in range(first, last + 1)] == sorted(shards)
    assert all(a[1] + 1 < b[0] for a, b in zip(ranges, ranges[1:], strict=False)), "as few as possible"


def test_seconds_add_up() -> None:
    one, other = Usage.of(editor=1), Usage.of(io=2)
    assert (Receipt(tally=Tally(usage=one)) + Receipt(tally=Tally(usage=other))).tally.usage.total == 3
