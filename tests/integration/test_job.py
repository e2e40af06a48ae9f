"""The main job, end to end, on both backends, on a disk and on a real S3 server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.core.receipts import RunSummary
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.catalogue import copy_sample, make_catalogue, settings
from tests.support.runs.edits import verify_edits
from tests.support.servers.s3 import S3Server

RECORDS = 300
SAME = ("record_id", "instruction", "status", "stop_reason", "error_kind", "image", "width", "height")
"""Columns that don't depend on where a run reads and writes, or on the clock."""


def outcome(where: str, storage: Any = None) -> dict[str, dict[str, Any]]:
    """record_id -> what must be the same however the job was run."""
    rows = read_outputs(where, columns=[*SAME, "num_steps", "metadata"], storage=storage).to_pylist()
    steps: dict[str, list[Any]] = {}
    for step in read_trajectories(where, storage=storage).sort_by([("record_id", "ascending")]).to_pylist():
        kept = ("index", "thought", "instruction", "raw_answer", "image", "attempt", "before", "after")
        steps.setdefault(step["record_id"], []).append({key: step[key] for key in kept})
    assert len({row["record_id"] for row in rows}) == len(rows)
    return {row["record_id"]: row | {"steps": steps.get(row["record_id"], [])} for row in rows}


def check_whole(summary: RunSummary, storage: Any = None, records: int = RECORDS) -> None:
    config = load_config({"input": {"manifest": "x.jsonl"}, "output": {"uri": "x"}} | (storage or {}))
    verdict = verify_edits(open_store(summary.run, config.storage))
    assert verdict.problems == []
    assert verdict.planned == verdict.committed == records
    assert summary.complete and summary.planned == records


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary]:
    """The catalogue, and its run on the disk and in process: what every other run is compared with."""
    folder = tmp_path_factory.mktemp("local")
    manifest = make_catalogue(folder / "catalogue", RECORDS)
    return manifest, run(load_config(settings(manifest, folder / "out")))


def test_local_inline(local: tuple[Path, RunSummary]) -> None:
    _, summary = local
    check_whole(summary)
    assert summary.errors == {"instruction_unclear": 6, "image_unreadable": 6}
    assert summary.ok == RECORDS - 12 and summary.stops == {"policy_stop": RECORDS - 12}
    rows = {row["record_id"]: row for row in read_outputs(summary.run).to_pylist()}
    assert "frobnicate" in rows["rec-00017"]["error_message"]
    assert "missing.png: no such file" in rows["rec-00033"]["error_message"]
    assert rows["rec-00033"]["image"] is None and rows["rec-00017"]["image"] is not None
    assert rows["rec-00005"]["metadata"] == '{"sku": 5}'
    assert rows["rec-00000"]["models"]["policy"] and rows["rec-00000"]["models"]["judge"] is None


def test_second_run_does_nothing(local: tuple[Path, RunSummary]) -> None:
    manifest, first = local
    files = {path: path.stat().st_mtime_ns for path in Path(first.results).iterdir()}
    again = run(load_config(settings(manifest, Path(first.run).parent)))
    assert (again.run, again.already) == (first.run, RECORDS)
    assert (again.ok, again.errors, again.steps) == (first.ok, first.errors, first.steps)
    assert {path: path.stat().st_mtime_ns for path in Path(first.results).iterdir()} == files


@pytest.mark.soak
@pytest.mark.ray
def test_local_ray(local: tuple[Path, RunSummary], tmp_path: Path) -> None:
    manifest, first = local
    summary = run(load_config(settings(manifest, tmp_path / "out", backend="ray")))
    check_whole(summary)
    assert outcome(summary.run) == outcome(first.run)


