"""An export that is killed goes on with the next call, and nothing is there twice: on a disk, on S3, and
on Ray."""

from __future__ import annotations

import json
import os
import signal
import sys
import tarfile
from pathlib import Path
from typing import Any

import deltalake
import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mira_batch import load_config, run
from mira_batch.config.load import load_export
from mira_batch.config.shared import StorageConfig
from mira_batch.export.run import export
from mira_batch.storage.stores import open_store
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import until
from tests.support.runs.drivers import Begin
from tests.support.runs.exports import add_up, files_of, good_rows, same_pixels
from tests.support.runs.nights import Nights
from tests.support.servers.s3 import S3Server

RECORDS = 600


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of many small results, some of them bad."""
    folder = tmp_path_factory.mktemp("exports")
    manifest = make_catalogue(folder / "catalogue", RECORDS, size=24)
    workers = {"min": 1, "records_in_flight": 16, "shard_size": 64}
    assert run(load_config(settings(manifest, folder / "out", workers=workers))).complete
    return folder / "out"


def command(output: Path | str, to: Path | str, form: str, *more: str) -> list[str]:
    words = ["export", str(to), "--as", form, "--catalogue", str(output), "--json"]
    return [sys.executable, "-m", "mira_batch.cli", *words, *more]


def kill_in_the_middle(begin: Begin, words: list[str], is_begun: Any, **environment: str) -> None:
    """SIGKILL to the command as soon as something is written."""
    driver = begin(*words, **environment)
    until(is_begun, 90)
    os.kill(driver.process.pid, signal.SIGKILL)
    assert driver.process.wait(30) == -signal.SIGKILL, "it was too fast to be killed"


def go_on(begin: Begin, words: list[str], **environment: str) -> dict[str, Any]:
    driver = begin(*words, **environment)
    answer = driver.end()
    assert driver.process.returncode == 0, answer
    return json.loads(answer[answer.index("{") :])


@pytest.mark.faults
def test_a_folder_goes_on(output: Path, tmp_path: Path, begin: Begin) -> None:
    to = tmp_path / "to"
    words = command(output, to, "folder", "--names", "record", "--set", "backend=inline")
    kill_in_the_middle(begin, words, lambda: len(list(to.glob("*.png"))) > 40)
    there = files_of(to)
    assert 40 < len(there) < RECORDS and f"{1:05d}/done.json" not in str(sorted(there))
    found = go_on(begin, words)
    good = good_rows(output)
    assert found["exported"] + found["already"] == len(good) and found["exported"] > 0 and add_up(found)
    images = {name.removesuffix(".png"): to / name for name in files_of(to) if name.endswith(".png")}
    assert images.keys() == good.keys()
    assert all(same_pixels(path.read_bytes(), good[name]) for name, path in images.items())
    again = files_of(to)
    assert not [name for name in again if name.endswith(".tmp")], "nor is half a file left"
    assert all(again[name] == was for name, was in there.items() if name.endswith(".png")), "nothing anew"
    last = go_on(begin, words)
    assert last["exported"] == 0 and last["already"] == len(good) and files_of(to) == again


@pytest.mark.faults
def test_tars_go_on(output: Path, tmp_path: Path, begin: Begin) -> None:
    to = tmp_path / "to"
    words = command(output, to, "webdataset", "--shard-records", "20", "--set", "backend=inline")
    kill_in_the_middle(begin, words, lambda: len(list(to.glob("*.tar"))) > 3)
    there = files_of(to)
    found = go_on(begin, words)
    assert found["already"] >= 60 and found["exported"] > 0 and add_up(found)
    names: list[str] = []
    for path in to.glob("*.tar"):
        with tarfile.open(path) as tar:
            names += [name for name in tar.getnames() if name.endswith(".json")]
    assert len(names) == len(set(names)) == len(good_rows(output))
    after = files_of(to)
    assert all(after[name] == was for name, was in there.items() if name.endswith(".tar"))


@pytest.mark.s3
@pytest.mark.faults
def test_a_folder_on_s3_goes_on(
    output: Path, s3: S3Server, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    to = f"s3://{s3.bucket}/exports/folder"
    storage = StorageConfig(endpoint_url=s3.endpoint)
    store = open_store(to, storage)
    more = ("--names", "record", "--set", "backend=inline", "--set", f"storage.endpoint_url={s3.endpoint}")
    words = command(output, to, "folder", *more)

    def count() -> int:
        return sum(entry.key.endswith(".png") for entry in store.list(""))

    kill_in_the_middle(begin, words, lambda: count() > 20)
    before = count()
    assert before < len(good_rows(output))
    found = go_on(begin, words)
    assert add_up(found) and found["exported"] > 0
    good = good_rows(output)
    keys = {entry.key for entry in store.list("") if entry.key.endswith(".png")}
    assert keys == {f"{name}.png" for name in good}
    some = sorted(good)[::50]
    assert all(same_pixels(store.get(f"{name}.png") or b"", good[name]) for name in some)


@pytest.mark.s3
@pytest.mark.parametrize("form", ["hf", "delta", "lance", "csv"])
def test_other_forms_on_s3(form: str, output: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    to = f"s3://{s3.bucket}/exports/{form}"
    options = {"source": str(output), "destination": to, "form": form}
    config = load_export(options, ["backend=inline", f"storage.endpoint_url={s3.endpoint}"])
    found = export(config)
    good = good_rows(output)
    assert found.exported == len(good)
    assert export(config).already == len(good)
    store = open_store(to, config.storage)
    records: list[str] = []
    if form == "hf":
        for entry in store.list("data"):
            records += pq.read_table(pa.BufferReader(store.get(entry.key)))["record_id"].to_pylist()
    elif form == "delta":
        options = {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        table = deltalake.DeltaTable(to, storage_options=options).to_pyarrow_table()
        records = table["record_id"].to_pylist()
    elif form == "lance":
        options = {"AWS_ENDPOINT_URL": s3.endpoint, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        records = lance.dataset(to, storage_options=options).to_table()["record_id"].to_pylist()
    else:
        (key,) = (entry.key for entry in store.list("") if entry.key.endswith(".csv"))
        records = [line.split(",")[0] for line in (store.get(key) or b"").decode().splitlines()[1:]]
    assert sorted(records) == sorted(good)


@pytest.mark.s3
def test_a_catalogue_on_s3_keeps_its_names(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    nights = Nights(tmp_path, place=f"s3://{s3.bucket}/exports/nights", storage=storage)
    nights.add(3)
    nights.rows["odd"] = {"record_id": "odd", "image": "a b/50%#1?.png", "instruction": "make it sepia"}
    nights.paint("a b/50%#1?", 7)
    done = nights.run()
    to = f"s3://{s3.bucket}/exports/named"
    config = load_export(
        {"source": nights.output, "destination": to, "form": "folder", "storage": storage.model_dump()}, []
    )
    assert export(config).exported == 4
    keys = {entry.key for entry in open_store(to, storage).list("") if not entry.key.startswith(".")}
    assert keys == {"rec-0000.png", "rec-0001.png", "rec-0002.png", "a b/50%#1?.png"}
    of_run = config.model_copy(update={"source": done.run, "one_run": True})
    assert export(of_run).already == 4


@pytest.mark.ray
@pytest.mark.faults
@pytest.mark.soak
def test_on_ray_it_goes_on(output: Path, tmp_path: Path, begin: Begin) -> None:
    to = tmp_path / "to"
    words = command(output, to, "webdataset", "--shard-records", "8", "--set", "ray_from=1")
    kill_in_the_middle(begin, words, lambda: len(list(to.glob("*.tar"))) > 4)
    found = go_on(begin, words)
    assert add_up(found) and found["exported"] > 0
    assert len(list(to.glob("*.tar"))) == -(-len(good_rows(output)) // 8)
