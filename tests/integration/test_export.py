"""Exports of files, by the command: folder, WebDataset, Hugging Face, CSV; each read by its own reader."""

from __future__ import annotations

import csv
import gc
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from PIL import Image

from mira_batch.config.load import load_export
from mira_batch.core.errors import RunStopped, StoreError
from mira_batch.core.stop_request import StopRequest
from mira_batch.export.choose import choose
from mira_batch.export.rows import read_each_file, spool_by_file
from mira_batch.export.run import export as export_results
from mira_batch.storage.schema import CHOSEN
from tests.support.runs.commands import Commands, run_first_night
from tests.support.runs.exports import add_up, decide, files_of, good_rows, same_pixels, visible
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


def export(cli: Commands, to: Path | str, form: str, *more: str | Path, code: int = 0) -> Any:
    return cli.json("export", to, "--as", form, "--catalogue", cli.nights.output, *more, code=code)


def test_a_folder_has_the_names_of_the_sources(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    good = good_rows(nights.output)
    to = tmp_path / "to"
    dry = export(cli, to, "folder", "--dry-run")
    assert dry["dry_run"] and dry["exported"] == 8 and not to.exists()
    found = export(cli, to, "folder")
    assert found["exported"] == 8 and found["not_ok"] == 1 and found["bytes"] and add_up(found)
    assert visible(to) == {f"{name}.png" for name in good}
    assert all(same_pixels((to / f"{name}.png").read_bytes(), row) for name, row in good.items())
    before = files_of(to)
    again = export(cli, to, "folder")
    assert again["already"] == 8 and again["exported"] == 0 and add_up(again)
    assert files_of(to) == before, "a second export writes nothing"


def test_what_has_come_since_is_added(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    export(cli, tmp_path / "to", "folder")
    before = files_of(tmp_path / "to")
    nights.add(3)
    cli.run()
    found = export(cli, tmp_path / "to", "folder")
    assert found["exported"] == 3 and found["already"] == 8 and add_up(found)
    after = files_of(tmp_path / "to")
    assert before.items() <= after.items() and len(visible(tmp_path / "to")) == 11


def test_an_earlier_result_is_not_overwritten(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    export(cli, tmp_path / "to", "folder")
    before = files_of(tmp_path / "to")
    nights.rows["rec-0002"]["instruction"] = "mirror it, then rotate it a quarter turn clockwise"
    nights.add(1)
    cli.run()
    error = export(cli, tmp_path / "to", "folder", code=2)["error"]
    assert "has an earlier result of 'rec-0002'" in error
    assert files_of(tmp_path / "to") == before
    more = ("--where", "record_id != 'rec-0002'")
    found = export(cli, tmp_path / "to", "folder", *more)
    assert found["exported"] == 1 and found["not_selected"] == 1 and add_up(found)


def test_records_of_one_source_are_named_and_refused(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    nights.rows["twin"] = nights.rows["rec-0001"] | {"record_id": "twin/../x"}
    cli.run()
    error = export(cli, tmp_path / "to", "folder", code=2)["error"]
    assert error.startswith(f"{tmp_path}/to: rec-0001.png of")
    assert "is wanted by" in error and "--names record" in error
    assert not (tmp_path / "to").exists()
    found = export(cli, tmp_path / "to", "folder", "--names", "record")
    assert found["exported"] == 9
    assert "twin%2F%2E%2E%2Fx.png" in visible(tmp_path / "to")
    error = export(cli, tmp_path / "to", "folder", code=2)["error"]
    assert "names: was record, now source" in error


def test_a_name_may_be_as_long_as_that_of_a_source_and_no_longer(
    cli: Commands, nights: Nights, tmp_path: Path
) -> None:
    for record, name in (("long", f"{'é' * 125}.jpg"), ("longer", "x" * 255)):
        Image.new("RGB", (12, 8), (200, 40, 60)).save(tmp_path / name, "JPEG")
        nights.rows[record] = nights.rows["rec-0001"] | {"record_id": record, "image": name}
    cli.run()
    error = export(cli, tmp_path / "to", "folder", code=2)["error"]
    assert "of 'longer' is too long for a file's name" in error and "'long' " not in error
    assert not (tmp_path / "to").exists()
    export(cli, tmp_path / "to", "folder", "--where", "record_id != 'longer'")
    assert f"{'é' * 125}.png" in visible(tmp_path / "to")


def test_files_of_others_are_left_alone(cli: Commands, tmp_path: Path) -> None:
    to = tmp_path / "to"
    to.mkdir()
    (to / "rec-0003.png").write_bytes(b"precious")
    (to / "readme.txt").write_text("mine")
    error = export(cli, to, "folder", code=2)["error"]
    assert "rec-0003.png of 'rec-0003' is there already" in error
    assert visible(to) == {"rec-0003.png", "readme.txt"}
    (to / "rec-0003.png").rename(to / "rec-0003.png.old")
    assert export(cli, to, "folder")["exported"] == 8


def test_the_folders_and_the_format_of_the_sources(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    for name, (folder, ending) in {
        "a": ("shoes/red", "jpg"),
        "b": ("hats", "webp"),
        "c": ("", "bmp"),
    }.items():
        path = tmp_path / folder / f"{name}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA" if ending == "webp" else "RGB", (12, 8), (200, 40, 60)).save(path)
        relative = str(path.relative_to(tmp_path))
        nights.rows[name] = {"record_id": name, "image": relative, "instruction": "mirror it"}
    cli.run()
    more = ("--where", "record_id in ('a', 'b', 'c')")
    export(cli, tmp_path / "kept", "folder", *more)
    assert visible(tmp_path / "kept") == {"shoes/red/a.png", "hats/b.png", "c.png"}
    found = export(cli, tmp_path / "to", "folder", "--format", "source", *more)
    assert found["other_format"] == 1 and found["exported"] == 3
    assert visible(tmp_path / "to") == {"shoes/red/a.jpg", "hats/b.webp", "c.png"}
    for name, format in (("shoes/red/a.jpg", "JPEG"), ("hats/b.webp", "WEBP")):
        with Image.open(tmp_path / "to" / name) as image:
            assert image.format == format
    rooted = ("--root", tmp_path / "shoes", "--where", "record_id = 'a'")
    export(cli, tmp_path / "rooted", "folder", *rooted)
    assert visible(tmp_path / "rooted") == {"red/a.png"}


def test_only_what_is_approved(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    good = list(good_rows(nights.output).values())
    (run,) = Path(nights.output).glob("*/run.json")
    decide(tmp_path / "ann.jsonl", good[:4], "approve")
    decide(tmp_path / "bob.jsonl", good[:1], "reject")
    decide(tmp_path / "zoe.jsonl", good[1:2], "reject")
    for name in ("zoe", "ann", "bob"):  # the last word counts, in the order in which they were kept
        cli.text("decide", run.parent, tmp_path / f"{name}.jsonl")
    stale = good[5] | {"result_digest": "f" * 32}
    decide(tmp_path / "more.jsonl", [stale, good[6]], "approve")
    found = export(cli, tmp_path / "to", "folder", "--approved-only")
    assert visible(tmp_path / "to") == {f"{row['record_id']}.png" for row in good[1:4]}
    assert (found["exported"], found["not_approved"], found["not_ok"]) == (3, 5, 1) and add_up(found)
    more = ("--approved-only", "--decisions", tmp_path / "more.jsonl")
    assert export(cli, tmp_path / "to", "folder", *more)["exported"] == 1
    of_run = ("--run", run.parent, "--approved-only", "--json")
    found = json.loads(cli.text("export", tmp_path / "run", "--as", "folder", *of_run))
    assert found["exported"] == 3 and add_up(found)
    (tmp_path / "bad.jsonl").write_text('{"record_id": 3}\n')
    error = export(
        cli, tmp_path / "x", "csv", "--approved-only", "--decisions", tmp_path / "bad.jsonl", code=2
    )
    assert "bad.jsonl:1: is no decision" in error["error"]


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("changed_share >= 0", 8),
        ("changed_share is null", 0),
        ("image_part is not null and instruction_part is not null", 8),
        ("plan >= 1 and gone is null and num_steps = 1", 8),
        ("error_kind = 'instruction_unclear'", 0),
    ],
)
def test_a_condition_means_the_same_of_a_run_and_of_a_catalogue(
    cli: Commands, nights: Nights, tmp_path: Path, condition: str, chosen: int
) -> None:
    (run,) = Path(nights.output).glob("*/run.json")
    words = ("export", tmp_path / "to", "--as", "csv", "--dry-run", "--where", condition)
    of_run = cli.json(*words, "--run", run.parent)
    assert of_run["exported"] == chosen and of_run == cli.json(*words, "--catalogue", nights.output)


@pytest.mark.parametrize(
    "words",
    ["csv --names record", "hf --format source", "webdataset --root /", "folder --shard-records 3",
     "folder --mode upsert", "csv --catalog shop", "folder --decisions d.jsonl"],
)  # fmt: skip
def test_an_option_that_would_do_nothing_is_refused(cli: Commands, tmp_path: Path, words: str) -> None:
    form, option, value = words.split()
    error = export(cli, tmp_path / "to", form, option, value, code=2)["error"]
    assert error.startswith(f"{option}: is for ") and not (tmp_path / "to").exists()


def test_what_the_manifest_lost_is_gone(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    del nights.rows["rec-0000"]
    nights.add(1)
    cli.run()
    found = export(cli, tmp_path / "to", "folder")
    assert (found["gone"], found["exported"]) == (1, 8) and add_up(found)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_webdataset_reads_the_tars(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    import webdataset

    found = export(cli, tmp_path / "to", "webdataset", "--shard-records", "3")
    tars = sorted((tmp_path / "to").glob("*.tar"))
    assert [path.name for path in tars] == [f"edited-00001-{part:05d}.tar" for part in range(3)]
    samples = list(webdataset.WebDataset([str(path) for path in tars], shardshuffle=False).decode("pil"))
    good = good_rows(nights.output)
    assert found["exported"] == len(samples) == len(good)
    for sample in samples:
        row = good.pop(sample["json"]["record_id"])
        assert same_pixels(sample["png"], row)
        assert sample["json"]["instruction"] == row["instruction"] and sample["json"]["metadata"] == {}
    gc.collect()
    before = files_of(tmp_path / "to")
    assert export(cli, tmp_path / "to", "webdataset", "--shard-records", "3")["already"] == 8
    assert files_of(tmp_path / "to") == before


def test_datasets_loads_the_parquet_with_images(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    import datasets

    export(cli, tmp_path / "to", "hf", "--shard-records", "3")
    loaded = datasets.load_dataset(str(tmp_path / "to"), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(loaded.features["image"], datasets.Image)
    good = good_rows(nights.output)
    assert len(loaded) == len(good)
    for row in loaded:
        assert same_pixels(row["image"], good.pop(row["record_id"]))


def test_csv_has_columns_and_places(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    nights.rows["odd"] = nights.rows["rec-0001"] | {"record_id": 'a "b", é', "note": "=1+1"}
    cli.run()
    export(cli, tmp_path / "to", "csv", "--any-status")
    (file,) = (tmp_path / "to").glob("*.csv")
    with open(file, newline="") as lines:
        rows = {row["record_id"]: row for row in csv.DictReader(lines)}
    assert len(rows) == 10 and rows["rec-0004"]["error_kind"] == "instruction_unclear"
    assert json.loads(rows['a "b", é']["metadata"]) == {"note": "=1+1"}
    row = rows["rec-0001"]
    query = f"select image.bytes from read_parquet('{row['result_file']}', file_row_number = true)"
    found = duckdb.sql(f"{query} where file_row_number = {row['result_row']}").fetchall()
    assert same_pixels(found[0][0], good_rows(nights.output)["rec-0001"])
    read = duckdb.sql(f"select count(*), sum(num_steps) from read_csv('{file}', all_varchar = false)")
    (counted,) = read.fetchall()
    assert counted[0] == 10
    error = export(cli, tmp_path / "x", "hf", "--any-status", code=2)["error"]
    assert error.startswith("--any-status: ")


def test_what_is_stopped_goes_on(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    """A signal asks it to end; here the callback that is told of progress does."""
    stop = StopRequest()

    def tell(done: int, total: int) -> None:
        if done:
            stop.interrupt("SIGTERM received")

    more = {"form": "webdataset", "shard_records": 2}
    config = load_export({"source": nights.output, "destination": str(tmp_path / "to"), **more}, [])
    with pytest.raises(RunStopped, match="the same command goes on"):
        export_results(config, stop, tell)
    begun = len(list((tmp_path / "to").glob("*.tar")))
    assert 1 <= begun < 4
    nights.add(1)
    cli.run()
    found = export_results(config)
    assert found.already == 2 * begun and found.exported == 9 - 2 * begun
    assert len(list((tmp_path / "to").glob("*.tar"))) == 5, "what was begun, and then what has come since"


def test_what_was_begun_is_finished_though_it_is_not_chosen_now(
    cli: Commands, nights: Nights, tmp_path: Path
) -> None:
    test_what_is_stopped_goes_on(cli, nights, tmp_path)
    for done in (tmp_path / "to" / ".mira-batch").glob("*/done.json"):
        done.unlink()
    (tmp_path / "to" / "edited-00001-00003.tar").unlink()
    found = export(cli, tmp_path / "to", "webdataset", "--shard-records", "2", "--where", "false")
    assert found["left_over"] == 2 and found["exported"] == 0 and add_up(found)
    assert len(list((tmp_path / "to").glob("*.tar"))) == 5


def test_a_forgotten_run_is_said(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    (file,) = Path(nights.output).glob("*/results/part-00000.parquet")
    config = load_export({"source": nights.output, "destination": str(tmp_path / "to"), "form": "hf"}, [])
    choice = choose(config, lambda: None)
    with spool_by_file(CHOSEN) as spool:
        for table in choice.tables:
            spool.add(table)
        file.unlink()
        with pytest.raises(StoreError, match="If `mira-batch forget` has deleted it"):
            list(read_each_file(choice.output, spool, ["image"], config.storage, lambda: None))


def test_a_source_is_named_once(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    error = cli.json("export", tmp_path / "to", "--as", "csv", code=2)["error"]
    assert "one of them" in error
    (run,) = Path(nights.output).glob("*/run.json")
    error = export(cli, run.parent, "folder", code=2)["error"]
    assert "is the directory of a run" in error
    error = export(cli, nights.output, "folder", code=2)["error"]
    assert "is the directory of all runs" in error
    for inside in (run.parent / "results", Path(nights.output) / "catalogue"):
        before = files_of(inside)
        error = export(cli, inside, "csv", code=2)["error"]
        assert f"{inside}: belongs to {nights.output}/" in error and files_of(inside) == before
    text = cli.text("export", tmp_path / "to", "--as", "folder", "--config", cli.config)
    assert "8 of 9 records exported" in text and "1 not ok" in text
    error = export(cli, tmp_path / "to", "folder", "--set", "shard_records=0", code=2)["error"]
    assert "shard_records" in error
