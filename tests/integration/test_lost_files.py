"""Files of a run are gone between one call and the next: its plan, or results that the catalogue has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mira_batch import load_config, read_catalogue, run
from mira_batch.cli import main
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import SelectConfig
from mira_batch.core.errors import RunConflict, RunStopped, StoreError
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.edit.job import EditJob
from mira_batch.runtime import run as runner
from tests.support.runs.catalogue import make_catalogue, settings

RECORDS = 12


class StopAt(Progress):
    """Ends a run when so many records are committed."""

    def __init__(self, committed: int) -> None:
        self.stop = StopRequest()
        self._committed = committed

    def committed(self, summary: RunSummary) -> None:
        if summary.committed >= self._committed:
            self.stop.ask(RunEnd.interrupted, "the test ends it")


def configure(tmp_path: Path, records: int = RECORDS) -> BulkEditConfig:
    shutil.rmtree(tmp_path / "catalogue", ignore_errors=True)
    base = settings(
        make_catalogue(tmp_path / "catalogue", records),
        tmp_path / "out",
        policy={"type": "simulated", "steps": {"exact": {"*": 1}}},
        editor={"type": "simulated", "max_batch": 1, "service": {"seconds": 0.05}},
        workers={"records_in_flight": 1, "shard_size": 2},
        input={"manifest": str(tmp_path / "catalogue" / "manifest.jsonl"), "identity": "uri"},
    )
    return load_config(base)


def read_names(config: BulkEditConfig) -> list[str]:
    return sorted(read_catalogue(config.output.uri, ["record_id"])["record_id"].to_pylist())


def test_a_run_whose_plan_is_lost_is_not_planned_anew_beside_its_results(tmp_path: Path) -> None:
    config = configure(tmp_path)
    early = StopAt(4)
    with pytest.raises(RunStopped) as ended:
        run(config, early, early.stop)
    where = Path(ended.value.summary.run)
    (where / "plan").rename(tmp_path / "plan")
    for call in (runner.run, runner.plan, runner.status):
        with pytest.raises(StoreError, match="the plan is lost, and .* result files? .* there"):
            call(EditJob(config))
    other = run(config.model_copy(update={"run_id": "other"}))
    assert other.committed == RECORDS - 4 and len(read_names(config)) == RECORDS
    (tmp_path / "plan").rename(where / "plan")
    assert run(config.model_copy(update={"run_id": where.name})).complete


class DeleteFirst(Progress):
    """Deletes the first result file, once there are some."""

    def committed(self, summary: RunSummary) -> None:
        if summary.committed >= 4:
            Path(summary.run, "results/part-00000.parquet").unlink(missing_ok=True)


def test_a_run_whose_results_vanish_while_it_runs_does_not_end_well(tmp_path: Path) -> None:
    config = configure(tmp_path)
    with pytest.raises(StoreError, match="1 result file of it can't be seen any more, 10 of 12 records are"):
        run(config, DeleteFirst())
    assert run(config).complete and len(read_names(config)) == RECORDS


def test_what_is_made_in_place_of_results_that_are_gone_is_what_the_catalogue_has(tmp_path: Path) -> None:
    config = configure(tmp_path)
    first = Path(run(config).run)
    (first / "results/part-00000.parquet").unlink()
    images = tmp_path / "catalogue" / "images"
    images.rename(tmp_path / "images")
    assert run(config).failed == 2, "as their images are gone by now, too"
    (tmp_path / "images").rename(images)
    assert run(config.model_copy(update={"select": SelectConfig()})).ok == 2, "what failed is made again"

    (first / "results/part-00001.parquet").unlink()
    grown = configure(tmp_path, RECORDS + 1)
    assert run(grown).committed == 1
    config = configure(tmp_path)
    assert runner.plan(EditJob(config)).planned == 2
    assert run(config).committed == 2, "in a further run, since another has come in between"
    assert read_names(config) == sorted(f"rec-{i:05d}" for i in range(RECORDS + 1))


def test_results_that_are_gone_are_made_again_once_the_catalogue_is_made_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(tmp_path)
    first = Path(run(config).run)
    config = configure(tmp_path, RECORDS + 1)
    assert run(config).committed == 1
    (first / "results/part-00000.parquet").unlink()
    with pytest.raises(RunConflict, match="its files have changed since this run was planned"):
        run(load_config(first / "run.json"))
    with pytest.raises(StoreError, match=f"is gone, .*`mira-batch catalogue rebuild {config.output.uri}`"):
        read_names(config)
    assert main(["catalogue", "rebuild", config.output.uri]) == 0, capsys.readouterr().err
    assert run(config).committed == 2
    assert len(read_names(config)) == RECORDS + 1
