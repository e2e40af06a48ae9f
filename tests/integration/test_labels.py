"""What results of whole runs say of themselves."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mira_batch import load_config, read_catalogue, read_outputs, run
from mira_batch.core.errors import ConfigError
from mira_batch.core.identity import frame_of
from mira_batch.core.source_type import ENHANCED, GENERATIVE, VOCABULARY
from mira_batch.edit.job import EditJob
from mira_batch.edit.replay import replay
from mira_batch.imaging import SRGB
from mira_batch.storage import schema
from mira_batch.storage.catalogue.trajectory import find_trajectory
from tests.support.models import labelled
from tests.support.pictures import chunk, corners, encoded, png
from tests.support.runs.catalogue import settings
from tests.support.sources import COPYRIGHT, read_exif, read_xmp, rich_jpeg

EDITOR = f"{labelled.__name__}:make_editor"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A photograph to edit, one to leave as it is, one that a model made, and a plain image."""
    images = {"photo": rich_jpeg(), "made": rich_jpeg("trainedAlgorithmicMedia")}
    images |= {"plain": encoded(corners(size=(40, 30)), "PNG"), "alone": images["photo"]}
    rows = []
    for name, data in images.items():
        (tmp_path / name).write_bytes(data)
        said = "make it fine" if name == "alone" else "rotate it a quarter turn clockwise, then sharpen it"
        rows.append({"record_id": name, "image": name, "instruction": said})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "m.jsonl"


def rows_of(
    manifest: Path, uri: Path, form: dict[str, Any] | None = None, **more: Any
) -> dict[str, dict[str, Any]]:
    base = settings(manifest, uri, **more)
    base["output"] |= form or {}
    done = run(load_config(base))
    return {row["record_id"]: row for row in read_outputs(done.run, schema.RESULTS.names).to_pylist()}


def say(row: dict[str, Any]) -> str:
    said = read_xmp(row["image"]["bytes"]).get("DigitalSourceType", "").removeprefix(VOCABULARY)
    assert said == (row["source_type"] or "")
    return said


def editing(**options: Any) -> dict[str, Any]:
    return {
        "policy": {"type": "custom", "factory": f"{labelled.__name__}:make_policy"},
        "editor": {"type": "custom", "factory": EDITOR, "options": options},
    }


def test_an_algorithm_marks_what_it_changed_and_leaves_what_was_said(manifest: Path, tmp_path: Path) -> None:
    rows = rows_of(manifest, tmp_path / "out")
    assert {name: say(rows[name]) for name in ("photo", "plain", "made")} == {
        "photo": ENHANCED,
        "plain": ENHANCED,
        "made": "trainedAlgorithmicMedia",
    }
    for row in rows.values():
        assert row["source_depth"] == 8 and row["source_c2pa"] is False
        image = Image.open(io.BytesIO(row["image"]["bytes"]))
        assert image.info["icc_profile"] == SRGB
        if row["steps"]:
            assert row["image"]["bytes"] == row["steps"][-1]["image"]["bytes"], "the report finds it by this"
    assert read_exif(rows["photo"]["image"]["bytes"])["Copyright"] == COPYRIGHT


def test_a_model_of_ones_own_counts_as_generative_unless_it_says_otherwise(
    manifest: Path, tmp_path: Path
) -> None:
    assert say(rows_of(manifest, tmp_path / "a", **editing())["photo"]) == GENERATIVE
    other = rows_of(manifest, tmp_path / "b", **editing(says="compositeSynthetic"))
    assert say(other["photo"]) == "compositeSynthetic"
    unmarked = rows_of(manifest, tmp_path / "c", **editing(says=None))
    assert say(unmarked["photo"]) == "digitalCapture" and say(unmarked["plain"]) == ""


