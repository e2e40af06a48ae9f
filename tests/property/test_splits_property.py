"""However a manifest of lines is cut: every row once, in order, under its own number."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mira_batch.config.shared import ManifestConfig, StorageConfig
from mira_batch.storage.manifest import splits as module
from mira_batch.storage.manifest.splits import Split, number_lines, read_raw_rows

STORAGE = StorageConfig()
SOURCE = ManifestConfig(manifest="m.jsonl")
values = st.text(max_size=30) | st.integers() | st.sampled_from(["x" * 200, "ü🌅", "\u2028", "\x85"])
objects = st.dictionaries(st.text(max_size=3), values, max_size=3).map(lambda row: json.dumps(row).encode())
raw = st.dictionaries(st.text(max_size=3), st.text(max_size=9)).map(
    lambda row: json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")
)
junk = st.binary(max_size=40).filter(lambda data: b"\n" not in data)
lines = st.lists(objects | raw | junk | st.sampled_from([b"", b"  ", b"\r", b"null", b"\xef\xbb\xbf{}"]))
ends = st.sampled_from([b"\n", b"\r\n"])


def whole(path: Path) -> list[Any]:
    """What the file holds, read the plainest way."""
    found: list[Any] = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    row = json.loads(line.decode("utf-8-sig"))
                except UnicodeDecodeError:
                    row = "is not valid UTF-8"
                except json.JSONDecodeError as error:
                    row = f"is not valid JSON: {error.msg}"
                else:
                    row = row if isinstance(row, dict) else "is JSON, but not an object {…}"
                found.append((f"{path}:{number}", row))
    return found


def cut_at(path: Path, bounds: Sequence[int], size: int) -> list[Split]:
    ranges = pairwise([0, *sorted(bounds), size])
    return [Split(str(path), "jsonl", end - start, start=start, file_size=size) for start, end in ranges]


@pytest.mark.parametrize("line_step", [1, 7, 1 << 16])
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_pieces_give_exactly_the_rows_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line_step: int, data: st.DataObject
) -> None:
    monkeypatch.setattr(module, "_LINE", line_step)
    monkeypatch.setattr(module, "_BLOCK", 13)
    # What begins like a file of another kind, or in UTF-16, is refused or read as a whole.
    text = data.draw(st.sampled_from([b"{}\n", b"\xef\xbb\xbf{}\r\n"]))
    text += b"".join(line + data.draw(ends) for line in data.draw(lines))
    text += data.draw(st.sampled_from([b"", b"{}", b'{"record_id": "last"}', b"  ", b"{"]))
    path = tmp_path / "m.jsonl"
    path.write_bytes(text)
    bounds = data.draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=8)) - {len(text)}
    pieces = cut_at(path, sorted(bounds), len(text))
    expected = whole(path)
    for some in (pieces, number_lines(pieces, STORAGE)):
        rows = [found for piece in some for found in read_raw_rows(piece, SOURCE, STORAGE)]
        assert [
            (where, row.split(" (")[0] if isinstance(row, str) else row) for where, row in rows
        ] == expected


def test_the_numbers_start_again_with_every_file(tmp_path: Path) -> None:
    pieces = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(b"{}\n" * 10)
        pieces += [Split(str(tmp_path / "c.csv"), "csv", 5), *cut_at(path, [7, 20], 30)]
    found = number_lines(pieces, STORAGE)
    assert [piece.first_line for piece in found] == [None, 1, 4, 8, 1, 1, 4, 8]
