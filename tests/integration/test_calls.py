"""What each call of a run was made with is on record, and `run.json` reruns the last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mira_batch.config.load import load_config
from mira_batch.core.errors import RunConflict
from mira_batch.launch import make_job, run
from mira_batch.runtime import run as runner
from mira_batch.runtime.lease import lease
from mira_batch.storage.stores import open_store
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import plan_edits


def test_settings_that_change_from_call_to_call_are_on_record(tmp_path: Path) -> None:
    base = settings(make_catalogue(tmp_path / "catalogue", 3), tmp_path / "out")
    folder = Path(plan_edits(load_config(base)).run)
    assert not (folder / "calls").exists(), "run.json says it"
    run(load_config(base, ["limits.edit_seconds=77"]))
    assert json.loads((folder / "run.json").read_text())["config"]["limits"]["edit_seconds"] == 900
    again = load_config(folder / "run.json")
    assert again.limits.edit_seconds == 77
    assert run(again).already == 3 and len(list((folder / "calls").iterdir())) == 1
    runner.clean(make_job(again))
    run(load_config(folder / "run.json", ["workers.max=3"]))
    assert [load_config(path).workers.max for path in sorted((folder / "calls").iterdir())] == [2, 3]
    verdict = runner.verify(make_job(load_config(folder / "run.json")))
    assert verdict.whole and verdict.ok == 3


def test_a_call_that_was_refused_is_not_on_record(tmp_path: Path) -> None:
    base = settings(make_catalogue(tmp_path / "catalogue", 3), tmp_path / "out")
    config = load_config(base)
    store = open_store(plan_edits(config).run, config.storage)
    with lease(store, lambda to: None, print), pytest.raises(RunConflict):
        run(load_config(base, ["workers.max=5"]))
    assert not list(store.list("calls"))
