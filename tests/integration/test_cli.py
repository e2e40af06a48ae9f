"""The command line as a user types it, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mira_batch import read_outputs
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.program import call
from tests.support.servers.s3 import S3Server, free_port

CLI = [sys.executable, "-m", "mira_batch.cli"]


def cli(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return call(*arguments, environment=os.environ | environment)


def start_anew(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same, by a program that is started as a user starts it."""
    return subprocess.run(
        [*CLI, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )


def write_config(folder: Path, manifest: Path | str, **more: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings(manifest, folder / "out", **more)))
    return path


def test_a_run_from_validate_to_verify(tmp_path: Path) -> None:
    config = write_config(tmp_path, make_catalogue(tmp_path / "catalogue", 60))

    checked = cli("validate", "--config", config)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count("✓") == 5 and "60 rows read, 0 unusable" in checked.stdout

    planned = cli("plan", "--config", config, "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["planned"] == 60 and json.loads(planned.stdout)["committed"] == 0

    none = cli("verify", "--config", config)
    assert none.returncode == 2 and "no such directory" in none.stderr, "a plan begins no run"

    ran = start_anew("run", "--config", config)
    assert ran.returncode == 0, ran.stderr
    assert "60 of 60 committed" in ran.stdout and "instruction_unclear 1" in ran.stdout
    assert "60 records planned" in ran.stderr

    status = json.loads(cli("status", "--config", config, "--json").stdout)
    assert status["complete"] and (status["committed"], status["ok"], status["failed"]) == (60, 58, 2)
    verified = cli("verify", "--config", config)
    assert verified.returncode == 0 and "whole" in verified.stdout
    assert Path(status["run"], "report.html").exists()

    again = json.loads(cli("run", "--config", config, "--json").stdout)
    assert (again["already"], again["ok"], again["steps"]) == (60, 58, status["steps"])
    assert "nothing to do" in cli("run", "--config", config).stdout


@pytest.mark.soak
def test_a_profile_shows_where_the_time_of_each_worker_went(tmp_path: Path) -> None:
    models = {
        "policy": {"type": "simulated"},
        "editor": {"type": "simulated", "service": {"seconds": 0.1}, "max_batch": 2},
    }
    manifest = make_catalogue(tmp_path / "catalogue", 40)
    pool = {"min": 2, "records_in_flight": 4, "shard_size": 4}
    config = write_config(tmp_path, manifest, **models, backend="ray", workers=pool)
    ran = start_anew("run", "--config", config, "--profile", "--set", "prices.gpu_hour=2")
    assert ran.returncode == 0, ran.stderr
    assert "this call" in ran.stdout and "1,000 records" in ran.stdout and "profile.json" in ran.stdout
    summary = json.loads(cli("status", "--config", config, "--json").stdout)
    spans = [
        e
        for e in json.loads(Path(summary["run"], "profile.json").read_text())["traceEvents"]
        if e["ph"] == "X"
    ]
    edits = [span for span in spans if span["cat"] == "model" and span["name"] == "editor"]
    assert sum(span["args"]["batch"] for span in edits) == summary["steps"]
    assert len({span["pid"] for span in edits}) == 2, "both workers sent theirs"
    spent = summary["spent"]
    assert spent["editor"] == pytest.approx(sum(span["dur"] for span in edits) / 1e6, rel=0.01)
    assert spent["gpu"] == 0 and summary["gpu_cost"] == 0, "these workers hold no GPU"


def test_set_overrides_the_file(tmp_path: Path) -> None:
    config = write_config(tmp_path, make_catalogue(tmp_path / "catalogue", 4))
    done = cli("run", "-c", config, "--set", "run_id=mine", "--set", "output.format=webp", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(tmp_path / "out" / "mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("workers.max=none_of_this", "workers.max"),
        ("wrokers.max=2", "did you mean 'workers'"),
        ("input.manifest=/nowhere/m.jsonl", "/nowhere/m.jsonl: no such manifest"),
        ("input.columns.image=picture", "lacks the column 'picture' (set input.columns.image"),
        ("output.uri=/proc/nothing", "can't make this directory"),
        ("policy={type: custom, factory: 'no.such.module:policy'}", "no.such.module"),
    ],
)
def test_mistakes_are_one_clear_message_and_exit_code_2(tmp_path: Path, change: str, message: str) -> None:
    config = write_config(tmp_path, make_catalogue(tmp_path / "catalogue", 4))
    done = cli("run", "--config", config, "--set", change)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_empty_and_hopeless_manifests_exit_with_2(tmp_path: Path) -> None:
    for text, message in (
        ("", "empty"),
        ('{"record_id": "a", "image": "x", "instruction": 3}\n', "none of its"),
    ):
        (tmp_path / "m.jsonl").write_text(text)
        done = cli("run", "--config", write_config(tmp_path, tmp_path / "m.jsonl"))
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_the_same_run_id_with_other_settings_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path, make_catalogue(tmp_path / "catalogue", 4), run_id="mine")
    assert cli("run", "--config", config).returncode == 0
    done = cli("run", "--config", config, "--set", "limits.max_steps=3")
    assert done.returncode == 2 and "pixels.limits.max_steps: was 8, now 3" in done.stderr
    more_workers = cli("run", "--config", config, "--set", "workers.max=3")
    assert more_workers.returncode == 0, "what doesn't change pixels may change"


