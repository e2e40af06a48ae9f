"""What text manifests may be written in, and what is no text at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest import encodings, listing, splits
from mira_batch.storage.manifest.listing import list_files, split_manifest
from mira_batch.storage.manifest.rows import Record, Reject
from tests.unit.storage.manifest.manifests import (
    GOOD,
    HEAD,
    LOCAL,
    config,
    one,
    records,
    refusal,
    write_parquet,
)

WORDS = "Größe XL, 写真, Ωmega\u2028 🌅"
MARKED = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]
"""Encodings whose files begin with a byte-order mark here."""


def encode(text: str, name: str) -> bytes:
    """A text after its byte-order mark, which Python writes itself in three of them."""
    return (text if name in ("utf-16", "utf-32", "utf-8-sig") else f"\ufeff{text}").encode(name)


def text_of(form: str, words: str) -> str:
    """Three records, of which the second says these words in instruction and metadata."""
    rows = [(name, "a.png", "x", "y") for name in ("r1", "r2", "r3")]
    rows[1] = ("r2", f"{words}.png", f'say "{words}"', words)
    names = ("record_id", "image", "instruction", "größe")
    if form == "jsonl":
        return "".join(
            json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n" for row in rows
        )
    quoted = [[f'"{value.replace(chr(34), 2 * chr(34))}"' for value in row] for row in (names, *rows)]
    return "".join(",".join(row) + "\r\n" for row in quoted)


def check(found: list[Record], words: str) -> None:
    assert [row.record_id for row in found] == ["r1", "r2", "r3"]
    assert found[1].instruction == f'say "{words}"'
    assert isinstance(found[1].image, str) and found[1].image.endswith(f"/{words}.png")
    assert json.loads(found[1].metadata) == {"größe": words}


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "m.json", "m.csv.gz", "m.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["utf-8", *MARKED])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, name: str, encoding: str) -> None:
    text = text_of("csv" if "csv" in name else "jsonl", WORDS)
    data = encode(text, encoding) if encoding in MARKED else text.encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    check(records(config(path)), WORDS)
    check(records(config(path, encoding="cp1252" if encoding in MARKED else "UTF8")), WORDS)


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", "Größe – „5 €“"),
        ("latin-1", "Größe\x85\x81"),
        ("shift_jis", "表示ソ"),  # whose second bytes are a backslash
        ("gb18030", "写真🌅"),
        ("utf-16-le", WORDS),
        ("utf-16-be", WORDS),
        ("iso2022_jp", "写真"),
        ("cp037", "x"),  # EBCDIC, in which not even the line ends are ASCII's
    ],
)
def test_other_encodings_are_set(tmp_path: Path, name: str, encoding: str, words: str) -> None:
    text = text_of(name[2:], words).replace("größe", "g")
    (tmp_path / name).write_bytes(text.encode(encoding))
    found = records(config(tmp_path / name, encoding=encoding))
    assert found[1].instruction == f'say "{words}"'
    assert list(json.loads(found[1].metadata).values()) == [words]


def test_lines_are_numbered_in_every_encoding(tmp_path: Path) -> None:
    lines = [GOOD, "", "nonsense ਊ", " ", GOOD]  # U+0A0A has a byte that is a line end in ASCII
    for encoding in ("utf-8", "utf-16", "utf-16-be"):
        found = one(
            tmp_path / "m.jsonl",
            encode("\r\n".join(lines), encoding) if encoding != "utf-8" else "\n".join(lines),
        )
        assert [row.where.rpartition(":")[2] for row in found] == ["1", "3", "5"]
        assert [type(row) for row in found] == [Record, Reject, Record]


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [
        ("utf-8", b"\xe9"),
        ("utf-8", b"\xed\xa0\x80"),  # a surrogate, encoded as it must not be
        ("utf-8", b"\xc0\x80"),  # NUL in two bytes
        ("cp1252", b"\x81"),  # stands for nothing there
        ("shift_jis", b"\x81 "),
        ("utf-16-le", b"\x00\xd8"),  # half of a pair
        ("utf-16-be", b"\xdc\x00"),
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_bytes_that_are_not_of_the_encoding_reject_their_row(
    tmp_path: Path, form: str, encoding: str, bad: bytes
) -> None:
    before, after = text_of(form, "words").replace("größe", "g").split("y", 1)  # in the first row's metadata
    data = before.encode(encoding) + bad + after.encode(encoding)
    found = one(tmp_path / f"m.{form}", data, encoding=encoding)
    assert [type(row) for row in found] == [Reject, Record, Record]
    assert isinstance(found[0], Reject)
    assert found[0].where.endswith(f"m.{form}:{1 if form == 'jsonl' else 2}")
    if form == "csv":
        assert (found[0].record_id, found[0].field) == ("r1", "g")
        assert found[0].reason.startswith(
            "is not valid Unicode (a lone surrogate, or bytes of another encoding"
        )
    else:
        assert found[0].field == "row" and found[0].reason.startswith(f"is not valid {encoding.upper()}")
    pa.array([found[0].where, found[0].field, found[0].reason], pa.string())


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_text_cut_within_a_character_rejects_its_last_row(tmp_path: Path, form: str) -> None:
    for encoding in ("utf-16-le", "utf-8"):
        text = text_of(form, "words").replace("größe", "g").rstrip().rstrip("}").replace('"y"', '"ü"')
        data = "\ufeff".encode(encoding) + text.rstrip('"').encode(encoding)[:-1]
        found = one(tmp_path / f"m.{form}", data)
        assert [type(row) for row in found] == [Record, Record, Reject]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_text_without_a_mark_refuses_the_file(tmp_path: Path, form: str, encoding: str) -> None:
    path = tmp_path / f"m.{form}"
    path.write_bytes(text_of(form, "words").encode(encoding))
    assert refusal(config(path)) == (
        f"{path}: looks like {encoding.upper()} without a byte-order mark; set input.encoding: {encoding}, "
        "or save it as UTF-8"
    )
    assert len(records(config(path, encoding=encoding))) == 3


def test_a_header_of_another_encoding_refuses_the_file(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes(text_of("csv", "words").encode("latin-1"))
    text = refusal(config(tmp_path / "m.csv"))
    assert (
        r"m.csv: its header is not valid UTF-8: column 4 is gr\xf6\xdfe; set input.encoding to what" in text
    )
    check(records(config(tmp_path / "m.csv", encoding="latin-1")), "words")


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl"])
def test_files_of_another_kind_are_told_apart(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / name)
    assert refusal(config(tmp_path / name)).endswith(
        "is a Parquet file; give it a name that ends in .parquet"
    )
    (tmp_path / name).write_bytes(gzip.compress(GOOD.encode()))
    assert refusal(config(tmp_path / name)).endswith("is compressed by gzip; give it a name that ends in .gz")
    (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(50))
    assert refusal(config(tmp_path / name)).endswith("save it as CSV (UTF-8)")


@pytest.mark.parametrize("value", ["utf-9", "hex", "rot13", "base64", "", "a\0b", "undefined"])
def test_what_is_no_encoding_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="is no text encoding that Python knows, such as utf-8, cp1252"):
        config("m.csv", encoding=value)


def test_the_settings_of_a_run_name_only_what_was_set() -> None:
    def dump(**settings: Any) -> dict[str, Any]:
        return config("m.csv", **settings).model_dump(mode="json")

    for name in ("UTF-8", "utf8", "utf-8-sig"):
        assert dump(encoding=name) == dump()
    assert not {"encoding", "metadata"} & {*dump(), *dump()["columns"]}
    assert dump(encoding="Latin1")["encoding"] == "iso8859-1"
    assert dump(columns={"metadata": []})["columns"]["metadata"] == []


def test_a_large_file_is_cut_only_where_it_is_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SPLIT_BYTES", 50)
    text = text_of("jsonl", "wörds")
    for encoding, settings, count in [
        ("utf-8", {}, 4),
        ("utf-8-sig", {}, 4),
        ("utf-16", {}, 1),
        ("latin-1", {"encoding": "latin-1"}, 1),
        ("utf-8-sig", {"encoding": "latin-1"}, 4),
    ]:
        (tmp_path / "m.jsonl").write_bytes(
            encode(text, encoding) if encoding in MARKED else text.encode(encoding)
        )
        source = config(tmp_path / "m.jsonl", **settings)
        pieces = split_manifest(list_files(source, LOCAL), source, LOCAL)
        assert len(pieces) >= count if count > 1 else len(pieces) == 1
        check(records(source), "wörds")


@pytest.mark.parametrize("cut", [False, True])
def test_a_line_beyond_all_bounds_is_a_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    for module in (encodings, splits):
        monkeypatch.setattr(module, "MOST_TEXT", 500)
    if cut:
        monkeypatch.setattr(listing, "SPLIT_BYTES", 100)
    long = GOOD[:-1] + f', "n": "{"y" * 5_000}"}}'
    lines = [GOOD, long, GOOD, GOOD[:-1] + " " * (500 - len(GOOD) - 1) + "}", long]
    for data in (
        "\n".join(lines).encode(),
        "\n".join(lines).encode() + b"\n",
        encode("\n".join(lines), "utf-16"),
    ):
        found = one(tmp_path / "m.jsonl", data)
        assert [row.where.rpartition(":")[2] for row in found] == ["1", "2", "3", "4", "5"]
        assert [isinstance(row, Record) for row in found] == [True, False, True, True, False]
        assert isinstance(found[1], Reject) and found[1].reason.startswith("is longer than ")


@pytest.mark.parametrize("space", ["", "\n", "\n  "])
def test_a_json_array_refuses_the_file(tmp_path: Path, space: str) -> None:
    array = f"[{space}{GOOD},{space}{GOOD}]"
    for text in (array, "\ufeff" + array, f"\n {array}"):
        with pytest.raises(
            ManifestError, match=r"m.json: is one JSON array; write one object a line \(jq -c"
        ):
            one(tmp_path / "m.json", text)
    first, second = one(tmp_path / "m.json", f'["a"]\n{GOOD}')
    assert isinstance(first, Reject) and isinstance(second, Record)


def test_a_mark_within_a_file_is_none(tmp_path: Path) -> None:
    """Files that were joined, each with its mark; and one in the header alone."""
    assert (
        len([r for r in one(tmp_path / "m.jsonl", f"\ufeff{GOOD}\n\ufeff{GOOD}\n") if isinstance(r, Record)])
        == 2
    )
    [row] = one(tmp_path / "m.csv", f"\ufeff{HEAD}r1,a.png,x,\ufeff1\n")
    assert isinstance(row, Record) and json.loads(row.metadata) == {"n": "\ufeff1"}
