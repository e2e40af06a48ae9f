"""`mira-batch validate`: what it looks at, what it says, and what it lets pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch import load_config
from mira_batch.imaging import encode_png
from mira_batch.launch import make_job
from mira_batch.runtime import run as runner
from mira_batch.runtime.preflight import Finding, validate
from mira_batch.storage.schema import IMAGE
from tests.support.runs.catalogue import settings


def rows(count: int) -> list[dict[str, Any]]:
    return [{"record_id": f"r{i}", "image": f"{i}.png", "instruction": "mirror it"} for i in range(count)]


def a_catalogue(folder: Path, count: int, bad: tuple[int, ...] = ()) -> Path:
    """A manifest of images that are there, but for those in `bad`."""
    folder.mkdir()
    for i in set(range(count)) - set(bad):
        Image.new("RGB", (10 + i, 7)).save(folder / f"{i}.png")
    lines = [json.dumps(row) for row in rows(count)]
    (folder / "m.jsonl").write_text("\n".join(lines))
    return folder / "m.jsonl"


def finding(what: str, manifest: Path, **more: Any) -> Finding:
    config = load_config(settings(manifest, manifest.parent / "out", **more))
    findings = {found.what: found for found in validate(make_job(config))}
    assert list(findings) == ["manifest", "images", "models", "output", "workers"]
    return findings[what]


def test_images_are_opened_all_over_the_sample(tmp_path: Path) -> None:
    found = finding("images", a_catalogue(tmp_path / "m", 71))
    sizes = ", ".join(f"{10 + i} x 7 RGB" for i in (0, 10, 20, 30, 40, 50, 60, 70))
    assert found == Finding("images", True, f"8 of 8 opened: {sizes}")


def test_of_few_records_all_are_opened(tmp_path: Path) -> None:
    assert finding("images", a_catalogue(tmp_path / "one", 1)).detail == "1 of 1 opened: 10 x 7 RGB"
    assert finding("images", a_catalogue(tmp_path / "three", 3)).detail.startswith(
        "3 of 3 opened: 10 x 7 RGB, 11"
    )


def test_a_bad_image_is_named_and_fails_only_its_record(tmp_path: Path) -> None:
    manifest = a_catalogue(tmp_path / "m", 9, bad=(0, 1, 2))
    (manifest.parent / "1.png").write_text("no image")
    found = finding("images", manifest)
    assert found.ok
    assert found.detail.startswith("5 of 8 opened: 13 x 7 RGB, ")
    assert found.detail.endswith(f"; the first that can't be: 'r0': {manifest.parent}/0.png: no such file")


def test_when_no_image_can_be_opened_the_check_fails(tmp_path: Path) -> None:
    found = finding("images", a_catalogue(tmp_path / "m", 5, bad=(0, 1, 2, 3, 4)))
    assert not found.ok
    assert found.detail.startswith("none of 5 images can be opened; the first: 'r0': ")


def test_without_a_usable_row_manifest_and_images_fail(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("{}\n{}\n")
    assert "has no usable row; the first:" in finding("manifest", tmp_path / "m.jsonl").detail
    assert finding("images", tmp_path / "m.jsonl") == Finding("images", False, "no usable row names one")
    missing = finding("images", tmp_path / "missing.jsonl")
    assert not missing.ok and "no such manifest file" in missing.detail


def test_a_record_id_that_is_there_twice_counts_as_unusable_as_in_a_plan(tmp_path: Path) -> None:
    manifest = a_catalogue(tmp_path / "m", 3)
    first, second, third = rows(3)
    third["record_id"] = first["record_id"]
    manifest.write_text("\n".join(json.dumps(row) for row in (first, second, third)))
    found = finding("manifest", manifest)
    words = "an earlier row has the same record_id; the first one is used"
    assert found == Finding(
        "manifest", True, f"3 rows read, 1 unusable; the first at {manifest}:3: record_id {words}"
    )
    config = load_config(settings(manifest, tmp_path / "out"))
    planned = runner.plan(make_job(config))
    assert (planned.planned, planned.rejected) == (2, 1)


def test_the_manifest_is_read_once(tmp_path: Path) -> None:
    def read() -> int:
        return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])

    manifest = a_catalogue(tmp_path / "m", 10)
    finding("images", manifest)  # whatever is imported and opened for the first time
    with open(manifest, "a") as file:
        file.writelines(f"\n{json.dumps(row | {'note': 'x' * 10_000})}" for row in rows(900)[10:])
    before = read()
    assert "900 rows read, 0 unusable" in finding("manifest", manifest).detail
    hashed_and_read = 2 * manifest.stat().st_size
    assert read() - before < 1.3 * hashed_and_read


def embedded(path: Path, images: list[bytes], **options: Any) -> Path:
    values = pa.array([{"bytes": data, "path": None} for data in images], IMAGE)
    names = [f"r{i}" for i in range(len(images))]
    columns = {"record_id": names, "image": values, "instruction": ["mirror it"] * len(images)}
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_embedded_images_are_opened_too(tmp_path: Path) -> None:
    images = [encode_png(Image.new("RGB", (5 + i, 4))) for i in range(30)]
    images[0] = b"no image"
    images[-1] *= 1 + 2_000 // len(images[-1])
    manifest = embedded(tmp_path / "m.parquet", images, row_group_size=9)
    bounds = {"input": {"manifest": str(manifest), "max_bytes": 2_000}}
    found = finding("images", manifest, **bounds)
    assert found.ok and found.detail.startswith("6 of 8 opened: 9 x 4 RGB, 13 x 4 RGB")
    assert f"'r0': {manifest}#row_group=0&row=0: is not an image" in found.detail


@pytest.mark.slow
def test_a_large_row_group_of_images_is_named_with_its_cure(tmp_path: Path) -> None:
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    large = finding("manifest", embedded(tmp_path / "large.parquet", [bytes(130_000_000)] * 2, **options))
    assert large.ok
    assert f"{tmp_path}/large.parquet has a row group of 260 MB of images" in large.detail
    assert large.detail.endswith("write it again with row_group_size=100")
    small = finding("manifest", embedded(tmp_path / "small.parquet", [bytes(1_000)] * 2))
    assert small.detail == "2 rows read, 0 unusable"


def test_models_of_ones_own_are_looked_at_but_not_loaded(tmp_path: Path) -> None:
    manifest = a_catalogue(tmp_path / "m", 1)
    factory = "tests.support.models.counted:make_editor"
    options = {"log": str(tmp_path / "log"), "seconds": 0, "simulated": {}}
    custom = {"type": "custom", "factory": factory, "options": options}
    found = finding("models", manifest, editor=custom)
    assert found == Finding("models", True, f"rules, {factory} (importable, not loaded)")
    assert not (tmp_path / "log").exists()
    found = finding("models", manifest, editor=custom | {"options": {"log": "x", "speed": 3}})
    assert (
        not found.ok and f"factory {factory}: can't be called with options ['log', 'speed']" in found.detail
    )


@pytest.mark.parametrize("column", ["record_id", "image"])
def test_a_wrong_column_name_is_found(tmp_path: Path, column: str) -> None:
    manifest = a_catalogue(tmp_path / "m", 1)
    bounds = {"input": {"manifest": str(manifest), "columns": {column: "nonsense"}}}
    found = finding("manifest", manifest, **bounds)
    assert not found.ok and f"lacks the column 'nonsense' (set input.columns.{column}" in found.detail
