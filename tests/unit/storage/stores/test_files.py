from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.storage.stores.faults import describe_read_error, read_errors, shorten_error
from mira_batch.storage.stores.files import (
    file_exists,
    open_unpacked,
    read_bytes,
    read_range,
    read_version,
)
from mira_batch.storage.stores.filesystems import find_endpoint, open_filesystem
from mira_batch.storage.stores.listings import FileInfo, derive_version, find_files, list_files_below
from tests.support.servers.fault_proxy import FaultProxy, fault_proxy
from tests.support.servers.odd_s3 import OddS3, odd_s3
from tests.support.servers.s3 import S3Server, free_port

LOCAL = StorageConfig()


def test_a_plain_path_is_a_local_file(tmp_path: Path) -> None:
    fs, path = open_filesystem(str(tmp_path / "a b%20c"), LOCAL)
    assert isinstance(fs, LocalFileSystem)
    assert path == str(tmp_path / "a b%20c")


def test_an_unknown_scheme_is_named() -> None:
    for ask in (open_filesystem, find_files, list_files_below, file_exists, open_unpacked, read_version):
        with pytest.raises(StoreError, match="^nonsense://bucket/a: can't use this scheme: "):
            ask("nonsense://bucket/a", LOCAL)


def test_one_byte_more_than_asked_tells_that_a_file_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    location = str(tmp_path / "file")
    assert read_bytes(location, LOCAL, 10) == b"0123456789"
    assert read_bytes(location, LOCAL, 5) == b"012345"


def test_a_file_is_read_whole_whatever_size_it_says(tmp_path: Path) -> None:
    """Those of /proc say none."""
    (tmp_path / "empty").touch()
    assert read_bytes(str(tmp_path / "empty"), LOCAL, 10) == b""
    large = os.urandom(3_000_000)
    (tmp_path / "large").write_bytes(large)
    assert read_bytes(str(tmp_path / "large"), LOCAL, len(large)) == large
    mounts = Path("/proc/self/mountinfo")
    if mounts.exists():
        assert mounts.stat().st_size == 0
        assert read_bytes(str(mounts), LOCAL, 1_000_000) == mounts.read_bytes()


def test_a_location_stands_for_a_file_a_directory_or_a_glob(tmp_path: Path) -> None:
    for name in ("b", "a", "sub/c", "_b", ".b", "_sub/d", "sub/.e"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def found(location: str) -> list[str]:
        return [file.location.removeprefix(f"{tmp_path}/") for file in find_files(location, LOCAL)]

    assert found(f"{tmp_path}/a") == ["a"]
    assert found(str(tmp_path)) == ["a", "b", "sub/c"]
    assert found(f"{tmp_path}/*") == [".b", "_b", "a", "b"], "a glob's matches are taken as they are"
    assert found(f"{tmp_path}/none") == found(f"{tmp_path}/n*") == []
    below = list_files_below(str(tmp_path), LOCAL)
    assert set(below) == {"b", "a", "sub/c", "_b", ".b", "_sub/d", "sub/.e"}
    assert isinstance(below["sub/c"], FileInfo)
    assert (below["sub/c"].location, below["sub/c"].size) == (f"{tmp_path}/sub/c", 5)
    assert list_files_below(f"{tmp_path}/none", LOCAL) == {}
    assert file_exists(f"{tmp_path}/a", LOCAL) and not file_exists(f"{tmp_path}/none", LOCAL)


def test_parts_of_a_file_and_what_is_packed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_range(str(tmp_path / "file"), LOCAL, 2, 5) == b"234"
    assert read_range(str(tmp_path / "file"), LOCAL, 8, 20) == b"89", "it ends there"
    (tmp_path / "file.gz").write_bytes(gzip.compress(b"0123456789"))
    for name in ("file", "file.gz"):
        with open_unpacked(str(tmp_path / name), LOCAL) as file:
            assert file.read() == b"0123456789"
    for read in (lambda path: read_range(path, LOCAL, 0, 1), lambda path: open_unpacked(path, LOCAL)):
        with pytest.raises(FileNotFoundError):
            read(str(tmp_path / "none"))


def test_a_local_version_changes_with_size_or_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1_000_000_001))
    first = read_version(str(path), LOCAL)
    assert read_version(str(path), LOCAL) == first
    os.utime(path, ns=(1, 1_000_000_002))
    second = read_version(str(path), LOCAL)
    path.write_bytes(b"three")
    os.utime(path, ns=(1, 1_000_000_001))
    assert len({first, second, read_version(str(path), LOCAL)}) == 3
    with pytest.raises(FileNotFoundError):
        read_version(str(tmp_path / "missing"), LOCAL)


