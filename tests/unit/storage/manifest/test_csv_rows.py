"""Rows of a CSV manifest, good and bad. Every line of a file is in a record, or is a reject."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest import csv_rows
from mira_batch.storage.manifest.rows import Record, Reject
from tests.unit.storage.manifest.manifests import HEAD, one


def lines_of(rows: list[Record | Reject]) -> list[int]:
    return [int(row.where.rpartition(":")[2]) for row in rows]


def kinds_of(rows: list[Record | Reject]) -> str:
    """A letter a row: a record's id, or - for a reject."""
    return "".join(row.record_id if isinstance(row, Record) else "-" for row in rows)


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
    text = HEAD.encode() + b"r1,a.png,caf\xe9,1\nr2,a.png,caf\xc3\xa9,1\nr3,a.png,x,\xff\nr4,a.png,x,\xc3\n"
    first, second, third, cut = one(tmp_path / "m.csv", text)
    assert isinstance(first, Reject) and first.field == "instruction"
    assert "bytes of another encoding: see input.encoding" in first.reason
    assert isinstance(second, Record) and second.instruction == "café"
    for row, name in ((third, "r3"), (cut, "r4")):
        assert isinstance(row, Reject) and (row.record_id, row.field) == (name, "n")
        assert row.reason.startswith("is not valid Unicode")


def test_a_quote_that_is_never_closed_names_every_line_it_takes(tmp_path: Path) -> None:
    rows = [f"{name},a.png,x,1" for name in "abcdefgh"]
    rows[2] = 'c,a.png,"never closed,1'
    found = one(tmp_path / "m.csv", HEAD + "\n".join(rows))
    assert (kinds_of(found), lines_of(found)) == ("ab------", list(range(2, 10)))
    first, second = found[2:4]
    assert isinstance(first, Reject) and isinstance(second, Reject)
    assert first.reason.startswith("is not valid CSV: a quote is never closed; close it, or write")
    assert second.reason.startswith(
        "belongs to the row that begins in line 4, which is not valid CSV: a quote"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "end"])
def test_what_broken_quotes_take_is_named_whatever_ends_the_lines(
    tmp_path: Path, end: str, last: str
) -> None:
    lines = [
        HEAD.strip(),
        'a,i.png,"closed',  # a row of lines 2 to 4, one of them blank
        "",
        'again",1',
        "",  # no row
        'b,i.png,"closes in the next row,1',  # lines 6 to 8
        "",
        'c,i.png,"x",1',
        "d,i.png,x,1",
        'e,i.png,"x"y,1',  # line 10 alone
        '"f,i.png,x,1',  # to the end
        "",
        "g,i.png,x,1",
    ]
    found = one(tmp_path / "m.csv", end.join(lines) + last * len(end) if last else end.join(lines))
    assert (kinds_of(found), lines_of(found)) == ("a---d----", [2, 6, 7, 8, 9, 10, 11, 12, 13])


SWALLOWED = [
    ('a,i.png,"open,1', "b,i.png,x,1", 'c,i.png,crop to 27",1'),
    ('a,i.png,"open,1', "b,s3://x/y,x,1", "", 'c,i.png,x,"'),
    ('a,i.png,"open,1', 'b,i.png,crop to 27",1'),
    ('a,i.png,"open,1', "b,I.JPG ,x", "c,i.jpeg,x,1", 'd,i.png,x,27"'),
    ('"a,i.png,x,1', "b,i.png,x,1", 'c,i.png,27",1'),
]
"""Lines of which the first opens a quote that one in a later row closes."""


@pytest.mark.parametrize("lines", SWALLOWED)
def test_rows_within_quotes_are_not_taken_for_text(tmp_path: Path, lines: tuple[str, ...]) -> None:
    found = one(tmp_path / "m.csv", HEAD + "\n".join(["y,i.png,x,1", *lines, "z,i.png,x,1"]))
    assert kinds_of(found) == "y" + "-" * len(lines) + "z"
    assert lines_of(found) == list(range(2, len(lines) + 4))
    first, second = found[1:3]
    assert (
        isinstance(first, Reject)
        and "has a quote that seems never to be closed: within it line " in first.reason
    )
    assert isinstance(second, Reject) and second.reason.startswith(
        "belongs to the row that begins in line 3, which"
    )


@pytest.mark.parametrize(
    "header",
    ["record_id,image,instruction,n", "instruction,n,image,record_id", "n,record_id,image,instruction"],
)
@pytest.mark.parametrize(
    "words",
    ["a,\nb, c, d, and e\nf", "put\nlogo.png,\nthere", "one\n\n,,,\ntwo", "i.png\ni.png,\nx", ',\n"",'],
)
def test_text_of_several_lines_is_text(tmp_path: Path, header: str, words: str) -> None:
    row = {"record_id": "a", "image": "i.png", "instruction": "x", "n": "1"}
    for column in ("instruction", "n"):
        written = row | {column: words}
        line = ",".join(f'"{written[name]}"' for name in header.split(","))
        [found] = one(tmp_path / "m.csv", f"{header}\n{line}\n")
        assert isinstance(found, Record)
        text = words.replace('""', '"')
        assert (found.instruction, found.metadata) == (
            (text, '{"n": "1"}') if column == "instruction" else ("x", json.dumps({"n": text}))
        )


