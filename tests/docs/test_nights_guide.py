"""The guide to nights, command by command, and its view in DuckDB."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb

from mira_batch import read_catalogue
from tests.docs.blocks import blocks, commands
from tests.docs.guides import Terminal
from tests.support.runs.catalogue import make_catalogue

GUIDE = "docs/nights.md"


def test_the_guide_to_nights(tmp_path: Path, terminal: Terminal) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 12)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps(r | {"record_id": f"sku-{i}"}) + "\n" for i, r in enumerate(rows)))
    (config,) = (block for block in blocks(GUIDE) if block.file_name)
    (tmp_path / "night.yaml").write_text(f"{config.text}backend: inline\n")
    for line in commands(GUIDE):
        terminal(line, tmp_path)
    check_the_view(tmp_path)


def check_the_view(folder: Path) -> None:
    """The rows that SQL sees are those that `read_catalogue` gives."""
    (view,) = (block.text for block in blocks(GUIDE) if block.language == "sql")
    numbers = sorted(path.parent.name for path in (folder / "nights" / "catalogue").glob("*/snapshot.json"))
    last = folder / "nights" / "catalogue" / numbers[-1]
    bucket = next(last.glob("bucket-*.parquet"))
    shutil.copy(bucket, last / "bucket-000-00000000.parquet")  # as a driver leaves that is killed in a fold
    statement = view.replace("nights/", f"{folder}/nights/").replace("00007", numbers[-1])
    with duckdb.connect() as connection:
        connection.execute(statement)
        seen = connection.execute(
            "select record_id, work_id, status, result_digest from catalogue"
        ).fetchall()
    table = read_catalogue(str(folder / "nights"), ["record_id", "work_id", "status", "result_digest"])
    assert sorted(seen) == sorted(tuple(row.values()) for row in table.to_pylist())
