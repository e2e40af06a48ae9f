"""Exports as tables, each read by its own reader, and by DuckDB: whole states, never appended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import lance
import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

from mira_batch.storage.schema import TABLE
from tests.support.runs.commands import Commands, run_first_night
from tests.support.runs.exports import add_up, files_of, good_rows, same_pixels
from tests.support.runs.nights import Nights


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    found = Nights(tmp_path)
    found.add(9)
    found.rows["rec-0004"]["instruction"] = "frobnicate the gizmo"
    return found


@pytest.fixture
def cli(nights: Nights, capfd: pytest.CaptureFixture[str]) -> Commands:
    return run_first_night(nights, capfd)


@pytest.fixture
def iceberg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Settings of an Iceberg catalogue in SQLite, as the environment has them."""
    settings = {"type": "sql", "uri": f"sqlite:///{tmp_path}/ice.db", "warehouse": f"file://{tmp_path}/ice"}
    for name, value in settings.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__SHOP__{name.upper()}", value)
    return settings


def export(cli: Commands, to: Path | str, form: str, *more: str | Path, code: int = 0) -> Any:
    return cli.json("export", to, "--as", form, "--catalogue", cli.nights.output, *more, code=code)


def compare(table: pa.Table, nights: Nights) -> None:
    """A table has each good record once, as the catalogue has it, and no bytes."""
    good = good_rows(nights.output)
    assert table.num_rows == len(good) and table.column_names == TABLE.names
    for row in table.to_pylist():
        want = good.pop(row["record_id"])
        names = ("work_id", "instruction", "status", "width", "num_steps", "result_digest", "metadata")
        assert [row[name] for name in names] == [want[name] for name in names]
        assert row["editor"] == want["models"]["editor"] and row["io_seconds"] == want["seconds"]["io"]
        assert (row["source_type"], row["source_depth"]) == (want["source_type"], want["source_depth"])
        assert {name: row[name] for name in want["fidelity"]} == want["fidelity"]
    query = "select image.bytes from read_parquet(?, file_row_number = true) where file_row_number = ?"
    with duckdb.connect() as connection:
        found = connection.execute(query, [row["result_file"], row["result_row"]]).fetchall()
    assert same_pixels(found[0][0], want)


def read_delta(folder: Path | str) -> pa.Table:
    return pa.table(deltalake.DeltaTable(folder).to_pyarrow_table())


def read_iceberg(settings: dict[str, str]) -> pa.Table:
    with_catalog = load_catalog("shop", **settings)
    try:
        return with_catalog.load_table("edits.current").scan().to_arrow()
    finally:
        with_catalog.close()


def change(cli: Commands) -> None:
    """A record more, another result, and one that the manifest has lost."""
    cli.nights.add(2)
    cli.nights.rows["rec-0001"]["instruction"] = "mirror it, then rotate it a quarter turn clockwise"
    del cli.nights.rows["rec-0000"]
    cli.run()


