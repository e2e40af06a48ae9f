"""Planning: duplicates, work already done, and both backends alike."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from mira_batch import load_config, read_outputs, run
from mira_batch.core.errors import ManifestError, RunConflict, RunStopped
from mira_batch.core.receipts import Progress
from mira_batch.edit.job import EditJob
from mira_batch.runtime.known import read_catalogue
from mira_batch.runtime.plan import compare, write_plan
from mira_batch.runtime.scan import needs_backend
from mira_batch.storage.manifest import listing
from mira_batch.storage.manifest.listing import find_manifest, list_files
from mira_batch.storage.manifest.splits import Split
from mira_batch.storage.run.identities import check_identities
from mira_batch.storage.run.layout import open_run
from mira_batch.storage.run.planfile import read_plan, read_rejects, read_shard
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import plan_edits, read_status, spec_of


def write(folder: Path, name: str, rows: list[Any]) -> None:
    folder.mkdir(exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / name).write_text("".join(line + "\n" for line in lines))


def row(name: str, **more: Any) -> dict[str, Any]:
    return {"record_id": name, "image": f"{name}.png", "instruction": "mirror it"} | more


@pytest.mark.parametrize(
    "backend", ["inline", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.soak])]
)
def test_bad_rows_and_duplicates_become_rejects_and_the_rest_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(listing, "SPLIT_BYTES", 50)  # else it is too small for Ray
    write(tmp_path / "m", "a.jsonl", [row("a"), row("b"), "{not json", row("a", instruction="invert it")])
    write(tmp_path / "m", "b.jsonl", [row("b"), row("c"), {"record_id": "d", "image": "d.png"}, row("e")])
    summary = plan_edits(load_config(settings(tmp_path / "m", tmp_path / "out", backend=backend)))
    assert (summary.planned, summary.rejected) == (4, 4)
    store = open_store(summary.run, load_config(settings("m", "o")).storage)
    plan = read_plan(store)
    assert plan is not None
    rows = [r for shard in plan.shards() for r in read_shard(store, shard)]
    assert [(r["record_id"], r["instruction"]) for r in rows] == [
        ("a", "mirror it"),
        ("b", "mirror it"),
        ("c", "mirror it"),
        ("e", "mirror it"),
    ]
    assert rows[0]["image_uri"] == str(tmp_path / "m" / "a.png")
    rejects = pq.read_table(Path(summary.run, "plan", "rejects.parquet")).to_pylist()
    assert {(r["where"].rsplit("/", 1)[1], r["field"]) for r in rejects} == {
        ("a.jsonl:3", "row"),
        ("a.jsonl:4", "record_id"),
        ("b.jsonl:1", "record_id"),
        ("b.jsonl:3", "instruction"),
    }


@pytest.mark.ray
def test_the_plan_is_the_same_on_both_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SPLIT_BYTES", 2_000)  # so that Ray has something to do
    rows: list[Any] = [row(f"r{i}") for i in range(300)]
    rows[100:100] = ["nonsense", row("r7"), ""]
    write(tmp_path / "m", "a.jsonl", rows)
    write(tmp_path / "m", "b.jsonl", [row("r299"), "nonsense", row("new")])
    found = []
    for backend in ("inline", "ray"):
        config = load_config(settings(tmp_path / "m", tmp_path / backend, backend=backend))
        source = find_manifest(config.input, config.storage)
        assert len(source.split()) > 5 and needs_backend(source, source.split())
        store = open_store(plan_edits(config).run, config.storage)
        found.append((read_plan(store), read_rejects(store)))
    assert found[0] == found[1], "plan files are named by content, so equal names are equal plans"
    plan, rejects = found[0]
    assert plan is not None and plan.records == 301
    assert [r["where"].rsplit("/", 1)[1] for r in rejects] == [
        "a.jsonl:101",
        "a.jsonl:102",
        "b.jsonl:2",
        "b.jsonl:1",
    ]


def test_a_small_manifest_is_read_without_ray(tmp_path: Path) -> None:
    write(tmp_path / "m", "a.jsonl", [row("a"), row("b")])
    config = load_config(settings(tmp_path / "m", tmp_path / "out", backend="ray"))
    source = find_manifest(config.input, config.storage)
    splits = source.split()
    assert not needs_backend(source, splits)
    large = [Split("m.csv", "csv", listing.SPLIT_BYTES), Split("n.csv", "csv", listing.SPLIT_BYTES)]
    assert needs_backend(source, large)
    job = EditJob(config)
    spec = spec_of(config, list_files(config.input, config.storage))
    scanned = (table for split in splits for table in job.scan(split))
    read: list[int] = []
    known = read_catalogue(job, spec, Progress())
    with compare(job, spec, scanned, known, read.append) as found:
        assert write_plan(job, found, open_run(spec), known).records == 2
    assert read == [2]
    assert plan_edits(config).planned == 2 and not ray.is_initialized()


@pytest.mark.parametrize(
    "backend", ["inline", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.soak])]
)
def test_a_file_that_breaks_off_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(listing, "SPLIT_BYTES", 1_000)  # else it is too small for Ray
    whole = gzip.compress(b"".join(json.dumps(row(f"r{i}")).encode() + b"\n" for i in range(20_000)))
    (tmp_path / "m.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    config = load_config(settings(tmp_path / "m.jsonl.gz", tmp_path / "out", backend=backend))
    with pytest.raises(ManifestError, match=r"m\.jsonl\.gz: can't be read to its end"):
        plan_edits(config)


def test_sizes_shrink_to_single_records(tmp_path: Path) -> None:
    write(tmp_path / "m", "a.jsonl", [row(f"r{i}") for i in range(500)])
    summary = plan_edits(load_config(settings(tmp_path / "m", tmp_path / "out")))
    plan = read_plan(open_store(summary.run, load_config(settings("m", "o")).storage))
    assert plan is not None and plan.records == 500
    assert list(plan.sizes) == sorted(plan.sizes, reverse=True)
    assert plan.sizes[0] == 8 and plan.sizes[-7:] == (1,) * 7


def test_nothing_to_plan_is_an_error_with_its_reason(tmp_path: Path) -> None:
    write(tmp_path / "m", "a.jsonl", [{"record_id": "a", "image": "a.png", "instruction": 7}])
    with pytest.raises(ManifestError, match=r"none of its 1 rows can be used.*a\.jsonl:1: instruction"):
        plan_edits(load_config(settings(tmp_path / "m", tmp_path / "out")))


def test_skip_done_can_be_turned_off(tmp_path: Path) -> None:
    write(tmp_path / "m", "a.jsonl", [row("a"), row("b")])
    config = settings(tmp_path / "m", tmp_path / "out")
    first = run(load_config(config))
    assert first.failed == 2, "their images are missing, and failed records are tried again"
    write(tmp_path / "m", "a.jsonl", [row("a"), row("b"), row("c")])
    for skip in (True, False):
        summary = plan_edits(load_config(config, [f"output.skip_done={skip}", f"run_id=skip-{skip}"]))
        assert (summary.planned, summary.skipped) == (3, 0)


@pytest.mark.parametrize("name", ["m.jsonl", "m.parquet"])
def test_a_manifest_without_a_column_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    rows = [{"id": "a", "image": "a.png", "instruction": "mirror it"}]
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    else:
        (tmp_path / name).write_text(json.dumps(rows[0]))
    for call in (run, plan_edits):
        with pytest.raises(
            ManifestError, match=r"lacks the column 'record_id' \(set input\.columns\.record_id"
        ):
            call(load_config(settings(tmp_path / name, tmp_path / "out")))
    assert not any((tmp_path / "out").rglob("*"))


def test_the_plan_names_the_models_whose_work_it_leaves_out(tmp_path: Path) -> None:
    path = make_catalogue(tmp_path / "catalogue", 12)
    first = run(load_config(settings(path, tmp_path / "out")))
    assert first.failed == 0
    [models] = {tuple(entry.items()) for entry in read_outputs(first.run, ["models"])["models"].to_pylist()}
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows[2:], rows[2].replace("rec-00002", "rec-new")]) + "\n")
    second = plan_edits(load_config(settings(path, tmp_path / "out")))
    assert (second.planned, second.skipped) == (1, 10)
    document = json.loads(Path(second.run, "plan", "plan.json").read_text())
    assert document["skipped_models"] == [{"models": dict(models), "records": 10}]
    store = open_store(second.run, load_config(settings("m", "o")).storage)
    check_identities(store, dict(models))
    with pytest.raises(
        RunConflict, match="10 records were left out because an earlier run has them, but from"
    ):
        check_identities(store, dict(models) | {"editor": "another"})


def test_a_run_that_is_not_there_has_no_status(tmp_path: Path) -> None:
    with pytest.raises(RunConflict, match="holds no run"):
        (tmp_path / "out" / "mine").mkdir(parents=True)
        read_status(load_config(settings(tmp_path / "m.jsonl", tmp_path / "out", run_id="mine")))


def test_too_many_failures_stop_the_run_and_it_can_be_resumed(tmp_path: Path) -> None:
    write(tmp_path / "m", "a.jsonl", [row(f"r{i}") for i in range(600)])  # not one image is there
    strict = settings(
        tmp_path / "m", tmp_path / "out", limits={"max_failed_fraction": 0.2, "min_records": 10}
    )
    with pytest.raises(RunStopped, match=r"of \d+ records failed \(image_unreadable \d+\), more than limits"):
        run(load_config(strict))
    so_far = read_status(load_config(strict))
    assert 10 <= so_far.committed < 600
    lenient = run(load_config(strict, ["limits.max_failed_fraction=1"]))
    assert lenient.complete and lenient.already == so_far.committed, (
        "the limit is no part of the run's identity"
    )
