"""Where images may be fetched from, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.types import ErrorKind
from mira_batch.storage.images import check_allowed, fetch
from tests.support.servers.s3 import S3Server


def allowed(uri: str, *allow: str) -> bool:
    try:
        check_allowed(uri, allow)
    except RecordError as error:
        assert error.kind is ErrorKind.image_forbidden
        return False
    return True


def test_images_below_an_allowed_prefix() -> None:
    assert allowed("s3://bucket/images/a/b.png", "s3://bucket/images")
    assert allowed("s3://bucket/images/b.png", "s3://other", "s3://bucket/images/")
    assert allowed("s3://bucket/any.png", "s3://bucket")
    assert allowed("s3://bucket/images/50%25 off.png", "s3://bucket/images")
    assert allowed("s3://bucket/images/..png/a...b", "s3://bucket/images"), "dots in a name are no '..'"
    assert allowed("/data/images/a.png", "/data/images")
    assert allowed("/data/images/a.png", "/")


@pytest.mark.parametrize(
    "uri",
    [
        "/data/images-evil/a.png",
        "/data/imagesa.png",
        "/data",
        "/data/images/../secret.png",
        "/data/images/..",
        "/data/images/a/../../secret.png",
        "/data/images/a\\..\\..\\secret.png",
        "/data/images/a\0.png",
        "s3://data/images/a.png",
        "local:///data/images/a.png",
        "file:///data/images/a.png",  # `rows.resolve` makes such URIs plain paths
        "simplecache::/data/images/a.png",
        "filecache::s3://bucket/a.png",
        "",
    ],
)
def test_local_paths_outside_the_prefix(uri: str) -> None:
    assert not allowed(uri, "/data/images")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/images-evil/a.png",
        "s3://bucket-evil/images/a.png",
        "S3://bucket/images/a.png",
        "s3a://bucket/images/a.png",
        "gs://bucket/images/a.png",
        "https://bucket/images/a.png",
        "/bucket/images/a.png",
        "s3://bucket/images/../secret.png",
        "s3://bucket/images/%2e%2e/secret.png",
        "s3://bucket/images/%2E./secret.png",
        "s3://bucket/images/..%2fsecret.png",
        "s3://bucket/images/..%5csecret.png",
        "s3://bucket/images/a%00.png",
        "s3://bucket/images/zip://a.png::s3://bucket/images/b.zip",
    ],
)
def test_remote_uris_outside_the_prefix(uri: str) -> None:
    assert not allowed(uri, "s3://bucket/images")


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "images" / "inside.png").write_bytes(b"x")
    (tmp_path / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "images" / "dir").symlink_to(tmp_path)
    (tmp_path / "images" / "near.png").symlink_to("inside.png")
    (tmp_path / "alias").symlink_to(tmp_path / "images")
    prefix = str(tmp_path / "images")
    assert not allowed(f"{prefix}/link.png", prefix)
    assert not allowed(f"{prefix}/dir/secret.png", prefix)
    assert allowed(f"{prefix}/near.png", prefix)
    assert allowed(f"{prefix}/inside.png", str(tmp_path / "alias")), "the prefix itself may be a link"
    assert allowed(str(tmp_path / "alias" / "inside.png"), prefix)


def fetched(source: InputConfig, uri: str) -> bytes | tuple[ErrorKind, str]:
    try:
        return fetch(uri, source, StorageConfig())
    except RecordError as error:
        return error.kind, str(error)


def test_fetch_local_files(tmp_path: Path) -> None:
    source = InputConfig(manifest=str(tmp_path / "m.jsonl"), max_bytes=10)
    for size in (0, 10, 11):
        (tmp_path / str(size)).write_bytes(b"x" * size)
    assert fetched(source, str(tmp_path / "0")) == b""
    assert fetched(source, str(tmp_path / "10")) == b"x" * 10
    assert fetched(source, str(tmp_path / "11")) == (
        ErrorKind.image_too_large,
        f"{tmp_path}/11: more than 10 bytes; raise input.max_bytes to admit it",
    )
    missing = f"{tmp_path}/missing.png"
    assert fetched(source, missing) == (ErrorKind.image_unreadable, f"{missing}: no such file")
    for path in (str(tmp_path), f"{tmp_path}/{'long' * 100}"):
        found = fetched(source, path)
        assert found[0] is ErrorKind.image_unreadable
    for path in (f"{tmp_path}/a\0b", "/etc/hostname"):
        found = fetched(source, path)
        assert found[0] is ErrorKind.image_forbidden


@pytest.mark.s3
def test_fetch_from_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    client = s3.client()
    strange = "fetch/a b+c%20ü&=?#;.png"
    for key, body in {strange: b"strange", "fetch/large": b"x" * 1000, "fetch/empty": b""}.items():
        client.put_object(Bucket=s3.bucket, Key=key, Body=body)
    source = InputConfig(manifest=f"s3://{s3.bucket}/fetch/m.jsonl", max_bytes=999)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    assert fetch(f"s3://{s3.bucket}/{strange}", source, storage) == b"strange"
    assert fetch(f"s3://{s3.bucket}/fetch/empty", source, storage) == b"", "as of a local file"
    for name, kind, text in [
        ("large", ErrorKind.image_too_large, "more than 999 bytes"),
        ("missing", ErrorKind.image_unreadable, "no such file"),
        ("", ErrorKind.image_unreadable, "fetch/"),
    ]:
        with pytest.raises(RecordError, match=text) as error:
            fetch(f"s3://{s3.bucket}/fetch/{name}", source, storage)
        assert error.value.kind is kind
    with pytest.raises(RecordError, match="outside input.allow"):
        fetch("s3://elsewhere/fetch/a", source, storage)


def test_a_path_that_cant_be_followed_is_said_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "file").write_bytes(b"x")
    source = InputConfig(manifest=f"{tmp_path}/m.csv", allow=(str(tmp_path),))
    for name, said in [
        ("loop.png", "is a link that leads back to itself; correct the link, or name the file itself"),
        ("a", "is a link that leads back to itself; correct the link, or name the file itself"),
        ("x" * 300, "the path or a name in it is longer than this system admits; correct it"),
        ("file/a.png", "a part of the path is a file, not a directory; correct the path"),
    ]:
        with pytest.raises(RecordError) as error:
            fetch(f"{tmp_path}/{name}", source, StorageConfig())
        assert str(error.value) == f"{tmp_path}/{name}: {said}"