def test_delta_has_the_whole_state(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    dry = export(cli, tmp_path / "delta", "delta", "--dry-run")
    assert dry["exported"] == 8 and not (tmp_path / "delta").exists()
    found = export(cli, tmp_path / "delta", "delta")
    assert found["exported"] == 8 and add_up(found)
    compare(read_delta(tmp_path / "delta"), nights)
    before = files_of(tmp_path / "delta")
    assert export(cli, tmp_path / "delta", "delta")["already"] == 8
    assert files_of(tmp_path / "delta") == before
    change(cli)
    found = export(cli, tmp_path / "delta", "delta")
    assert (found["exported"], found["gone"]) == (9, 1) and add_up(found)
    table = read_delta(tmp_path / "delta")
    assert "rec-0000" not in table["record_id"].to_pylist() and table.num_rows == 9
    with duckdb.connect() as connection:  # by the files that the log names, as its extension is a download
        files = deltalake.DeltaTable(tmp_path / "delta").file_uris()
        assert connection.execute("select count(*) from read_parquet(?)", [files]).fetchall() == [(9,)]


def test_delta_by_record(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    export(cli, tmp_path / "delta", "delta", "--mode", "upsert")
    change(cli)
    export(cli, tmp_path / "delta", "delta", "--mode", "upsert")
    before = files_of(tmp_path / "delta")
    assert export(cli, tmp_path / "delta", "delta", "--mode", "upsert")["already"] == 9
    assert files_of(tmp_path / "delta") == before
    table = read_delta(tmp_path / "delta")
    assert sorted(table["record_id"].to_pylist()) == sorted({*good_rows(nights.output), "rec-0000"})
    new = {row["record_id"]: row["instruction"] for row in table.to_pylist()}
    assert new["rec-0001"].startswith("mirror it")


def to_iceberg(cli: Commands, *more: str, to: str = "edits.current", code: int = 0) -> Any:
    """By a process of its own, as pyiceberg reads the environment when it is imported."""
    words = ["export", to, "--as", "iceberg", "--catalogue", cli.nights.output, "--catalog", "shop", "--json"]
    command = [sys.executable, "-m", "mira_batch.cli", *words, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_iceberg_has_the_whole_state(cli: Commands, nights: Nights, iceberg: dict[str, str]) -> None:
    assert to_iceberg(cli, "--dry-run")["exported"] == 8
    assert to_iceberg(cli)["exported"] == 8
    compare(read_iceberg(iceberg), nights)
    assert to_iceberg(cli)["already"] == 8
    change(cli)
    found = to_iceberg(cli, "--any-status")
    assert (found["exported"], found["not_ok"], found["gone"]) == (10, 0, 1) and add_up(found)
    table = read_iceberg(iceberg)
    assert table.num_rows == 10 and "rec-0000" not in table["record_id"].to_pylist()
    assert table["status"].to_pylist().count("failed") == 1


def test_iceberg_by_record(cli: Commands, nights: Nights, iceberg: dict[str, str]) -> None:
    to_iceberg(cli, "--mode", "upsert")
    change(cli)
    to_iceberg(cli, "--mode", "upsert")
    assert to_iceberg(cli, "--mode", "upsert")["already"] == 9
    table = read_iceberg(iceberg)
    assert sorted(table["record_id"].to_pylist()) == sorted({*good_rows(nights.output), "rec-0000"})


def test_tables_of_others_are_left_alone(cli: Commands, tmp_path: Path, iceberg: dict[str, str]) -> None:
    rows = pa.table({"record_id": ["mine"]})
    deltalake.write_deltalake(tmp_path / "delta", rows)
    assert "no export made it" in export(cli, tmp_path / "delta", "delta", code=2)["error"]
    assert read_delta(tmp_path / "delta").num_rows == 1
    catalog = load_catalog("shop", **iceberg)
    catalog.create_namespace("edits")
    catalog.create_table("edits.current", rows.schema).append(rows)
    catalog.close()
    assert "no export made it" in to_iceberg(cli, code=2)["error"]
    assert "namespace.table" in export(cli, "current", "iceberg", code=2)["error"]
    assert "--catalog nowhere" in export(cli, "a.b", "iceberg", "--catalog", "nowhere", code=2)["error"]


def test_lance_has_the_whole_state(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    to = tmp_path / "table.lance"
    assert export(cli, to, "lance", "--dry-run")["exported"] == 8 and not to.exists()
    export(cli, to, "lance")
    compare(lance.dataset(to).to_table(), nights)
    before = files_of(to)
    assert export(cli, to, "lance")["already"] == 8 and files_of(to) == before
    change(cli)
    assert export(cli, to, "lance")["exported"] == 9
    assert lance.dataset(to).count_rows() == 9
    assert "the whole state" in export(cli, to, "lance", "--mode", "upsert", code=2)["error"]
    lance.write_dataset(pa.table({"record_id": ["mine"]}), tmp_path / "other.lance")
    assert "no export made it" in export(cli, tmp_path / "other.lance", "lance", code=2)["error"]


MODULES = {"iceberg": "pyiceberg", "delta": "deltalake", "lance": "lance"}


@pytest.mark.parametrize(("form", "module"), MODULES.items())
def test_a_missing_package_names_its_extra(form: str, module: str, cli: Commands, tmp_path: Path) -> None:
    """In an interpreter that doesn't find it: one that is started, so that nothing here is patched."""
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from mira_batch.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["export", "a.b", "--as", form, "--catalogue", cli.nights.output]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and f"pip install 'mira-batch[{form}]'" in done.stderr