@pytest.mark.parametrize("form", [{"format": "png", "metadata": "keep"}, {"format": "webp", "quality": 100}])
def test_a_record_that_goes_on_gives_the_same_bytes(
    manifest: Path, tmp_path: Path, form: dict[str, Any]
) -> None:
    rows = rows_of(manifest, tmp_path / "out", form)
    base = settings(manifest, tmp_path / "out")
    base["output"] |= form
    for name in ("photo", "made"):
        found = find_trajectory(str(tmp_path / "out"), name)
        assert len(found.row["steps"]) == 2
        again = replay(found, EditJob(load_config(base)), 1, lambda _: None).new
        assert again["image"] == rows[name]["image"] == found.row["image"]
        assert [step["image"] for step in again["steps"]] == [step["image"] for step in found.row["steps"]]
        assert again["source_type"] == rows[name]["source_type"]


@pytest.mark.parametrize("form", ["png", "webp", "jpeg"])
def test_what_nobody_edited_says_what_it_said(manifest: Path, tmp_path: Path, form: str) -> None:
    row = rows_of(manifest, tmp_path / "out", {"format": form}, **editing())["alone"]
    assert (row["num_steps"], row["status"], say(row)) == (0, "ok", "digitalCapture")
    assert row["result_digest"] == row["source_digest"]
    if form == "png":
        image = Image.open(io.BytesIO(row["image"]["bytes"]))
        assert frame_of(image).digest == row["source_digest"]


def test_provenance_and_metadata_can_be_left_out(manifest: Path, tmp_path: Path) -> None:
    plain = {"provenance": False, "metadata": "none"}
    rows = rows_of(manifest, tmp_path / "out", plain)
    for row in rows.values():
        assert read_xmp(row["image"]["bytes"]) == {} == read_exif(row["image"]["bytes"])
        assert row["source_type"] is None
        assert Image.open(io.BytesIO(row["image"]["bytes"])).info["icc_profile"] == SRGB


def test_a_setting_that_changes_files_names_other_work_and_a_default_doesnt(
    manifest: Path, tmp_path: Path
) -> None:
    first = rows_of(manifest, tmp_path / "out")
    same = {"metadata": "rights", "provenance": True, "subsampling": "4:4:4"}  # png has no subsampling
    again = rows_of(manifest, tmp_path / "out", same)
    assert {n: r["work_id"] for n, r in again.items()} == {n: r["work_id"] for n, r in first.items()}
    other = rows_of(manifest, tmp_path / "out", {"metadata": "none"})
    assert all(other[name]["work_id"] != first[name]["work_id"] for name in first)
    table = read_catalogue(str(tmp_path / "out"), ["record_id", "source_type", "source_depth"])
    assert table.num_rows == 4


def test_lost_depth_and_a_signed_manifest_are_in_the_row(tmp_path: Path) -> None:
    deep = png(4, 1, 16, 2, [struct.pack(">12H", *range(0, 60_000, 5_000))])
    signed = encoded(corners(), "PNG")
    box = b"\0\0\0\x40jumb\0\0\0\x20jumdc2pa" + VOCABULARY.encode() + b"trainedAlgorithmicMedia"
    signed = signed[:33] + chunk(b"caBX", box) + signed[33:]
    rows = []
    for name, data in {"deep": deep, "signed": signed, "gone": b""}.items():
        if data:
            (tmp_path / name).write_bytes(data)
        rows.append({"record_id": name, "image": name, "instruction": "mirror it"})
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = rows_of(manifest, tmp_path / "out")
    assert [found[name]["source_depth"] for name in ("deep", "signed", "gone")] == [16, 8, None]
    assert [found[name]["source_c2pa"] for name in ("deep", "signed", "gone")] == [False, True, None]
    assert say(found["deep"]) == ENHANCED
    assert say(found["signed"]) == "trainedAlgorithmicMedia", (
        "it was marked, and an algorithm took no mark away"
    )
    assert b"caBX" not in found["signed"]["image"]["bytes"]


def test_an_editor_that_says_no_name_of_the_vocabulary_is_refused(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="is no editor: source_type should be None or one of algorithmicMedia"
    ):
        rows_of(manifest, tmp_path / "out", **editing(says="ai"))
