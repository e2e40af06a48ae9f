"""A job of one's own that goes wrong: the run ends with one line that names job, record and fault."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

from mira_batch.config.load import load_own_config
from mira_batch.config.shared import JobConfig, ManifestConfig
from mira_batch.core.errors import JobError
from mira_batch.core.identity import fingerprint
from mira_batch.core.receipts import Tally
from mira_batch.runtime import run as runner
from mira_batch.runtime.job import PlanRow, RecordPostponed, RecordResult, RecordRunner
from mira_batch.runtime.preflight import validate
from mira_batch.storage import schema
from mira_batch.storage.manifest import find_manifest, scan_split
from mira_batch.storage.run.results import read_outputs
from mira_batch.storage.run.verify import RowCheck
from tests.support.runs.catalogue import make_catalogue, settings

BAD = "rec-00003"


class FaultyConfig(JobConfig):
    job: Literal["faulty"] = "faulty"
    input: ManifestConfig
    fault: str = ""


class FaultyJob:
    """Ends every record well but for one, at which it does what `FAULTS` says."""

    plan_schema = schema.PLAN
    result_schema = pa.schema([(name, pa.string()) for name in ("record_id", "work_id", "status", "more")])

    def __init__(self, config: FaultyConfig) -> None:
        self.config = config

    def fingerprint_fields(self) -> dict[str, Any]:
        return {"faulty": 1}

    def settings(self) -> dict[str, Any]:
        self._fail_at("settings")
        return {"input": self.config.input.model_dump(mode="json"), **self.fingerprint_fields()}

    def check(self) -> None:
        self._fail_at("check")

    def checks(self) -> list[Any]:
        return [("shelves", lambda: self._fail_at("checks") or "they stand")]

    def find_source(self) -> Any:
        self._fail_at("find_source")
        return find_manifest(self.config.input, self.config.storage)

    def scan(self, split: Any) -> Any:
        self._fail_at("scan")
        for table in scan_split(split, self.config.input, self.config.storage, fingerprint({"faulty": 1})):
            if self.config.fault == "work":
                works = pa.array([f"w-{name}" for name in table["record_id"].to_pylist()])
                table = table.set_column(table.schema.get_field_index("work_id"), "work_id", works)
            yield table

    async def open(self, context: Any) -> RecordRunner:
        self._fail_at("open")
        return FaultyRunner(self.config.fault)

    def check_row(self, store: Any, row: Mapping[str, Any]) -> RowCheck:
        return RowCheck()

    def _fail_at(self, place: str) -> None:
        if self.config.fault == place:
            raise ZeroDivisionError("no")


class FaultyRunner(RecordRunner):
    def __init__(self, fault: str) -> None:
        self._fault = fault

    async def run(self, row: PlanRow, steps: Any) -> RecordResult:
        fine = {"record_id": row.record_id, "work_id": row.work_id, "status": "ok", "more": None}
        if row.record_id == BAD and self._fault in FAULTS:
            return FAULTS[self._fault](fine)
        return RecordResult(fine, Tally(records=1, ok=1))

    @property
    def identities(self) -> Mapping[str, str | None]:
        if self._fault == "identities":
            raise ZeroDivisionError("no")
        return {}

    async def close(self) -> None:
        if self._fault == "close":
            raise ZeroDivisionError("no")


def raise_it(error: BaseException) -> RecordResult:
    raise error


def ok(row: Mapping[str, Any]) -> RecordResult:
    return RecordResult(row, Tally(records=1, ok=1))


FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "raise": lambda row: raise_it(ZeroDivisionError("no")),
    "postpone": lambda row: raise_it(RecordPostponed()),
    "nothing": lambda row: None,
    "lack": lambda row: ok({name: row[name] for name in ("record_id", "work_id", "more")}),
    "extra": lambda row: ok(row | {"colour": "red"}),
    "another": lambda row: ok(row | {"record_id": "rec-00004"}),
    "type": lambda row: ok(row | {"more": {"a": 1}}),
    "tally": lambda row: RecordResult(row, Tally(ok=1)),
    "status": lambda row: ok(row | {"status": "failed"}),
    "word": lambda row: ok(row | {"status": "done"}),
    "cancel": lambda row: raise_it(asyncio.CancelledError("by its own")),
}


def faulty(tmp_path: Path, fault: str, **more: Any) -> FaultyJob:
    manifest = tmp_path / "catalogue" / "manifest.jsonl"
    if not manifest.exists():
        make_catalogue(tmp_path / "catalogue", 12)
    return FaultyJob(load_own_config(FaultyConfig, settings(manifest, tmp_path / "out", fault=fault, **more)))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raise", "record 'rec-00003': ZeroDivisionError: no"),
        ("postpone", "record 'rec-00003': was postponed, but the run is not ending"),
        ("nothing", "record 'rec-00003': AttributeError"),
        ("lack", "record 'rec-00003': its row lacks status"),
        ("extra", "record 'rec-00003': its row has colour, which result_schema has not"),
        ("another", "record 'rec-00003': its row says record_id 'rec-00004', not 'rec-00003'"),
        ("type", "record 'rec-00003': more is no string"),
        ("tally", "record 'rec-00003': its tally must count one record"),
        ("status", "record 'rec-00003': its row says status 'failed', its tally 'ok'"),
        ("word", "record 'rec-00003': its row says status 'done', its tally 'ok'"),
        ("cancel", "record 'rec-00003': CancelledError: by its own"),
        ("check", "check: ZeroDivisionError: no"),
        ("settings", "settings: ZeroDivisionError: no"),
        ("find_source", "find_source: ZeroDivisionError: no"),
        ("open", "can't be opened: ZeroDivisionError: no"),
        ("identities", "can't be opened: ZeroDivisionError: no"),
        ("scan", "scan of Split("),
        ("work", "gave a work_id that is not 32 hex digits"),
    ],
)
def test_what_a_job_does_wrong_is_named(tmp_path: Path, fault: str, says: str) -> None:
    with pytest.raises(JobError) as caught:
        runner.run(faulty(tmp_path, fault))
    assert str(caught.value).startswith("job faulty: ") and says in str(caught.value)
    mended = runner.run(faulty(tmp_path, ""))
    assert mended.complete and mended.ok == 12
    assert read_outputs(mended.run, ["record_id"]).num_rows == 12


def test_a_check_of_its_own_that_fails_is_a_finding(tmp_path: Path) -> None:
    fine, bad = (list(validate(faulty(tmp_path, fault))) for fault in ("", "checks"))
    assert [finding.ok for finding in fine] == [True] * 3
    assert [finding.ok for finding in bad] == [False, True, True]
    assert bad[0].what == "shelves" and bad[0].detail == "the check failed: ZeroDivisionError: no"


def test_a_selection_is_checked_beforehand(tmp_path: Path) -> None:
    selections = ({"where": "status = 'failed'"}, {"where": "colour = 'red'"})
    said = [
        next(finding for finding in validate(faulty(tmp_path, "", select=select)) if finding.what == "select")
        for select in selections
    ]
    assert [finding.ok for finding in said] == [True, False]
    assert "colour" in said[1].detail


def test_a_job_that_can_t_let_go_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert runner.run(faulty(tmp_path, "close")).complete
    assert "job faulty: can't be closed" in caplog.text


@pytest.mark.soak
@pytest.mark.ray
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raise", "record 'rec-00003': ZeroDivisionError: no"),
        ("open", "opened"),
    ],
)
def test_on_ray_it_is_the_same_line(tmp_path: Path, fault: str, says: str) -> None:
    with pytest.raises(JobError, match=says):
        runner.run(faulty(tmp_path, fault, backend="ray"))
