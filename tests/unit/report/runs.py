"""Runs' directories with results of chosen records, and their reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.identity import content_hash, frame_of
from mira_batch.core.receipts import RunSummary
from mira_batch.core.types import (
    ErrorKind,
    Failure,
    Frame,
    LoggedStep,
    Step,
    StopReason,
    Trajectory,
)
from mira_batch.core.usage import Usage
from mira_batch.edit.rows import make_result_row
from mira_batch.imaging import encode_png
from mira_batch.report.write import Form, write_report
from mira_batch.storage import schema
from mira_batch.storage.manifest.listing import list_files
from mira_batch.storage.manifest.planned import PlannedRecord
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.planwriter import PlanWriter
from tests.support.runs.edits import edit_results, open_edit_run
from tests.unit.report.parse import Shown, parse_page

RED, GREEN, BLUE = (200, 30, 30), (30, 160, 60), (40, 60, 200)
HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(2)'> & </style></script>{{ 7 * 7 }}{% raw %}"
MODELS = {"policy": "policy/1", "editor": "editor/1", "judge": None}


class Run:
    """A run's directory, made with the functions that make real ones."""

    def __init__(self, folder: Path, manifest: pa.Table | None = None) -> None:
        self.folder = folder
        (folder / "images").mkdir(parents=True)
        rows = manifest or pa.table({"record_id": ["a"], "image": ["images/a.png"], "instruction": ["x"]})
        self.manifest = str(folder / "manifest.parquet")
        pq.write_table(rows, self.manifest, row_group_size=2)
        self.config = BulkEditConfig.model_validate(
            {"input": {"manifest": self.manifest}, "output": {"uri": str(folder / "out")}, "run_id": "r"}
        )
        self.store = open_edit_run(self.config, list_files(self.config.input, self.config.storage))
        self.shards = 0

    def image(self, name: str, colour: tuple[int, ...] = RED, size: tuple[int, int] = (60, 40)) -> str:
        path = str(self.folder / "images" / f"{name}.png")
        painted(colour, size).save(path)
        return path

    def commit(self, *rows: dict[str, Any]) -> None:
        self.store.create(result_key(self.shards), edit_results(rows))
        self.shards += 1

    def reject(self, rows: list[dict[str, Any]]) -> None:
        PlanWriter(self.store, 1, 1).finish(pa.Table.from_pylist(rows, schema=schema.REJECTS))

    def report(self, most: int = 48, **figures: Any) -> Shown:
        summary = RunSummary(self.store.uri, "r", planned=100, **figures)
        location = write_report(self.config, summary, Form(most)).page
        assert location == self.store.locate("report.html")
        return parse_page(Path(location).read_text(encoding="utf-8"))


def painted(colour: tuple[int, ...], size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour)


def row(
    name: str,
    source: str,
    colours: tuple[Any, ...] = (GREEN,),
    failure: Failure | None = None,
    keep: Any = lambda step, png: {"bytes": png, "path": None},
    original: Image.Image | None = None,
    plan: dict[str, Any] | None = None,
    accepted: tuple[bool, ...] = (),
    words: str = "",
) -> dict[str, Any]:
    """The result row of a record whose original is red and whose steps painted it in these colours."""
    start = frame_of(original or painted(RED))
    frames = [frame_of(c if isinstance(c, Image.Image) else painted(c)) for c in colours]
    good = accepted or (True,) * len(frames)
    steps, current = [], start
    for k, (frame, taken) in enumerate(zip(frames, good, strict=True)):
        text = words or f"edit {k + 1}"
        step = Step(
            k,
            f"thought {k + 1} {words}",
            text,
            "",
            1,
            0,
            current.digest,
            frame.digest,
            taken,
            0.5 if accepted else None,
        )
        steps.append(LoggedStep(step, frame))
        current = frame if taken else current
    stop = None if failure else StopReason.policy_stop
    ended = Trajectory(
        tuple(steps),
        current,
        stop,
        failure,
        Usage.of(policy=1, editor=2, waiting=3, io=4),
        final_thought=words,
    )
    planned = {
        "record_id": name,
        "work_id": content_hash(name),
        "instruction": words or f"do {name}",
        "image_uri": source,
        "metadata": "{}",
    }
    kept = [keep(step.step, encode_png(step.frame.pixels)) for step in steps]
    record = PlannedRecord.from_row(planned | (plan or {}))
    return make_result_row(record, ended, encode_png(current.pixels), kept, MODELS, start.digest)


def unopened(name: str, message: str = "no such file") -> dict[str, Any]:
    """The row of a record whose image could not be opened."""
    failure = Failure(ErrorKind.image_unreadable, message)
    plan = {"record_id": name, "work_id": name, "instruction": "x", "image_uri": "/no", "metadata": "{}"}
    record = PlannedRecord.from_row(plan)
    return make_result_row(
        record, Trajectory((), Frame(None, ""), None, failure, Usage()), None, [], MODELS, None
    )
