"""The driver with workers that only tell: every receipt is counted once, whatever its pace."""

from __future__ import annotations

from pathlib import Path

from benchmarks.driver_run import RECORDS, drive_simulated
from mira_batch.config.shared import StorageConfig
from mira_batch.runtime.ledger import sum_receipts
from mira_batch.storage.run.layout import RECEIPTS
from mira_batch.storage.stores import open_store


def test_all_receipts_are_taken_and_those_that_came_at_their_pace_are_timed(tmp_path: Path) -> None:
    found = drive_simulated(str(tmp_path), workers=20, shards=60, rate=100.0, seconds=0.2)
    assert len(found["waited"]) == 20 and found["waited"] == sorted(found["waited"])
    assert found["waited"][0] > 0 and found["receipts_per_second"] > 0 and found["cores"] > 0
    store = open_store(str(tmp_path / "run"), StorageConfig())
    assert len(list(store.list(RECEIPTS))) == 1
    sizes = dict.fromkeys(range(60), 3_000_000)  # of the result files, as each receipt says
    assert sum_receipts(store, sizes).tally.records == 60 * RECORDS
