"""Data sets read as their owners publish them; what is not whole is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mira_batch.core.errors import DataSetError
from mira_batch.storage.published import open_rows, read_json
from tests.support.published import encode, gedit_rows, save_gedit

ROWS = gedit_rows()[:5]


@pytest.mark.parametrize("form", ["disk", "splits", "parquet"])
def test_all_forms_have_the_same_rows_in_their_order(form: str, tmp_path: Path) -> None:
    folder = save_gedit(tmp_path / "data", ROWS, form)
    found = list(open_rows(folder).read(["key", "input_image"]))
    assert [row["key"] for _, row in found] == [row["key"] for row in ROWS]
    assert found[1][1]["input_image"]["bytes"] == encode(ROWS[1]["input_image"])
    places = [place for place, _ in found]
    assert places[0].endswith(": row 1") and len(set(places)) == 5, "each row has a place of its own"
    assert len({place.partition(": row")[0] for place in places}) == 2, "of both files"


def test_one_file_will_do(tmp_path: Path) -> None:
    folder = save_gedit(tmp_path / "data", ROWS, "parquet")
    (first, _) = sorted(folder.rglob("*.parquet"))
    assert len(list(open_rows(first).read(["key"]))) == 3
    with pytest.raises(DataSetError, match="--split: .* is one file"):
        open_rows(first, "train")


def test_a_split_is_chosen(tmp_path: Path) -> None:
    folder = save_gedit(tmp_path / "data", ROWS, "parquet")
    for path in sorted(folder.rglob("*.parquet")):
        path.with_name(path.name.replace("train", "dev")).write_bytes(path.read_bytes())
    with pytest.raises(DataSetError, match="has the splits dev, train; say which with --split"):
        open_rows(folder)
    with pytest.raises(DataSetError, match="has no split 'test'; it has dev, train"):
        open_rows(folder, "test")
    assert len(list(open_rows(folder, "dev").read(["key"]))) == 5


@pytest.mark.parametrize("form", ["disk", "parquet"])
def test_a_file_that_lacks_is_noticed(form: str, tmp_path: Path) -> None:
    folder = save_gedit(tmp_path / "data", ROWS, form)
    sorted((*folder.rglob("*.parquet"), *folder.rglob("*.arrow")))[0].unlink()
    with pytest.raises(DataSetError, match="is not there, but belongs|has 1 files of 2 of its split"):
        open_rows(folder)


@pytest.mark.parametrize("form", ["disk", "parquet"])
def test_a_damaged_file_and_a_foreign_one_are_refused(form: str, tmp_path: Path) -> None:
    folder = save_gedit(tmp_path / "data", ROWS, form)
    with pytest.raises(DataSetError, match="has no column joy, only .*key.*; is it this data set's"):
        list(open_rows(folder).read(["key", "joy"]))
    (*_, last) = sorted((*folder.rglob("*.parquet"), *folder.rglob("*.arrow")))
    last.write_bytes(last.read_bytes()[:200])
    with pytest.raises(DataSetError, match=r"can't be read: .*; download it again"):
        list(open_rows(folder).read(["key"]))


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="no such file or directory"):
        open_rows(tmp_path / "nothing")
    with pytest.raises(DataSetError, match="holds no data set"):
        open_rows(tmp_path)
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [], "_indices_data_files": [1]}))
    with pytest.raises(DataSetError, match="rows are chosen by an index"):
        open_rows(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataSetError, match="holds no _data_files"):
        open_rows(tmp_path)


def test_a_file_that_a_data_set_names_elsewhere_is_not_followed(tmp_path: Path) -> None:
    folder = save_gedit(tmp_path / "data", ROWS)
    state = {"_data_files": [{"filename": "../../etc/passwd"}]}
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataSetError, match=r"data/passwd: is not there"):
        open_rows(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' stands in it twice"),
        ("{", "is no JSON"),
        ("[" * 10**5, "is no JSON"),
    ],
    ids=["twice", "cut", "deep"],
)
def test_json_that_is_none_or_says_two_things_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataSetError, match=words):
        read_json(tmp_path / "a.json")
