"""The facts of fidelity on their way into rows, the catalogue and conditions; and what was made without."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch import load_config, read_catalogue, read_outputs, run
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.identity import content_hash
from mira_batch.core.receipts import RunSummary
from mira_batch.edit.job import EditJob
from mira_batch.imaging import Fidelity, measure_fidelity
from mira_batch.storage import schema
from mira_batch.storage.catalogue.bucketfiles import read_bucket
from mira_batch.storage.catalogue.check import check_catalogue
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.place import open_catalogue
from mira_batch.storage.catalogue.snapshot import find_newest
from mira_batch.storage.catalogue.trajectory import find_trajectory
from mira_batch.storage.stores import open_store
from tests.support.runs.catalogue import SAMPLE, settings
from tests.support.runs.edits import verify_edits

EDITS = {
    "warm": "give it an orange tint at 30%",
    "square": "crop it square",
    "still": "rotate it by 90 degrees, then rotate it by 270 degrees",
    "unclear": "frobnicate the gizmo",
}


def a_config(folder: Path, **output: Any) -> BulkEditConfig:
    manifest = folder / "m.jsonl"
    if not manifest.exists():
        with Image.open(SAMPLE / "images" / "coffee.jpg") as image:
            image.resize((300, 200)).save(folder / "a.png")
        rows = [{"record_id": name, "image": "a.png", "instruction": text} for name, text in EDITS.items()]
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = settings(manifest, folder / "out")
    return load_config(base | {"output": base["output"] | output, "workers": {"shard_size": 2}})


def facts_of(summary: RunSummary) -> dict[str, dict[str, float | None] | None]:
    rows = read_outputs(summary.run, ["record_id", "fidelity"]).to_pylist()
    return {row["record_id"]: row["fidelity"] for row in rows}


def make_old(output: Path) -> None:
    """Make of results and catalogue what the release before there were these facts would have written."""
    for path in output.glob("*/results/*.parquet"):
        table, footer = pq.read_table(path), pq.read_metadata(path).metadata
        features = json.loads(footer[b"huggingface"])
        del features["info"]["features"]["fidelity"]
        rest = {key: value for key, value in footer.items() if key != b"ARROW:schema"}
        rest[b"huggingface"] = json.dumps(features).encode()
        pq.write_table(table.drop_columns("fidelity").replace_schema_metadata(rest), path)
    catalogue = open_catalogue(str(output), "edit", a_storage())
    for marker in output.glob("catalogue/*/snapshot.json"):
        rows = read_bucket(catalogue.store, find_newest(catalogue.store), 0)
        kept = [name for name in schema.SNAPSHOT.names if name not in schema.FIDELITY.names]
        path = marker.parent / "new.parquet"
        pq.write_table(rows.select(kept), path)
        name = f"bucket-000-{content_hash(path.read_bytes(), size=4)}.parquet"
        path.rename(marker.parent / name)
        document = json.loads(marker.read_text())
        document |= {"form": 1, "files": [f"{marker.parent.name}/{name}"]}
        marker.write_text(json.dumps(document))


def a_storage() -> Any:
    return BulkEditConfig.model_validate({"input": {"manifest": "m"}, "output": {"uri": "o"}}).storage


def test_facts_are_in_rows_and_are_those_of_the_images(tmp_path: Path) -> None:
    summary = run(a_config(tmp_path))
    facts = facts_of(summary)
    assert facts["unclear"] is None, "nothing is said of a failed record"
    source = Image.open(io.BytesIO((tmp_path / "a.png").read_bytes()))
    for row in read_outputs(summary.run, ["record_id", "image", "fidelity"]).to_pylist():
        if row["record_id"] != "unclear":
            result = Image.open(io.BytesIO(row["image"]["bytes"]))
            assert row["fidelity"] == measure_fidelity(source, result).dump()
    assert facts["still"] == Fidelity(0, 0, 0, 0, 0, 1, 0, None, 1, 1).dump()
    assert facts["square"] == Fidelity(size_ratio=0.6667, aspect_change=0.6667).dump()
    assert facts["warm"] is not None and (facts["warm"]["delta_e"] or 0) > 3
    assert verify_edits(open_store(summary.run, a_storage())).problems == []


def test_struct_and_facts_have_the_same_names() -> None:
    assert schema.FIDELITY.names == list(Fidelity().dump())
    assert set(schema.FIDELITY.names) - set(schema.SNAPSHOT.names) == {"shift_x", "shift_y"}


def test_without_it_nothing_else_is_another(tmp_path: Path) -> None:
    on, off = a_config(tmp_path), a_config(tmp_path, fidelity=False)
    assert EditJob(on).fingerprint_fields() == EditJob(off).fingerprint_fields()
    assert EditJob(on).settings() == EditJob(off).settings()
    summary = run(off)
    assert set(facts_of(summary).values()) == {None}
    again = run(on)
    assert (again.run, again.already) == (summary.run, 4), "it is the same run, and it is done"
    assert verify_edits(open_store(summary.run, a_storage())).problems == []


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("delta_e > 3", {"warm"}),
        ("aspect_change != 1", {"square"}),
        ("size_ratio < 1 or delta_e > 3", {"warm", "square"}),
        ("shift is null and status = 'ok'", {"square"}),
        ("sharpness_ratio between 0.99 and 1.01", {"still"}),
        ("alpha_loss is not null", set()),
    ],
)
def test_records_are_chosen_by_facts(tmp_path: Path, where: str, chosen: set[str]) -> None:
    config = a_config(tmp_path)
    run(config)
    select = {"where": where, "again": True}
    again = run(BulkEditConfig.model_validate(config.model_dump() | {"select": select, "run_id": "again"}))
    rows = read_outputs(again.run, ["record_id"])["record_id"].to_pylist() if again.planned else []
    assert set(rows) == chosen


def test_what_an_earlier_release_made_is_read_and_goes_on(tmp_path: Path) -> None:
    summary = run(a_config(tmp_path))
    make_old(tmp_path / "out")
    assert set(facts_of(summary).values()) == {None}
    assert verify_edits(open_store(summary.run, a_storage())).problems == []
    whole = read_catalogue(str(tmp_path / "out"))
    assert whole.num_rows == 4 and whole["fidelity"].null_count == 4
    assert find_trajectory(str(tmp_path / "out"), "warm").dump()["fidelity"] is None
    catalogue = open_catalogue(str(tmp_path / "out"), "edit", a_storage())
    assert check_catalogue(catalogue, schema.RESULTS).problems == []
    rows = read_bucket(catalogue.store, find_newest(catalogue.store), 0)
    assert rows.schema.equals(schema.SNAPSHOT) and rows["delta_e"].null_count == 4

    with open(tmp_path / "m.jsonl", "a") as manifest:
        manifest.write(json.dumps({"record_id": "new", "image": "a.png", "instruction": "make it sepia"}))
    night = run(a_config(tmp_path))
    assert (night.planned, night.ok) == (2, 1), "the new one, and the one that failed"
    snapshot = fold(catalogue, schema.RESULTS, pytest.fail)
    marker = json.loads((tmp_path / "out/catalogue" / f"{snapshot.number:05d}" / "snapshot.json").read_text())
    assert marker["form"] == 2, "by which an earlier release knows that it can't read it"
    rows = read_bucket(catalogue.store, snapshot, 0)
    known = dict(zip(rows["record_id"].to_pylist(), rows["delta_e"].to_pylist(), strict=True))
    assert known["new"] is not None and known["warm"] is None
    assert check_catalogue(catalogue, schema.RESULTS).problems == []
    assert pa.types.is_float32(rows.schema.field("delta_e").type)
