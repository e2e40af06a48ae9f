"""Runs that have cost all that they may."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch import load_config, run
from mira_batch.core.errors import RunStopped
from mira_batch.core.types import RunEnd
from tests.support.models.counted import counted, read_edits
from tests.support.runs.catalogue import make_catalogue, settings

RECORDS = 8


def test_a_run_that_has_cost_all_that_it_may_goes_on_with_a_higher_limit_only(tmp_path: Path) -> None:
    log, prices = tmp_path / "edits.log", {"gpu_hour": 3600.0}
    base = settings(
        make_catalogue(tmp_path / "catalogue", RECORDS),
        tmp_path / "out",
        policy={"type": "simulated", "steps": {"exact": {"*": 1}}},
        editor=counted(log, 0.05, max_batch=1),
        workers={"gpus": 1, "records_in_flight": 1, "shard_size": 1},
        prices=prices,
        limits={"max_cost": 0.05},
    )
    config = load_config(base)
    with pytest.raises(RunStopped, match="a higher limit goes on") as ended:
        run(config)
    before, edits = ended.value.summary, read_edits(log)
    assert ended.value.end is RunEnd.max_cost and 0 < before.committed < RECORDS

    with pytest.raises(RunStopped, match="a higher limit goes on") as again:
        run(config)
    assert read_edits(log) == edits, "the same command makes no edit"
    now = again.value.summary
    assert (now.committed, now.gpu_cost) == (before.committed, before.gpu_cost), "and costs nothing"

    summary = run(load_config(base | {"limits": {"max_cost": 5000}}))
    assert summary.complete and summary.committed == RECORDS
    assert run(config).complete, "whatever it has cost, there is nothing to do"
