"""`mira-batch inspect`: the second job of the runner, over manifests, embedded images and results of runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch import load_config, read_catalogue, read_outputs, run
from mira_batch.config.load import load_job_config
from mira_batch.core.errors import ConfigError, RunConflict
from mira_batch.launch import make_job
from mira_batch.launch import run as run_any
from mira_batch.runtime import run as runner
from mira_batch.storage.schema import IMAGE
from tests.support import ROOT
from tests.support.runs import program
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.servers.fault_proxy import fault_proxy
from tests.support.servers.s3 import S3Server


def inspection(manifest: Path | str, output: Path, **more: Any) -> dict[str, Any]:
    base = settings(manifest, output)
    return base | {"job": "inspect"} | more


def facts_of(where: str) -> dict[str, dict[str, Any]]:
    return {row["record_id"]: row for row in pq.read_table(f"{where}/results").to_pylist()}


@pytest.mark.parametrize(
    "backend", ["inline", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.soak])]
)
def test_a_row_for_each_image_and_a_reason_where_there_is_none(tmp_path: Path, backend: str) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 60)
    (tmp_path / "catalogue" / "images" / "coffee.png").write_bytes(b"no image")
    summary = run_any(load_job_config(inspection(manifest, tmp_path / "facts", backend=backend)))
    found = facts_of(summary.run)
    assert len(found) == summary.committed == 60 and summary.complete
    failed = {name: row for name, row in found.items() if row["status"] == "failed"}
    assert summary.ok == 60 - len(failed) and summary.errors == {"image_unreadable": len(failed)}
    assert found["rec-00033"]["error_message"].endswith("no such file")
    broken = next(row for row in failed.values() if row["source"].endswith("coffee.png"))
    assert "is not an image" in broken["error_message"] and broken["bytes"] == 8 and broken["format"] is None
    assert all(
        row["width"] and row["sharpness"] > 0 and row["format"] == "PNG"
        for n, row in found.items()
        if n not in failed
    )
    assert runner.verify(
        make_job(load_job_config(inspection(manifest, tmp_path / "facts", backend=backend)))
    ).whole


def test_it_goes_on_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 40)
    config = load_job_config(inspection(manifest, tmp_path / "facts"))
    first = run_any(config)
    lost = sorted(Path(first.results).iterdir())[2]
    lost.unlink()
    stood = {path: path.stat().st_mtime_ns for path in Path(first.results).iterdir()}
    again = run_any(config)
    assert again.complete and 0 < again.committed - again.already < 40
    assert {path: path.stat().st_mtime_ns for path in stood} == stood
    with open(manifest, "a") as file:
        file.write(json.dumps({"record_id": "new", "image": "images/chelsea.png"}) + "\n")
    more = run_any(config)
    assert more.run != first.run and (more.skipped, more.committed) == (0, 41), "facts of the whole manifest"
    skipping = load_job_config(
        inspection(manifest, tmp_path / "facts", run_id="rest"), ["output.skip_done=true"]
    )
    assert run_any(skipping).skipped == more.ok


def test_other_bounds_are_another_question(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 8, size=40)
    base = inspection(manifest, tmp_path / "facts")
    assert run_any(load_job_config(base, ["output.skip_done=true"])).ok == 8
    strict = run_any(load_job_config(base, ["output.skip_done=true", "input.max_pixels=100"]))
    assert strict.skipped == 0 and strict.errors == {"image_too_large": 8}


def test_images_of_a_run_and_embedded_ones_without_an_instruction(tmp_path: Path) -> None:
    edits = run(load_config(settings(make_catalogue(tmp_path / "catalogue", 20), tmp_path / "out")))
    facts = run_any(load_job_config(inspection(edits.run, tmp_path / "facts")))
    results = {row["record_id"]: row for row in read_outputs(edits.run).to_pylist() if row["image"]}
    found = facts_of(facts.run)
    assert found.keys() == results.keys() and facts.rejected == 20 - len(results)
    for name, row in found.items():
        assert (row["width"], row["height"]) == (results[name]["width"], results[name]["height"])
        assert row["pixel_digest"] == results[name]["result_digest"]
        assert row["bytes"] == len(results[name]["image"]["bytes"])
    images = pa.array([row["image"] for row in results.values()], IMAGE)
    pq.write_table(
        pa.table({"record_id": list(results), "image": images}), tmp_path / "m.parquet", row_group_size=4
    )
    again = facts_of(run_any(load_job_config(inspection(tmp_path / "m.parquet", tmp_path / "embedded"))).run)
    assert {n: row["pixel_digest"] for n, row in again.items()} == {
        n: row["pixel_digest"] for n, row in found.items()
    }


def test_it_shares_an_output_with_edits_and_neither_takes_the_other_for_its_own(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 12)
    edits = run(load_config(settings(manifest, tmp_path / "out")))
    facts = run_any(load_job_config(inspection(manifest, tmp_path / "out")))
    assert facts.skipped == 0 and facts.run != edits.run
    assert read_catalogue(str(tmp_path / "out"), ["record_id"]).num_rows == 12
    with pytest.raises(RunConflict, match="of another job, edit"):
        run_any(load_job_config(inspection(manifest, tmp_path / "out", run_id=edits.run_id)))
    with pytest.raises(RunConflict, match="is a run of the job inspect, not of edit"):
        runner.status(make_job(load_config(settings(manifest, tmp_path / "out", run_id=facts.run_id))))


def test_on_the_command_line(tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return program.call(*arguments, folder=tmp_path)

    sample = str(ROOT / "configs" / "sample" / "manifest.jsonl")
    done = call("inspect", sample, "--set", "backend=inline", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["ok"], printed["facts"]["images"], printed["facts"]["formats"]) == (
        24,
        24,
        {"JPEG": 12, "PNG": 12},
    )
    assert printed["facts"]["turned"] == 4 and printed["facts"]["repeated"] == 16
    assert Path(printed["results"]).parent.parent == tmp_path / "facts"
    people = call("inspect", sample, "--set", "backend=inline")
    assert "nothing to do" in people.stdout and "JPEG 12, PNG 12" in people.stdout
    run_json = f"{printed['run']}/run.json"
    assert json.loads(call("status", "-c", run_json, "--json").stdout)["complete"]
    assert call("verify", "-c", run_json).returncode == 0 and call("validate", "-c", run_json).returncode == 0
    assert call("run", "-c", run_json).returncode == 0, "run.json alone reruns it"
    job = [
        sys.executable,
        str(ROOT / "jobs" / "inspect_catalogue.py"),
        sample,
        "--set",
        "backend=inline",
        "--json",
    ]
    again = subprocess.run(job, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["facts"] == printed["facts"], "as a cluster runs it"
    both = call("inspect", sample, "-c", run_json)
    assert both.returncode == 2 and "one of them" in both.stderr
    config = call("inspect", "-c", str(ROOT / "configs" / "quickstart.yaml"), "--set", "job=edit")
    assert config.returncode == 2 and "is edit, but inspect is wanted here" in config.stderr


def test_what_goes_wrong_is_one_line(tmp_path: Path) -> None:
    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        words = ["inspect", *arguments, "--set", "backend=inline", "-o", str(tmp_path / "facts")]
        env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | environment
        return program.call(*words, folder=tmp_path, environment=env)

    manifest = str(make_catalogue(tmp_path / "catalogue", 12))
    ended = call(manifest, "--set", "limits.deadline=0s")
    assert ended.returncode == 1 and "limits.deadline (0s) is reached" in ended.stderr
    assert "0 of 12 committed" in ended.stdout and "Traceback" not in ended.stderr
    run = json.loads(call(manifest, "--json").stdout)["run"]
    damaged = sorted(Path(run, "results").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:500])
    again = call(manifest)
    assert again.returncode == 1 and "no facts:" in again.stderr and "Traceback" not in again.stderr
    away = call(
        "s3://nowhere/m", "--set", "storage.endpoint_url=http://127.0.0.1:9", AWS_EC2_METADATA_DISABLED="true"
    )
    assert away.returncode == 2 and "can't be looked at; check the path and the credentials" in away.stderr


@pytest.mark.s3
def test_retries_are_counted_also_where_an_image_is_unreadable_in_the_end(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    catalogue = make_catalogue(tmp_path / "catalogue", 3)
    (catalogue.parent / "images" / "camera.png").write_bytes(b"no image")
    s3.upload(catalogue.parent, "inspect/catalogue")
    with fault_proxy(s3.endpoint) as proxy:
        proxy.add("unavailable", "GET", r"/images/camera\.png", times=2)
        config = inspection(
            f"s3://{s3.bucket}/inspect/catalogue/manifest.jsonl",
            tmp_path / "facts",
            storage={"endpoint_url": proxy.endpoint},
        )
        summary = run_any(load_job_config(config))
    assert (summary.ok, summary.failed, summary.retries) == (2, 1, 2)


def test_a_config_names_its_job(tmp_path: Path) -> None:
    base = {"input": {"manifest": "m.jsonl"}, "output": {"uri": "out"}}
    with pytest.raises(ConfigError, match=r"job: 'paint' is no job; there are edit, inspect"):
        load_job_config(base | {"job": "paint"})
    with pytest.raises(ConfigError, match="a bulk edit is wanted here"):
        load_config(base | {"job": "inspect"})
    with pytest.raises(ConfigError, match="policy: unknown key"):
        load_job_config(base | {"job": "inspect", "policy": {"type": "rules"}})