def test_a_cluster_that_is_not_there_is_one_clear_message(tmp_path: Path) -> None:
    config = write_config(tmp_path, make_catalogue(tmp_path / "catalogue", 4), backend="ray")
    address = f"127.0.0.1:{free_port()}"
    done = start_anew("run", "--config", config, RAY_ADDRESS=address)
    assert done.returncode == 2 and f"RAY_ADDRESS={address}: nothing answers there" in done.stderr, (
        done.stderr
    )


@pytest.mark.s3
def test_wrong_credentials_are_one_clear_message(tmp_path: Path, s3: S3Server) -> None:
    place = f"s3://{s3.bucket}/credentials"
    s3.upload(make_catalogue(tmp_path / "catalogue", 4).parent, "credentials")
    config = write_config(
        tmp_path, f"{place}/manifest.jsonl", storage={"endpoint_url": s3.endpoint, "retry_seconds": 2}
    )
    to_s3 = ("--set", f"output.uri={place}/out")
    good = start_anew("run", "--config", config, *to_s3, **s3.environment)
    assert good.returncode == 0, good.stderr
    wrong = s3.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    bad = start_anew("run", "--config", config, *to_s3, **wrong)
    assert (
        bad.returncode == 2 and "the store refused the credentials; check AWS_ACCESS_KEY_ID" in bad.stderr
    ), bad.stderr
    local_manifest = ("--set", f"input.manifest={tmp_path / 'catalogue' / 'manifest.jsonl'}")
    bad_output = start_anew("run", "--config", config, *to_s3, *local_manifest, **wrong)
    assert bad_output.returncode == 2 and "check AWS_ACCESS_KEY_ID" in bad_output.stderr, bad_output.stderr
    nobody = f"storage.endpoint_url=http://127.0.0.1:{free_port()}"
    gone = start_anew("run", "--config", config, *to_s3, "--set", nobody, *local_manifest, **s3.environment)
    assert gone.returncode == 2 and "check storage.endpoint_url" in gone.stderr, gone.stderr
    for done in (bad, bad_output, gone):
        assert "Traceback" not in done.stderr


@pytest.mark.ray
@pytest.mark.parametrize(
    ("backend", "stop"),
    [
        pytest.param("ray", signal.SIGTERM, marks=pytest.mark.soak),
        pytest.param("inline", signal.SIGINT, marks=pytest.mark.soak),  # as in `test_stop`
        pytest.param("inline", signal.SIGTERM, marks=pytest.mark.soak),
    ],
)
def test_interrupted_and_run_again_it_completes(tmp_path: Path, backend: str, stop: signal.Signals) -> None:
    slow = {
        "policy": {"type": "simulated"},
        "editor": {"type": "simulated", "service": {"seconds": 0.15}, "max_batch": 2},
    }
    config = write_config(tmp_path, make_catalogue(tmp_path / "catalogue", 40), backend=backend, **slow)
    process = subprocess.Popen(
        [*CLI, "run", "--config", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + 90
        while len(list(tmp_path.glob("out/*/results/*.parquet"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(stop)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "nothing is lost" in output, output
    before = json.loads(cli("status", "--config", config, "--json").stdout)
    assert 0 < before["committed"] < 40
    done = {path.stem.removeprefix("part-") for path in tmp_path.glob("out/*/results/*.parquet")}
    logged = sum(path.parts[-3] not in done for path in tmp_path.glob("out/*/state/*/*/*.step"))
    after = json.loads(start_anew("run", "--config", config, "--json").stdout)
    assert after["complete"] and after["already"] == before["committed"]
    assert after["resumed_steps"] == logged > 0, "each logged step is used, none is made again"
    assert not list(tmp_path.glob("out/*/state/*/*/*.step")), "the state of committed shards is deleted"
    verified = cli("verify", "--config", config)
    assert verified.returncode == 0, verified.stdout
    assert read_outputs(after["run"], columns=["record_id"]).num_rows == 40
