"""A run in a place with a strange name is whole, and every reader finds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_catalogue, read_outputs, read_trajectories, run
from mira_batch.config.load import load_job_config
from mira_batch.edit.job import EditJob
from mira_batch.launch import make_job
from mira_batch.report.write import write_report
from mira_batch.runtime import run as runner
from mira_batch.storage.run.planfile import read_rejects
from mira_batch.storage.stores import open_store
from tests.support.pictures import corners
from tests.support.servers.s3 import S3Server

PLACES = ["summer#1", "summer#2", "a?b", "50%25off", "50%off", "a b+ü&=;", "q?versionId=3", "~/{x}", "US$"]


def catalogue(folder: Path, names: list[str]) -> list[dict[str, Any]]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (folder / f"{name}.png").exists():  # else it would count as another image
            corners().save(folder / f"{name}.png")
    return [{"record_id": name, "image": f"{name}.png", "instruction": "mirror it"} for name in names]


def write_manifest(folder: Path, names: list[str]) -> None:
    rows = [f"{row['record_id']},{row['image']},{row['instruction']}" for row in catalogue(folder, names)]
    (folder / "m.csv").write_text("\n".join(["record_id,image,instruction", *rows]))


def check_place(root: str, catalogue_uri: str, upload: Any, storage: dict[str, Any], folder: Path) -> None:
    """Run twice into one place, the second time with a row more, and ask every reader."""
    write_manifest(folder, ["one"])
    upload()
    settings = {
        "input": {"manifest": f"{catalogue_uri}/m.csv"},
        "output": {"uri": root, "step_images": "reference"},
        "backend": "inline",
        "storage": storage,
    }
    config = load_config(settings)
    done = run(config)
    assert done.complete and done.tally.ok == 1 and done.run == f"{root}/{done.run_id}"
    job = EditJob(config)
    assert runner.status(job).committed == 1
    assert runner.verify(job).problems == []
    assert write_report(config, done).page == f"{done.run}/report.html"
    assert runner.clean(job).objects == 0
    assert read_outputs(done.run, ["record_id"], config.storage).to_pylist() == [{"record_id": "one"}]
    assert read_trajectories(done.run, storage=config.storage).num_rows == 1
    assert run(config).committed == 1, "it is done"
    if not set(root) & set("*?["):  # those may be meant as a glob
        check_facts(done.run, f"{root}/facts", storage)
    write_manifest(folder, ["one", "two"])
    upload()
    more = run(config)
    assert (more.skipped, more.committed) == (1, 1), "the first run's record is found again"
    current = read_catalogue(root, ["record_id", "status"], config.storage).to_pylist()
    assert sorted(row["record_id"] for row in current) == ["one", "two"]


def check_facts(of: str, root: str, storage: dict[str, Any]) -> None:
    """Inspect a run's results."""
    settings = {"input": {"manifest": of}, "output": {"uri": root}, "backend": "inline", "storage": storage}
    looked = runner.run(make_job(load_job_config(settings, job="inspect")))
    assert looked.complete and looked.tally.ok == 1


@pytest.mark.s3
@pytest.mark.parametrize("name", PLACES)
def test_a_key_is_literal(name: str, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    root = f"places/{name}"
    check_place(
        f"s3://{s3.bucket}/{root}",
        f"s3://{s3.bucket}/cat-{PLACES.index(name)}",
        lambda: s3.upload(tmp_path, f"cat-{PLACES.index(name)}"),
        {"endpoint_url": s3.endpoint},
        tmp_path,
    )
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket=s3.bucket, Prefix="places/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    assert sum(key.startswith(f"{root}/") and key.endswith("/run.json") for key in keys) >= 2
    known = tuple(f"places/{place}/" for place in PLACES)
    assert all(key.startswith(known) for key in keys), "nothing landed elsewhere"


@pytest.mark.parametrize("name", [*PLACES, "file://", "a//b/"])
def test_a_path_is_literal(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "cat"
    root = f"{tmp_path}/out/{name}"
    check_place(str(Path(root)), str(folder), lambda: None, {}, folder)
    assert len(list(Path(root).glob("*/run.json"))) == 2


@pytest.mark.parametrize("key", ["a//b", "../a", "a/./b", "a/.."])
def test_a_key_that_clients_would_change_is_refused(key: str, tmp_path: Path) -> None:
    write_manifest(tmp_path, ["one"])
    config = load_config(
        {"input": {"manifest": f"{tmp_path}/m.csv"}, "output": {"uri": f"s3://bucket/{key}"}}
        | {"backend": "inline", "storage": {"endpoint_url": "http://127.0.0.1:9"}}
    )
    with pytest.raises(Exception, match=r"no part of its key may be empty, '\.' or '\.\.'"):
        run(config)


def test_file_uris_in_a_manifest_are_decoded(tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    catalogue(folder, ["50% é", "plain", "a%20b"])
    uris = {
        "encoded": f"file://{folder}/50%25%20%C3%A9.png".replace(" ", "%20"),
        "host": f"file://localhost{folder}/plain.png".replace(" ", "%20"),
        "path": f"{folder}/a%20b.png",
        "outside": f"file://{folder}/%2e%2e/plain.png",
        "foreign": "file://nas/plain.png",
    }
    rows = [{"record_id": name, "image": uri, "instruction": "mirror it"} for name, uri in uris.items()]
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    settings = {"input": {"manifest": f"{folder}/m.jsonl"}, "output": {"uri": f"{tmp_path}/out"}}
    config = load_config(settings | {"backend": "inline"})
    done = run(config)
    found = read_outputs(done.run, ["record_id", "status", "error_kind"]).to_pylist()
    assert {row["record_id"]: row["error_kind"] or row["status"] for row in found} == {
        "encoded": "ok",
        "host": "ok",
        "path": "ok",
        "outside": "image_forbidden",
    }
    [reject] = read_rejects(open_store(done.run, config.storage))
    assert (reject["record_id"], reject["field"]) == ("foreign", "image")
    assert "reaches this machine only, and this one names 'nas'" in reject["reason"]
