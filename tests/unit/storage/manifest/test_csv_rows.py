"""Rows of a CSV manifest, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest.rows import Record, Reject
from tests.unit.storage.manifest.manifests import HEAD, one


def test_a_csv_may_quote_newlines_and_be_ragged(tmp_path: Path) -> None:
    text = (
        HEAD + 'r1,a.png,"two\nlines, and ""quotes""",1\n'
        "r2,a.png,short\n"
        "r3\n"
        "\n"
        "r4,a.png,x,1,2,3\n"
        "r5,a.png,x,\n"
    )
    first, short, lone, long, last = one(tmp_path / "m.csv", text)
    assert isinstance(first, Record) and first.instruction == 'two\nlines, and "quotes"'
    assert isinstance(short, Record) and short.metadata == "{}"
    assert isinstance(lone, Reject) and (lone.record_id, lone.field) == ("r3", "instruction")
    assert isinstance(long, Reject) and long.reason == "has more fields than the header (4)"
    assert isinstance(last, Record) and last.metadata == '{"n": ""}'
    found = [first, short, lone, long, last]
    assert [row.where for row in found] == [f"{tmp_path}/m.csv:{line}" for line in (2, 4, 5, 7, 8)]


def test_bad_bytes_in_a_csv_reject_their_row(tmp_path: Path) -> None:
    text = HEAD.encode() + b"r1,a.png,caf\xe9,1\nr2,a.png,caf\xc3\xa9,1\nr3,a.png,x,\xff\n"
    first, second, third = one(tmp_path / "m.csv", text)
    assert isinstance(first, Reject) and first.field == "instruction"
    assert "bytes that are not UTF-8" in first.reason
    assert isinstance(second, Record) and second.instruction == "café"
    assert isinstance(third, Record) and json.loads(third.metadata) == {"n": "?"}


def test_broken_quotes_in_a_csv_reject_what_they_swallow(tmp_path: Path) -> None:
    found = one(tmp_path / "m.csv", HEAD + 'r1,a.png,x,1\nr2,a.png,"never closed,1\nr3,a.png,x,1\n')
    assert isinstance(found[0], Record)
    assert isinstance(found[1], Reject) and found[1].reason.startswith("is not valid CSV: unexpected end")
    with pytest.raises(ManifestError, match="m.csv: its header is not valid CSV: unexpected end of data"):
        one(tmp_path / "m.csv", '"record_id,image,instruction\nr1,a.png,x\n')
    found = one(tmp_path / "m.csv", HEAD + f'r1,a.png,"{"x" * 200_000}",1\nr2,a.png,x,1\n')
    assert isinstance(found[0], Reject) and "field larger than field limit" in found[0].reason
    assert isinstance(found[-1], Record) and found[-1].record_id == "r2"
