"""A plan looks at the pixels of images that are other files than they were, round after round of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from mira_batch import load_config
from mira_batch.core.receipts import Progress
from mira_batch.edit.job import EditJob
from mira_batch.runtime.known import read_catalogue
from mira_batch.runtime.plan import Known, compare, write_plan
from mira_batch.runtime.scan import PIXELS
from mira_batch.storage import schema
from mira_batch.storage.catalogue.bucketfiles import SnapshotWriter
from mira_batch.storage.catalogue.join import Cause
from mira_batch.storage.catalogue.snapshot import FoldedRun
from mira_batch.storage.manifest.listing import find_manifest, list_files
from mira_batch.storage.run.layout import hash_form, open_run
from mira_batch.storage.run.planfile import read_pointers
from tests.support.runs.catalogue import settings
from tests.support.runs.edits import spec_of

ROWS = 70_000


def as_known(scanned: pa.Table) -> pa.Table:
    """What a catalogue would know of these rows, had their images been other files when they were edited."""
    rows = scanned.num_rows
    columns = {
        "record_id": scanned["record_id"],
        "work_id": [f"{number:032x}" for number in range(rows)],
        "image_part": ["then"] * rows,
        "instruction_part": scanned["instruction_part"],
        "status": ["ok"] * rows,
        "source_digest": [f"pixels of {number}" for number in range(rows)],
        "made_as": [f"{number:032x}" for number in range(rows)],
        "run": ["one"] * rows,
        "plan": [1] * rows,
        "current": [True] * rows,
    }
    nulls = {field.name: pa.nulls(rows, field.type) for field in schema.SNAPSHOT}
    return pa.table([(nulls | columns)[name] for name in schema.SNAPSHOT.names], schema=schema.SNAPSHOT)


def test_each_round_has_its_rows_and_all_are_settled(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    rows = ({"record_id": f"r{i}", "image": "a.png", "instruction": "mirror it"} for i in range(ROWS))
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = load_config(settings(tmp_path / "m.jsonl", tmp_path / "out"))
    job, spec = EditJob(config), spec_of(config, list_files(config.input, config.storage))
    splits = find_manifest(config.input, config.storage).split()
    scanned = [table for split in splits for table in job.scan(split)]
    catalogue = read_catalogue(job, spec, Progress()).catalogue
    writer = SnapshotWriter(catalogue.store, 1)
    writer.add(as_known(pa.concat_tables(scanned)))
    snapshot = writer.finish({"one": FoldedRun(1, hash_form(spec.settings), 1, ((0, 0),))})
    assert snapshot is not None
    rounds: list[list[int]] = []

    def read_pixels(parts: Sequence[pa.Table]) -> Iterable[pa.Table]:
        rounds.append([number for part in parts for number in part["number"].to_pylist()])
        return map(look, parts)

    def look(part: pa.Table) -> pa.Table:
        numbers = part["number"].to_pylist()
        pixels = [f"pixels of {number if number % 2 else 'another'}" for number in numbers]
        return pa.table([numbers, pixels], schema=PIXELS)

    known = Known(catalogue, snapshot)
    with compare(job, spec, iter(scanned), known, lambda _: None, read_pixels) as found:
        assert [number for numbers in rounds for number in numbers] == list(range(ROWS))
        assert [len(numbers) for numbers in rounds] == [65_536, ROWS - 65_536]
        assert found.causes.tolist() == [Cause.image, Cause.same_pixels] * (ROWS // 2)
        assert found.pointers.num_rows == ROWS // 2 and found.has_news
        store = open_run(spec)
        plan = write_plan(job, found, store, known)
    said: Iterator[dict[str, str]] = (
        row for key in plan.pointers for row in read_pointers(store, key).to_pylist()
    )
    stands_in = {row["record_id"]: int(row["stands_in"], 16) for row in said}
    assert stands_in == {f"r{number}": number for number in range(1, ROWS, 2)}
    assert plan.records == ROWS // 2 and plan.skipped == ROWS // 2