def test_a_broken_header_refuses_the_file(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="m.csv: its header is not valid CSV: a quote is never closed"):
        one(tmp_path / "m.csv", '"record_id,image,instruction\nr1,a.png,x\n')


def test_a_field_may_be_long(tmp_path: Path) -> None:
    html = "<p>ü</p>\n" * 30_000
    first, second = one(tmp_path / "m.csv", HEAD + f'r1,a.png,x,"{html}"\nr2,a.png,x,{"y" * 200_000}\n')
    assert isinstance(first, Record) and json.loads(first.metadata) == {"n": html}
    assert isinstance(second, Record) and second.where.endswith(":30003")
    assert json.loads(second.metadata) == {"n": "y" * 200_000}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_row_beyond_all_bounds_is_a_reject_and_the_next_line_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(csv_rows, "MOST_TEXT", 100)
    lines = [HEAD.strip(), "a,i.png,x,1", "b,i.png,x," + "y" * 500, "c,i.png,x,1", 'd,i.png,"x', "z" * 60]
    lines += ["z" * 60, "e,i.png,x,1", "f,i.png,x," + "y" * 89]
    found = one(tmp_path / "m.csv", end.join(lines))
    assert (kinds_of(found), lines_of(found)) == ("a-c---ef", list(range(2, 10)))
    for row in (found[1], found[3]):
        assert isinstance(row, Reject) and row.reason.startswith("is longer than 100 characters; is there a")


@pytest.mark.parametrize(
    ("header", "places"),
    [
        ("record_id,image,instruction,image", "'image' twice, as columns 2 and 4"),
        ("record_id,sku,image,instruction,a,sku,a", "'sku' twice, as columns 2 and 6"),
        ('record_id,image,instruction,"n",n', "'n' twice, as columns 4 and 5"),
        ("record_id,image,instruction,,n,,n", "'n' twice, as columns 5 and 7"),
    ],
)
def test_a_column_that_is_there_twice_refuses_the_file(tmp_path: Path, header: str, places: str) -> None:
    with pytest.raises(ManifestError, match=f"m.csv: has the column {places}; rename or remove one of them"):
        one(tmp_path / "m.csv", f"{header}\nr1,a.png,x,b.png\n")


def test_columns_that_differ_are_no_columns_twice(tmp_path: Path) -> None:
    header = "record_id,image,instruction,Image, image,IMAGE"
    [row] = one(tmp_path / "m.csv", f"{header}\nr1,a.png,x,1,2,3\n")
    assert isinstance(row, Record) and row.metadata == '{"Image": "1", " image": "2", "IMAGE": "3"}'


def test_columns_without_a_name_may_be_empty(tmp_path: Path) -> None:
    """A spreadsheet's empty columns end every line in commas."""
    rows = "r1,a.png,x,,\nr2,a.png,x,,5\nr3,a.png,x,4,\nr4,a.png,x\n"
    first, second, third, last = one(tmp_path / "m.csv", f"record_id,image,instruction,,\n{rows}")
    assert isinstance(first, Record) and first.metadata == '{"": ""}'
    assert isinstance(second, Reject) and second.reason.startswith(
        "has a value in column 5, which has no name"
    )
    assert isinstance(third, Reject) and third.reason.startswith("has a value in column 4, which has no name")
    assert isinstance(last, Record) and last.metadata == "{}"
    [named] = one(tmp_path / "m.csv", "record_id,image,instruction,\nr1,a.png,x,5\n")
    assert isinstance(named, Record) and named.metadata == '{"": "5"}'


@pytest.mark.parametrize(("separator", "name"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
def test_other_separators_are_told_apart(tmp_path: Path, separator: str, name: str) -> None:
    text = (HEAD + "r1,a.png,x,1\n").replace(",", separator)
    with pytest.raises(ManifestError, match="lacks the column 'record_id'") as error:
        one(tmp_path / "m.csv", text)
    assert str(error.value).endswith(
        f"; they are separated by {name}: write the file with commas, or as Parquet or JSONL"
    )
    with pytest.raises(ManifestError, match="columns found: a;b, image$"):
        one(tmp_path / "m.csv", "a;b,image\n1,2\n")
    with pytest.raises(ManifestError, match="columns found: ' image', 'instruction ', record_id$"):
        one(tmp_path / "m.csv", "record_id, image,instruction \n1,2,3\n")


@pytest.mark.parametrize("name", ["r2\n", "r2\nr3", "r2\r\nr3", "r2\u2028r3"])
def test_a_record_id_of_two_lines_is_rejected(tmp_path: Path, name: str) -> None:
    text = f'{HEAD}r1,a.png,x,1\n"{name}",a.png,x,1\nr4,a.png,x,1\n'
    first, bad, last = one(tmp_path / "m.csv", text)
    assert isinstance(first, Record) and isinstance(last, Record) and isinstance(bad, Reject)
    assert (bad.where, bad.field) == (f"{tmp_path}/m.csv:3", "record_id")
    assert bad.reason == "holds a line break; a quote may be missing in the line before"


@pytest.mark.parametrize("first", ["sep=;", "SEP=,", "sep=\t", "sep=|"])
def test_a_line_for_spreadsheets_is_named_with_its_cure(tmp_path: Path, first: str) -> None:
    with pytest.raises(
        ManifestError, match="m.csv: its first line, (?i:sep=).*, is for spreadsheets; delete it"
    ):
        one(tmp_path / "m.csv", f"{first}\n{HEAD}r1,a.png,x,1\n")
