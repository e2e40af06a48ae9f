"""Lines of a JSON manifest, good and bad."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from mira_batch.storage.manifest.rows import Record, Reject
from tests.unit.storage.manifest.manifests import GOOD, one


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ("{", "row", "is not valid JSON: Expecting property name"),
        ("[1, 2]", "row", "is JSON, but not an object"),
        ('"text"', "row", "is JSON, but not an object"),
        ("null", "row", "is JSON, but not an object"),
        (b'{"record_id": "\xff"}', "row", "is not valid UTF-8 (byte 16 is 0xff)"),
        ("[" * 100_000, "row", "is not valid JSON: maximum recursion depth"),
        ('{"n": ' + "9" * 5_000 + "}", "row", "is not valid JSON: Exceeds the limit"),
        (GOOD[:-1] + ', "n": ' + "[" * 800 + "]" * 800 + "}", "row", "is nested too deeply"),
        ("{}", "record_id", "is missing or null"),
        ('{"record_id": null}', "record_id", "is missing or null"),
        ('{"record_id": ""}', "record_id", "is empty"),
        ('{"record_id": " \\t"}', "record_id", "is empty"),
        ('{"record_id": 1.5}', "record_id", "should be text, found float '1.5'"),
        ('{"record_id": true}', "record_id", "should be text, found bool 'True'"),
        ('{"record_id": "\\ud800"}', "record_id", "is not valid Unicode (a lone surrogate"),
        ('{"record_id": "' + "x" * 513 + '"}', "record_id", "is longer than 512 characters"),
        ('{"record_id": "r", "instruction": null}', "instruction", "is missing or null"),
        ('{"record_id": "r", "instruction": 5}', "instruction", "should be text, found int '5'"),
        ('{"record_id": "r", "instruction": "x"}', "image", "is missing or null"),
        ('{"record_id": "r", "instruction": "x", "image": ""}', "image", "is empty"),
        ('{"record_id": "r", "instruction": "x", "image": "\\udc00"}', "image", "is not valid Unicode"),
        ('{"record_id": "r", "instruction": "x", "image": 5}', "image", "should be text, found int '5'"),
        ('{"record_id": "r", "instruction": "x", "image": ["a"]}', "image", "should be text, found list"),
        ('{"record_id": "r", "instruction": "x", "image": {"url": "a"}}', "image", "is missing or null"),
        (
            '{"record_id": "r", "instruction": "x", "image": {"path": 5}}',
            "image",
            "should be text, found int",
        ),
        (
            '{"record_id": "r", "instruction": "x", "image": "' + "y" * 4097 + '"}',
            "image",
            "is longer than 4096 characters",
        ),
    ],
)
def test_a_bad_json_row_is_rejected_alone(tmp_path: Path, line: str | bytes, field: str, reason: str) -> None:
    line = line.encode() if isinstance(line, str) else line
    first, bad, last = one(tmp_path / "m.jsonl", b"\n".join([GOOD.encode(), line, GOOD.encode()]))
    assert isinstance(first, Record) and isinstance(last, Record)
    assert isinstance(bad, Reject)
    assert (bad.where, bad.field) == (f"{tmp_path}/m.jsonl:2", field)
    assert bad.reason.startswith(reason) and len(bad.reason) < 200
    pa.array([bad.where, bad.record_id, bad.field, bad.reason], pa.string())


def test_a_reject_names_its_record_where_that_is_known(tmp_path: Path) -> None:
    lines = ['{"record_id": "r1"}', '{"record_id": 17}', '{"record_id": 1.5}', "nonsense"]
    found = one(tmp_path / "m.jsonl", "\n".join([GOOD, *lines]))[1:]
    assert [row.record_id for row in found] == ["r1", "17", None, None]


def test_ids_may_be_whole_numbers(tmp_path: Path) -> None:
    lines = [GOOD.replace('"good"', number) for number in ("0", "-5", str(10**30))]
    found = one(tmp_path / "m.jsonl", "\n".join(lines))
    assert [row.record_id for row in found] == ["0", "-5", str(10**30)]


def test_blank_lines_a_bom_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    text = f"\ufeff{GOOD}\r\n\r\n   \r\n{GOOD}"
    assert [row.where.rpartition(":")[2] for row in one(tmp_path / "m.jsonl", text)] == ["1", "4"]


def test_many_bad_lines_first_do_not_hide_the_good_ones(tmp_path: Path) -> None:
    found = one(tmp_path / "m.jsonl", "nonsense\n" * 30 + GOOD)
    assert len(found) == 31 and isinstance(found[-1], Record)


def test_embedded_bytes_need_a_place(tmp_path: Path) -> None:
    [row] = one(tmp_path / "m.jsonl", '{"record_id": "r", "instruction": "x", "image": {"bytes": "aGk="}}')
    assert isinstance(row, Record) and row.image == f"{tmp_path}/aGk=", "JSON has no bytes, this is text"
