"""Evaluations on real S3, on Ray, and killed in the middle: each judging once, whatever happened."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_outputs, run
from mira_batch.config.load import load_job_config
from mira_batch.config.shared import StorageConfig
from mira_batch.launch import run as run_any
from mira_batch.storage.stores import open_store
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import until
from tests.support.runs.drivers import Begin
from tests.support.servers.s3 import S3Server

RECORDS = 150


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run over many small images, some of them bad."""
    folder = tmp_path_factory.mktemp("edited")
    manifest = make_catalogue(folder / "catalogue", RECORDS, size=24)
    workers = {"records_in_flight": 16, "shard_size": 16}
    return run(load_config(settings(manifest, folder / "out", workers=workers))).run


def evaluation(source: str, output: str, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"job": "evaluate", "input": {"manifest": source}, "output": {"uri": output}}
    base |= {"judge": {"type": "rules"}, "backend": "inline", "workers": {"shard_size": 4}}
    return base | {"controls": {"repeats": 8, "canaries": 4}} | more


def scores_of(where: str, storage: StorageConfig | None = None) -> dict[str, Any]:
    columns = ["record_id", "status", "error_kind", "judged", "score"]
    rows = read_outputs(where, columns, storage).to_pylist()
    assert len({row["record_id"] for row in rows}) == len(rows), "each judging once"
    return {row["record_id"]: row for row in rows}


@pytest.mark.ray
def test_ray_gives_the_scores_of_one_process(edited: str, tmp_path: Path) -> None:
    found = []
    for backend in ("inline", "ray"):
        config = evaluation(edited, str(tmp_path / backend), backend=backend)
        found.append(scores_of(run_any(load_job_config(config)).run))
    assert found[0] == found[1] and len(found[0]) == RECORDS + 8 + 4 * 4


@pytest.mark.s3
@pytest.mark.faults
def test_a_killed_evaluation_on_s3_goes_on(
    edited: str, tmp_path: Path, s3: S3Server, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    output = f"s3://{s3.bucket}/scores"
    config = evaluation(edited, output, run_id="night", storage={"endpoint_url": s3.endpoint})
    (tmp_path / "judge.json").write_text(json.dumps(config))
    words = [
        sys.executable,
        "-m",
        "mira_batch.cli",
        "evaluate",
        "--config",
        tmp_path / "judge.json",
        "--json",
    ]
    store = open_store(f"{output}/night", storage, make=False)

    def count() -> int:
        return sum(entry.key.endswith(".parquet") for entry in store.list("results"))

    driver = begin(*words)
    until(lambda: count() > 2, 90)
    os.kill(driver.process.pid, signal.SIGKILL)
    assert driver.process.wait(30) == -signal.SIGKILL, "it was too fast to be killed"
    before = count()
    again = begin(*words)
    answer = again.end()
    assert again.process.returncode == 0, answer
    said = json.loads(answer[answer.index("{") :])
    assert said["complete"] and 0 < said["already"] < said["committed"] and before < count()
    here = scores_of(run_any(load_job_config(evaluation(edited, str(tmp_path / "here")))).run)
    assert scores_of(said["run"], storage) == here
    assert said["evaluation"]["judged"] == sum(
        row["judged"] == "result" and row["score"] is not None for row in here.values()
    )