@pytest.mark.s3
@pytest.mark.parametrize("backend", ["inline", pytest.param("ray", marks=pytest.mark.ray)])
def test_s3_equals_local(
    backend: str, local: tuple[Path, RunSummary], s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, first = local
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3.upload(manifest.parent, f"{backend}/catalogue")
    place = f"s3://{s3.bucket}/{backend}"
    storage = {"storage": {"endpoint_url": s3.endpoint}}
    config = load_config(
        settings(f"{place}/catalogue/manifest.jsonl", f"{place}/out", backend=backend, **storage)
    )
    summary = run(config)
    check_whole(summary, storage)
    on_s3 = outcome(summary.run, config.storage)
    assert on_s3 == outcome(first.run)
    again = run(config)
    assert again.already == RECORDS and again.steps == summary.steps
    names = {entry.key.split("/")[0] for entry in open_store(summary.run, config.storage).list("")}
    kept = {"models.json", "plan", "receipts", "results", "run.json"}
    assert names == kept, "the state of committed shards is deleted, and so is the lease"


def test_plain_readers_see_each_record_once(local: tuple[Path, RunSummary]) -> None:
    _, summary = local
    expected = {f"rec-{i:05d}" for i in range(RECORDS)}
    for ids in (
        pq.read_table(summary.results, columns=["record_id"])["record_id"].to_pylist(),
        list(pd.read_parquet(summary.results, columns=["record_id"])["record_id"]),
    ):
        assert len(ids) == RECORDS and set(ids) == expected


@pytest.mark.soak
@pytest.mark.ray
def test_ray_data_sees_each_record_once(local: tuple[Path, RunSummary]) -> None:
    import ray

    from mira_batch.config.shared import WorkersConfig
    from mira_batch.runtime.backends.cluster import ray_session

    with ray_session(WorkersConfig()):
        rows = ray.data.read_parquet(local[1].results).select_columns(["record_id"]).take_all()
    assert len(rows) == RECORDS and {row["record_id"] for row in rows} == {
        f"rec-{i:05d}" for i in range(RECORDS)
    }


def test_embedded_images_give_the_same_pixels(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 40)
    by_uri = run(load_config(settings(manifest, tmp_path / "out-uri")))
    rows = pd.read_json(manifest, lines=True).to_dict("records")
    for row in rows:
        path = manifest.parent / row["image"]
        row["image"] = {"bytes": path.read_bytes() if path.exists() else b"nothing", "path": row["image"]}
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [("record_id", pa.string()), ("image", kind), ("instruction", pa.string()), ("sku", pa.int64())]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    (tmp_path / "embedded").mkdir()
    pq.write_table(table, tmp_path / "embedded" / "part.parquet", row_group_size=7)
    embedded = run(load_config(settings(tmp_path / "embedded", tmp_path / "out-embedded")))
    check_whole(embedded, records=40)
    assert outcome(embedded.run) == outcome(by_uri.run)
    for path in Path(embedded.run, "plan").glob("plan-*.parquet"):
        assert not any(pa.types.is_binary(field.type) for field in pq.read_schema(path))


def test_a_changed_manifest_runs_only_what_is_new(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 60)
    first = run(load_config(settings(manifest, tmp_path / "out")))
    lines = manifest.read_text().splitlines()
    lines[0] = lines[0].replace("rotate it a quarter turn clockwise", "invert the colours")
    extra = lines[1].replace("rec-00001", "rec-99999")
    manifest.write_text("\n".join([*lines, extra]) + "\n")
    second = run(load_config(settings(manifest, tmp_path / "out")))
    assert second.run != first.run
    assert second.skipped == first.ok - 1
    failed_before = first.failed
    assert second.planned == 2 + failed_before, "what changed, what is new, and what failed"


def test_outputs_in_other_forms(tmp_path: Path) -> None:
    manifest = copy_sample(tmp_path / "sample")
    forms: list[dict[str, Any]] = [
        {"format": "webp", "quality": 100, "step_images": "reference"},
        {"format": "jpeg", "quality": 85, "step_images": "drop"},
    ]
    for form in forms:
        uri = str(tmp_path / f"out-{form['format']}")
        summary = run(load_config(settings(manifest, uri) | {"output": {"uri": uri} | form}))
        check_whole(summary, records=24)
        steps = read_trajectories(summary.run).to_pylist()
        if form["step_images"] == "drop":
            assert all(step["image"] is None for step in steps)
        else:
            assert all(step["image"]["bytes"] is None for step in steps)
            assert all(Path(step["image"]["path"]).exists() for step in steps)


def test_run_json_reruns_the_run(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 20)
    first = run(load_config(settings(manifest, tmp_path / "out")))
    again = run(load_config(Path(first.run, "run.json")))
    assert again.run == first.run and again.already == 20
    elsewhere = load_config(Path(first.run, "run.json"), [f"output.uri={tmp_path / 'copy'}"])
    copy = run(elsewhere)
    assert outcome(copy.run) == outcome(first.run)
