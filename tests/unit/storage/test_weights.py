"""Where weights come from, how often they are fetched, and what is said when they can't be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fsspec import get_filesystem_class
from pydantic import TypeAdapter, ValidationError

from mira_batch.config.models.base import WeightsLocation, hub_name
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.storage.stores import files
from mira_batch.storage.stores.objects import open_store
from mira_batch.storage.weights import describe_weights, digest_weights, fetch_weights, name_weights
from tests.support.servers.fault_proxy import fault_proxy
from tests.support.servers.hub import COMMIT, hub
from tests.support.servers.s3 import S3Server

HERE = StorageConfig()
LARGE = bytes(i * 7 % 251 for i in range(3 << 20))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory that looks like a model's, with what doesn't belong to one."""
    directory = tmp_path / "model"
    (directory / "vae").mkdir(parents=True)
    (directory / "config.json").write_text('{"model_type": "tiny"}')
    (directory / "vae" / "model.safetensors").write_bytes(LARGE)
    (directory / "modeling_evil.py").write_text("raise SystemExit")
    (directory / "weights.bin").write_bytes(b"a pickle")
    return directory


def test_a_directory_is_used_where_it_is(model: Path) -> None:
    found = fetch_weights(str(model), HERE)
    assert (found.path, found.identity) == (str(model), digest_weights(model))


@pytest.mark.parametrize("at", [0, 700_000, len(LARGE) - 1])
def test_other_weights_have_another_digest(model: Path, at: int) -> None:
    before = digest_weights(model)
    file = model / "vae" / "model.safetensors"
    data = bytearray(LARGE)
    data[at : at + 60_000] = bytes(60_000)
    file.write_bytes(data)
    assert digest_weights(model) != before
    file.write_bytes(LARGE)
    assert digest_weights(model) == before
    file.rename(model / "model.safetensors")
    assert digest_weights(model) != before


def test_files_of_the_same_name_count_each(model: Path) -> None:
    for part in ("text_encoder", "text_encoder_2"):
        (model / part).mkdir()
        with (model / part / "model.safetensors").open("wb") as file:
            file.truncate(2_000_000_000)
    assert describe_weights(str(model), HERE).startswith(f"{model} (4.0 GB, ")


def test_one_place_has_one_name(model: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(model)
    assert name_weights(str(tmp_path / "link")) == name_weights(str(model)) == str(model.resolve())
    assert name_weights("s3://bucket/model") == "s3://bucket/model"


def test_what_is_no_model_directory_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, words in [
        ("nowhere", "no such directory"),
        ("model/config.json", "is a file, not the directory"),
        ("empty", "holds no model files"),
    ]:
        with pytest.raises(ConfigError, match=words) as caught:
            fetch_weights(str(tmp_path / place), HERE)
        assert str(tmp_path / place) in str(caught.value)


@pytest.mark.parametrize("weights", ["hf://model", "hf://a/b", "hf://a/b@", "hf://a/b/c@main"])
def test_a_hub_name_pins_its_revision(weights: str) -> None:
    with pytest.raises(ValidationError, match="pin the revision"):
        TypeAdapter(WeightsLocation).validate_python(weights)
    assert hub_name("hf://Qwen/Qwen2.5-VL-7B@v1/x") == ("Qwen/Qwen2.5-VL-7B", "v1/x")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIRA_BATCH_WEIGHTS", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stored(s3: S3Server, model: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same model below a prefix of a real S3 server."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    prefix = f"s3://{s3.bucket}/weights/{request.node.name}"
    store = open_store(prefix, StorageConfig(endpoint_url=s3.endpoint))
    for file in model.rglob("*"):
        if file.is_file():
            store.put(file.relative_to(model).as_posix(), file.read_bytes())
    return prefix


@pytest.mark.s3
def test_a_prefix_is_downloaded_once_and_is_the_same_model(stored: str, model: Path, cache: Path) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch_weights(stored, HERE).path)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    copy = Path(found[0])
    assert sorted(p.name for p in copy.rglob("*") if p.is_file()) == ["config.json", "model.safetensors"]
    kept = (copy / "config.json").stat().st_ino
    again = fetch_weights(stored, HERE)
    assert again.identity == digest_weights(model) == digest_weights(copy)
    assert (Path(again.path) / "config.json").stat().st_ino == kept


@pytest.mark.s3
def test_a_copy_that_is_not_whole_is_made_again_and_a_changed_model_is_another(
    stored: str, cache: Path, s3: S3Server
) -> None:
    first = Path(fetch_weights(stored, HERE).path)
    (first / "vae" / "model.safetensors").write_bytes(LARGE[:1000])
    assert (Path(fetch_weights(stored, HERE).path) / "vae" / "model.safetensors").read_bytes() == LARGE
    open_store(stored, StorageConfig(endpoint_url=s3.endpoint)).put("config.json", b'{"model_type": "new"}')
    second = fetch_weights(stored, HERE)
    assert second.path != str(first) and "new" in (Path(second.path) / "config.json").read_text()


