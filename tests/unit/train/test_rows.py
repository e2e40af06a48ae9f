"""Rows of a real run with their images, and an image that was replaced since."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch import load_config, run
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import StoreError
from mira_batch.train.rows import read_whole_rows
from tests.support.runs.catalogue import make_catalogue, settings


def test_an_image_that_was_replaced_is_not_taken_for_the_one_that_was_edited(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 3)
    done = run(load_config(settings(manifest, tmp_path / "out"))).run
    files = sorted(Path(done).glob("results/*.parquet"))
    places = [(k, n) for k, file in enumerate(files) for n in range(pq.read_metadata(file).num_rows)]
    rows = {row.columns["record_id"]: row for row in read_whole_rows(done, places, StorageConfig())}
    assert len(rows) == 3
    assert all(row.original.digest == row.columns["source_digest"] for row in rows.values())
    first = json.loads(manifest.read_text().splitlines()[0])
    image = manifest.parent / first["image"]
    with Image.open(image) as before:
        Image.new("RGB", before.size, "teal").save(image)
    with pytest.raises(StoreError, match=rf"{first['record_id']}: .* is another image than the run saw"):
        list(read_whole_rows(done, places, StorageConfig()))
