from __future__ import annotations

import json
from typing import Any

import pytest

from mira_batch.config.shared import Columns
from mira_batch.core.identity import content_hash
from mira_batch.storage.manifest.rows import Embedded, Place, Record, Reject, resolve_image, validate_row
from mira_batch.storage.manifest.values import Unkept

PLACE = Place("/data/m.parquet", 3, 14)


def check(row: dict[str, Any], place: Place | None = None, **columns: Any) -> Record | Reject:
    return validate_row("here", row, Columns(**columns), "/data", place)


def test_a_valid_row_is_a_record() -> None:
    row = {"record_id": "r", "image": "a.png", "instruction": "x", "sku": 5}
    assert check(row) == Record("here", "r", "x", "/data/a.png", '{"sku": 5}')


def test_bytes_are_an_image_only_where_they_can_be_read_again() -> None:
    row = {"record_id": "r", "image": b"data", "instruction": "x"}
    found = check(row, PLACE)
    assert isinstance(found, Record) and found.image == Embedded(PLACE, content_hash(b"data"))
    assert found.metadata == "{}"
    assert check(row) == Reject("here", "r", "image", "embedded bytes need a Parquet manifest")


@pytest.mark.parametrize("uri", ["data:image/png;base64,iVBO=", "DATA:image/png;base64," + "A" * 5_000])
def test_a_data_uri_is_no_name_of_a_file(uri: str) -> None:
    found = check({"record_id": "r", "image": uri, "instruction": "x"})
    assert isinstance(found, Reject) and found.reason.startswith("is a data URI; name a file or a URL")


def test_a_reject_speaks_of_the_users_own_columns() -> None:
    found = check({"id": "r", "pic": None, "instruction": "x"}, record_id="id", image="pic")
    assert found == Reject("here", "r", "pic", "is missing or null")


def test_several_faults_are_told_one_by_one() -> None:
    found = check({"record_id": 1.5, "image": 1.5, "instruction": 1.5})
    assert isinstance(found, Reject) and found.field == "record_id"


def test_a_place_reads_as_an_address() -> None:
    assert str(PLACE) == "/data/m.parquet#row_group=3&row=14"


def test_metadata_has_a_form_for_what_json_has_none() -> None:
    deep: dict[str, Any] = {"a": [{"b": (1, 2.5, float("nan")), 3: b"xy"}], "c": float("-inf")}
    found = check({"record_id": "r", "image": "a", "instruction": "x", **deep})
    assert isinstance(found, Record)
    assert json.loads(found.metadata) == {"a": [{"b": [1, 2.5, "NaN"], "3": "eHk="}], "c": "-Infinity"}


def test_a_value_that_cannot_be_kept_rejects_its_row() -> None:
    row = {"record_id": "r", "image": "a.png", "instruction": "x"}
    for field in row:
        ident = None if field == "record_id" else "r"
        assert check(row | {field: Unkept("is odd")}) == Reject("here", ident, field, "is odd")
    assert check(row | {"n": [{"k": Unkept("is odd")}]}) == Reject("here", "r", "n", "is odd")
    assert check(row | {"image": {"bytes": None, "path": Unkept("is odd")}}) == Reject(
        "here", "r", "image", "is odd"
    )


def test_nesting_beyond_any_reader_rejects_the_row() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    found = check({"record_id": "r", "image": "a", "instruction": "x", "deep": deep})
    assert found == Reject("here", "r", "row", "is nested too deeply")


@pytest.mark.parametrize(
    ("uri", "base", "expected"),
    [
        ("a.png", "/data", "/data/a.png"),
        ("./a/b.png", "/data", "/data/a/b.png"),
        ("/abs/a.png", "/data", "/abs/a.png"),
        ("../a.png", "/data", "/data/../a.png"),
        ("././../a.png", "/data", "/data/./../a.png"),
        ("file:///abs/a.png", "/data", "/abs/a.png"),
        ("FILE:///abs/a.png", "/data", "/abs/a.png"),
        ("s3://b/a.png", "/data", "s3://b/a.png"),
        ("S3://b/a.png", "/data", "S3://b/a.png"),
        ("zip://x::/etc/passwd", "/data", "zip://x::/etc/passwd"),
        ("x::/etc/passwd", "/data", "x::/etc/passwd"),
        ("a.png", "s3://b/in", "s3://b/in/a.png"),
        ("/abs/a.png", "s3://b/in", "/abs/a.png"),
        ("file:///abs/../a.png", "s3://b/in", "/abs/../a.png"),
        ("~/a.png", "/data", "/data/~/a.png"),
        ("C:\\a.png", "/data", "/data/C:\\a.png"),
    ],
)
def test_images_are_made_absolute(uri: str, base: str, expected: str) -> None:
    assert resolve_image(uri, base) == expected