def test_the_version_is_the_etag_where_there_is_one() -> None:
    assert derive_version({"ETag": '"abc"', "size": 5}) == "abc"
    assert derive_version({"etag": "abc"}) == "abc"
    assert derive_version({"size": 5, "mtime": 1.5}) == "5-1.5"
    assert derive_version({"size": 5, "LastModified": "then"}) == "5-then"
    assert derive_version({"size": 5}) == "5-"


def test_the_endpoint_is_from_the_config_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    assert find_endpoint(LOCAL) is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all")
    assert find_endpoint(LOCAL) == "http://all"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3")
    assert find_endpoint(LOCAL) == "http://s3"
    assert find_endpoint(StorageConfig(endpoint_url="http://config")) == "http://config"


def test_errors_are_told_in_one_line() -> None:
    assert describe_read_error("a", FileNotFoundError()) == "a: no such file"
    denied = describe_read_error("a", PermissionError("Forbidden\nfor you"))
    assert denied == (
        "a: access denied; check the credentials and their rights (PermissionError: Forbidden for you)"
    )
    assert len(shorten_error(ValueError("x\n" * 1_000))) == 300


@pytest.mark.s3
def test_s3_files(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    client = s3.client()
    client.put_object(Bucket=s3.bucket, Key="files/a", Body=b"0123456789")
    for scheme in ("s3", "s3a"):
        location = f"{scheme}://{s3.bucket}/files/a"
        assert read_bytes(location, storage, 10) == b"0123456789"
        assert read_bytes(location, storage, 3) == b"0123"
    location = f"s3://{s3.bucket}/files/a"
    first = read_version(location, storage)
    assert first == client.head_object(Bucket=s3.bucket, Key="files/a")["ETag"].strip('"')
    client.put_object(Bucket=s3.bucket, Key="files/a", Body=b"9876543210")
    assert read_version(location, storage) != first, "an answer of yesterday must not be remembered"
    assert read_bytes(location, storage, 10) == b"9876543210"
    assert read_range(location, storage, 2, 4) == b"76"
    listed = FileInfo(location, 10, read_version(location, storage))
    assert find_files(location, storage) == find_files(f"{location[:-1]}*", storage) == [listed]
    assert list_files_below(location[:-2], storage) == {"a": listed}
    assert file_exists(location, storage) and not file_exists(f"{location}b", storage)
    for missing in (f"s3://{s3.bucket}/files/none", "s3://no-such-bucket/a"):
        with pytest.raises(FileNotFoundError):
            read_bytes(missing, storage, 10)
        with pytest.raises(FileNotFoundError):
            read_version(missing, storage)


@pytest.mark.s3
def test_s3_with_a_wrong_secret(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (s3.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}).items():
        monkeypatch.setenv(name, value)
    # fsspec keeps one client per setting, credentials of the environment not being one of them
    storage = StorageConfig(endpoint_url=s3.endpoint.replace("127.0.0.1", "localhost"))
    with pytest.raises(StoreError, match=r"files/a: the store refused the credentials; check AWS_ACCESS_KEY"):
        read_bytes(f"s3://{s3.bucket}/files/a", storage, 10)


@pytest.fixture
def proxied(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy before a real store that holds s3://catalogue/faulty/a."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    s3.client().put_object(Bucket=s3.bucket, Key="faulty/a", Body=b"0123456789")
    with fault_proxy(s3.endpoint) as proxy:
        yield proxy


A = "s3://catalogue/faulty/a"


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["reset", "reset_body", "cut_body", "unavailable", "slow_down"])
def test_passing_faults_are_waited_out_also_when_a_version_is_asked(proxied: FaultProxy, fault: Any) -> None:
    storage = StorageConfig(endpoint_url=proxied.endpoint, retry_seconds=20)
    rule = proxied.add(fault, times=4)
    assert read_bytes(A, storage, 100) == b"0123456789"
    assert rule.count == 4
    asked = proxied.add(fault if fault != "cut_body" else "reset", "HEAD", times=4)
    assert read_version(A, storage) == "781e5e245d69b566979b86e28d23f2c7"
    assert asked.count == (1 if fault == "reset_body" else 4), "an answer to HEAD has no body to reset"


@pytest.mark.s3
@pytest.mark.parametrize("fault", ["reset", "unavailable", "hang"])
def test_a_store_that_stays_away_is_given_up_in_time(proxied: FaultProxy, fault: Any) -> None:
    storage = StorageConfig(endpoint_url=proxied.endpoint, timeout_seconds=0.5, retry_seconds=0.5)
    proxied.add(fault)
    for ask in (lambda: read_bytes(A, storage, 100), lambda: read_version(A, storage)):
        started = time.monotonic()
        with pytest.raises(StoreError, match=f"^{A}: the store has failed for 0.5 s; run the same command"):
            ask()
        assert time.monotonic() - started < 5, "s3fs and botocore have retries of their own, which multiply"


@pytest.mark.s3
def test_a_store_that_is_down_for_a_moment_is_waited_for(proxied: FaultProxy) -> None:
    storage = StorageConfig(endpoint_url=proxied.endpoint, retry_seconds=20)
    proxied.down()
    timer = threading.Timer(1, proxied.up)
    timer.start()
    try:
        assert read_bytes(A, storage, 100) == b"0123456789"
    finally:
        timer.join()


@pytest.mark.s3
def test_credentials_that_are_good_for_nothing_are_no_fault_of_the_file(proxied: FaultProxy) -> None:
    storage = StorageConfig(endpoint_url=proxied.endpoint)
    for fault in ("expired", "invalid_key"):
        proxied.clear()
        proxied.add(fault)
        with pytest.raises(StoreError, match=f"^{A}: the store refused the credentials; check AWS"):
            read_bytes(A, storage, 100)
    proxied.clear()
    proxied.add("denied")
    with pytest.raises(PermissionError):
        read_bytes(A, storage, 100)


@pytest.mark.parametrize(
    "location", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://BAD bucket/k"]
)
def test_whatever_a_location_says_the_error_is_one_of_the_known(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    nobody = f"http://127.0.0.1:{free_port()}"
    storage = StorageConfig(endpoint_url=nobody, timeout_seconds=1, retry_seconds=0.1)
    for ask in (lambda: read_bytes(location, storage, 10), lambda: read_version(location, storage)):
        with suppress(StoreError, *read_errors()):
            ask()


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    """It could lead past `input.allow`, to the cloud's metadata service for one."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if self.path == "/a.png" else 200)
            self.send_header("Location", "/secret")
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"secret" if self.path == "/secret" else b"moved!")

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            place = f"http://127.0.0.1:{server.server_port}"
            assert read_bytes(f"{place}/b.png", StorageConfig(), 100) == b"moved!"
            with pytest.raises(
                OSError, match=f"the server redirects to {place}/secret, which is not followed"
            ):
                read_bytes(f"{place}/a.png", StorageConfig(), 100)
        finally:
            server.shutdown()
            thread.join()
    assert asked == ["/b.png", "/a.png"]


@pytest.mark.parametrize("faults", [["busy"] * 4, ["cut"] * 4, ["busy", "cut", "busy"]])
def test_passing_faults_of_a_store_are_waited_out(faults: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    with odd_s3(OddS3(objects={"b/a.png": b"x" * 1000}, get_faults=list(faults))) as server:
        config = StorageConfig(endpoint_url=server.endpoint, retry_seconds=30)
        assert read_bytes("s3://b/a.png", config, 5000) == b"x" * 1000
        assert server.gets > len(faults) and not server.get_faults


def test_a_store_that_stays_down_is_no_fault_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    with odd_s3(OddS3(objects={"b/a.png": b"x"}, get_faults=["busy"] * 1000)) as server:
        config = StorageConfig(endpoint_url=server.endpoint, retry_seconds=0.5)
        with pytest.raises(StoreError, match=r"s3://b/a.png: the store has failed for 0.5 s; run the same"):
            read_bytes("s3://b/a.png", config, 5000)
        with pytest.raises(FileNotFoundError):
            read_bytes("s3://b/missing.png", config, 5000)
