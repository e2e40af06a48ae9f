"""Lines of a JSON manifest, good and bad."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('"instruction": "y"', "gives the key 'instruction' twice in one object, as key 3 and key 4"),
        ('"n": 1, "n": 1', "gives the key 'n' twice in one object, as key 4 and key 5"),
        ('"n": "", "m": 5, "n": ""', "gives the key 'n' twice in one object, as key 4 and key 6"),
        ('"im\\u0061ge": "b"', "gives the key 'image' twice in one object, as key 2 and key 4"),
        ('"n": {"a": 1, "a": 2}', "gives the key 'a' twice in one object, as key 1 and key 2"),
        ('"n": [[{"b": 0, "a": {}, "a": []}]]', "gives the key 'a' twice in one object, as key 2 and key 3"),
        ('"": 1, "": 2', "gives the key '' twice in one object, as key 4 and key 5"),
        (
            '"say \\"hi\\"": 1, "say \\"hi\\"": 1',
            "gives the key 'say \"hi\"' twice in one object, as key 4 and",
        ),
        ('"\\ud800": 1, "\\ud800": 1', "gives the key '\\ud800' twice in one object"),
    ],
)
def test_a_key_that_is_there_twice_rejects_its_row(tmp_path: Path, more: str, reason: str) -> None:
    first, bad, last = one(tmp_path / "m.jsonl", f"{GOOD}\n{GOOD[:-1]}, {more}}}\n{GOOD}")
    assert isinstance(first, Record) and isinstance(last, Record)
    assert isinstance(bad, Reject) and (bad.where[-2:], bad.field) == (":2", "row")
    assert bad.reason.startswith(reason)


def test_keys_and_quotes_that_only_look_twice_are_fine(tmp_path: Path) -> None:
    more = [
        '"n": "n"',
        '"say \\"n\\"": "\\"n\\": 1"',
        '"n": {"n": {"n": "image"}}',
        '"n": [{"a": 1}, {"a": 1}]',
    ]
    more += [
        '"n": "\\\\", "m": "\\\\\\""',
        '"Image": 1, "IMAGE": 2',
        '"n": "\\u0022"',
        '"n": true, "m": null',
    ]
    rows = [json.loads(f"{{{row}}}") for row in more]
    found = one(tmp_path / "m.jsonl", "\n".join(f"{GOOD[:-1]}, {row}}}" for row in more))
    assert [json.loads(row.metadata) for row in found if isinstance(row, Record)] == rows


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


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("0.5", 0.5),
        ("0.0", 0.0),
        ("0e-999999999999999999999", 0.0),
        ("1.50", 1.5),
        ("-2E3", -2000.0),
        ("0.30000000000000004", 0.30000000000000004),
        ("0.10000000000000001", 0.1),  # as C writes it with 17 digits
        ("0.1000000000000000055511151231257827021181583404541015625", 0.1),
        ("5e-324", 5e-324),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("12345678901234567890123", 12345678901234567890123),
        ("0.12345678901234567890", "0.12345678901234567890"),
        ("1.00000000000000000001", "1.00000000000000000001"),
        ("-1234567890123456789.5", "-1234567890123456789.5"),
        ("1.25e-322", "1.25E-322"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_number_is_kept_exactly(tmp_path: Path, number: str, kept: object, nested: bool) -> None:
    value = f"[{number}]" if nested else number
    [row] = one(tmp_path / "m.jsonl", f'{GOOD[:-1]}, "n": {value}}}')
    assert isinstance(row, Record)
    found = json.loads(row.metadata)["n"]
    assert found == ([kept] if nested else kept) and type(found[0] if nested else found) is type(kept)


@pytest.mark.parametrize(
    "number", ["1e-400", "-0.1e-330", "1e-99999999999999999999", "1e400", f"0.{'0' * 330}1"]
)
def test_a_number_beyond_a_float_rejects_its_row(tmp_path: Path, number: str) -> None:
    first, bad = one(tmp_path / "m.jsonl", f'{GOOD}\n{GOOD[:-1]}, "n": {number}}}')
    assert isinstance(first, Record) and isinstance(bad, Reject)
    assert bad.reason == f"holds the number {number[:40]}, which no 64-bit float can hold"


def test_a_long_number_is_no_record_id(tmp_path: Path) -> None:
    [row] = one(tmp_path / "m.jsonl", GOOD.replace('"good"', "0.12345678901234567890"))
    assert isinstance(row, Reject) and row.reason.startswith("should be text, found Decimal")


@pytest.mark.parametrize("text", [json.dumps(json.loads(GOOD), indent=2), '{ \n"record_id":\n"r"}'])
def test_an_object_over_several_lines_says_how_to_write_it(tmp_path: Path, text: str) -> None:
    first = one(tmp_path / "m.jsonl", text)[0]
    assert isinstance(first, Reject)
    assert "the line's end; write one object a line, as jq -c . does" in first.reason
