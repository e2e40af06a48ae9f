"""An image that is there, but is called otherwise: the record's message says how."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RecordError
from mira_batch.storage.images import fetch
from mira_batch.storage.spelling import list_spellings
from tests.support.servers.s3 import S3Server

NFC, NFD = (unicodedata.normalize(form, "Möbel/Stühle é.png") for form in ("NFC", "NFD"))
CASES = [
    (NFC, NFD, "in Unicode's normal form NFC (accented letters in one piece)"),
    (NFD, NFC, "in Unicode's normal form NFD (accented letters in two pieces)"),
    ("a/b/c.png", "a\\b\\c.png", "with / for each backslash"),
    (NFD, NFC.replace("/", "\\"), "with / for each backslash, in Unicode's normal form NFD (accented"),
    ("a.png", "a.png ", "without the space around it"),
]
"""What the file is called, what the manifest says, and what the record's message does."""


def message(base: str, name: str, storage: StorageConfig) -> str:
    source = InputConfig(manifest=f"{base}/m.csv")
    with pytest.raises(RecordError) as error:
        fetch(f"{base}/{name}", source, storage)
    return str(error.value)


@pytest.mark.parametrize(("there", "asked", "how"), CASES)
def test_a_name_that_only_looks_the_same_is_told(tmp_path: Path, there: str, asked: str, how: str) -> None:
    assert message(str(tmp_path), asked, StorageConfig()) == f"{tmp_path}/{asked}: no such file"
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_bytes(b"x")
    text = message(str(tmp_path), asked, StorageConfig())
    assert text.startswith(f"{tmp_path}/{asked}: no such file; it is there {how}")
    assert text.endswith(": correct the manifest, or rename the file")


@pytest.mark.s3
def test_so_on_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in s3.environment.items():
        monkeypatch.setenv(key, value)
    storage = StorageConfig(endpoint_url=s3.endpoint)
    for number, (there, asked, how) in enumerate(CASES):
        base = f"s3://{s3.bucket}/spelling/{number}"
        assert message(base, asked, storage).endswith("no such file")
        s3.client().put_object(Bucket=s3.bucket, Key=f"spelling/{number}/{there}", Body=b"x")
        assert f"no such file; it is there {how}" in message(base, asked, storage)


def test_what_may_not_be_read_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "in" / "é.png").symlink_to(tmp_path / "a.png")
    assert message(f"{tmp_path}/in", "e\u0301.png", StorageConfig()).endswith("no such file")


def test_a_plain_name_has_no_other_spelling() -> None:
    assert list_spellings("s3://bucket/images/mug (1).png") == {}