@pytest.mark.s3
def test_a_download_that_broke_off_goes_on_where_it_was(
    stored: str, cache: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PART_BYTES", 1_000_000)
    with fault_proxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        storage = StorageConfig(endpoint_url=proxy.endpoint, retry_seconds=0.3)
        broken = proxy.add("reset", "GET", r"model\.safetensors", after=2)
        with pytest.raises(StoreError, match=r"model\.safetensors: the store has failed"):
            fetch_weights(stored, storage)
        proxy.clear()
        pieces = proxy.add("delay", "GET", r"model\.safetensors", seconds=0.0)
        found = fetch_weights(stored, storage)
    assert broken.count >= 1 and pieces.count == 2, "of four pieces two were there"
    assert (Path(found.path) / "vae" / "model.safetensors").read_bytes() == LARGE


@pytest.mark.s3
def test_a_pipelines_weights_are_not_taken_twice(stored: str, cache: Path, s3: S3Server) -> None:
    store = open_store(stored, StorageConfig(endpoint_url=s3.endpoint))
    store.put("model_index.json", b"{}")
    store.put("the-same-in-one-file.safetensors", LARGE)
    copy = Path(fetch_weights(stored, HERE).path)
    assert not list(copy.glob("*.safetensors")) and list(copy.glob("vae/*.safetensors"))
    assert not list(cache.glob("*.partial"))


@pytest.mark.s3
def test_a_prefix_without_a_model_and_a_refused_one_are_named(
    stored: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"weights: s3://.*/nothing: holds no model files"):
        fetch_weights(f"{stored}/nothing", HERE)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    # fsspec keeps file systems for later users. This test has none, and closes the one with the wrong key.
    s3fs = get_filesystem_class("s3")
    monkeypatch.setattr(s3fs, "_cache", {})
    with pytest.raises((ConfigError, StoreError), match=r"s3://.*(denied|Forbidden|signature)"):
        fetch_weights(stored, HERE)
    assert s3fs._cache
    for wrong in s3fs._cache.values():
        wrong.close_session(wrong.loop, wrong._s3)


def fetch_from_hub(location: str, endpoint: str, home: Path, *more: str) -> dict[str, str]:
    """In a process of its own: the hub's client reads its environment when it is imported."""
    code = (
        "import json, sys\n"
        "from mira_batch.config.shared import StorageConfig\n"
        "from mira_batch.core.errors import ConfigError\n"
        "from mira_batch.storage.weights import describe_weights, fetch_weights, name_weights\n"
        "try:\n"
        "    w = fetch_weights(sys.argv[1], StorageConfig())\n"
        "    about = '' if sys.argv[2:] else describe_weights(sys.argv[1], StorageConfig())\n"
        "    name = '' if sys.argv[2:] else name_weights(sys.argv[1])\n"
        "    print(json.dumps({'path': w.path, 'identity': w.identity, 'about': about, 'name': name}))\n"
        "except ConfigError as error:\n"
        "    print(json.dumps({'error': str(error)}))\n"
    )
    environment = os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, location, *more],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_hub_gives_a_commit_and_no_code(model: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with hub("tiny/model", model) as endpoint:
        found = fetch_from_hub("hf://tiny/model@main", endpoint, home)
        assert found["identity"] == f"tiny/model@{COMMIT}"
        names = sorted(p.name for p in Path(found["path"]).rglob("*") if p.is_file())
        assert names == ["config.json", "model.safetensors"]
        assert found["about"].endswith(f"main is commit {COMMIT} now: pin that)")
        assert found["name"] == f"hf://tiny/model@{COMMIT}"
        missing = fetch_from_hub("hf://tiny/model@v9", endpoint, home)["error"]
        assert missing == (
            "weights: hf://tiny/model@v9: has no such revision; its page lists the commits under 'Files'"
        )
    offline = fetch_from_hub(f"hf://tiny/model@{COMMIT}", endpoint, home, "without a look")
    assert offline["identity"] == f"tiny/model@{COMMIT}"  # from this node's cache
    for more in ((), ("without a look",)):
        gone = fetch_from_hub("hf://tiny/other@main", endpoint, home, *more)["error"]
        assert "weights: hf://tiny/other@main: the hub can't be reached" in gone
    looked = fetch_from_hub(f"hf://tiny/model@{COMMIT}", endpoint, home)["error"]
    assert "the hub can't be reached" in looked  # `validate` asks the hub itself


@pytest.mark.s3
def test_passing_faults_of_a_list_and_of_parts_are_waited_out(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MIRA_BATCH_WEIGHTS", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(os.urandom(3_000))
    s3.upload(tmp_path / "model", "faulty-weights")
    with fault_proxy(s3.endpoint) as proxy:
        storage = StorageConfig(endpoint_url=proxy.endpoint, retry_seconds=30, timeout_seconds=5)
        rules = [proxy.add(fault, "GET", "list-type=2", times=2) for fault in ("unavailable", "reset")]
        rules += [proxy.add(fault, "GET", "model.safetensors", times=1) for fault in ("short", "reset_body")]
        found = fetch_weights(f"s3://{s3.bucket}/faulty-weights", storage)
        assert [rule.count for rule in rules] == [2, 2, 1, 1]
    assert found.identity == fetch_weights(str(tmp_path / "model"), StorageConfig()).identity


@pytest.mark.s3
def test_a_full_disk_is_told_from_a_fault_of_the_store(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3.client().put_object(Bucket=s3.bucket, Key="full/model.safetensors", Body=bytes(5_000))
    storage = StorageConfig(endpoint_url=s3.endpoint)
    with pytest.raises(StoreError, match="^/dev/full: the disk is full; make room there, then run the same"):
        files.download(f"s3://{s3.bucket}/full/model.safetensors", storage, "/dev/full", 5_000)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MIRA_BATCH_WEIGHTS", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"/file: .*; MIRA_BATCH_WEIGHTS names another directory"):
        fetch_weights(f"s3://{s3.bucket}/full", storage)
