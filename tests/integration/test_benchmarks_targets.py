"""MagicBrush: results against the images that people accepted, of single turns and of chains of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.models.similarity import write_clip, write_dino
from tests.support.published import EDITS, UNCLEAR, picture, save_magicbrush, save_magicbrush_rows
from tests.support.runs.benchmarks import edit
from tests.support.runs.commands import Commands
from tests.support.runs.nights import Nights


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(Nights(tmp_path / "night"), capfd)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four sessions. The last one's first turn can't be understood, and of 101 people accepted another image
    in the end than the instruction leads to."""
    folder = save_magicbrush(tmp_path / "test", (1, 2, 3, 2))
    sessions = json.loads((folder / "edit_sessions.json").read_text())
    sessions["103"][0]["instruction"] = UNCLEAR
    (folder / "edit_sessions.json").write_text(json.dumps(sessions))
    picture(77).save(folder / "images" / "101" / "101-output2.png")
    return folder


def distances(one: Image.Image, other: Image.Image) -> tuple[float, float]:
    apart = np.asarray(one.convert("RGB"), float) / 255 - np.asarray(other.convert("RGB"), float) / 255
    return float(np.abs(apart).mean()), float((apart**2).mean())


def prepare(cli: Commands, data: Path, to: Path, *more: str | Path) -> Any:
    return cli.json("benchmark", "prepare", "magicbrush", data, "--to", to, *more)


def test_single_turns_and_chains_from_the_data_set_to_the_table_and_layout(
    cli: Commands, data: Path, tmp_path: Path
) -> None:
    assert prepare(cli, data, tmp_path / "one")["counts"] == {"sessions": 4, "turns": 8, "captions": 8}
    first = edit(cli, tmp_path / "one")
    table = cli.json("benchmark", "table", "magicbrush", first)
    assert (table["items"], table["judged"], table["missing"], table["complete"]) == (8, 7, 1, False)
    assert table["reasons"] == {"the edit failed (instruction_unclear)": 1}
    assert set(table["figures"]) == {"single-turn"} and any(
        "no multi-turn" in note for note in table["notes"]
    )
    images = data / "images"
    mirrored = Image.open(images / "101" / "101-output1.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    l1, l2 = distances(mirrored, picture(77))
    single = table["figures"]["single-turn"]
    assert single["L1"]["value"] == pytest.approx(l1 / 7) and single["L2"]["value"] == pytest.approx(l2 / 7)
    sources = [distances(*map(Image.open, pair)) for pair in list_pairs(images)]
    assert single["unedited"]["L1"] == pytest.approx(np.mean([one for one, _ in sources]))

    found = prepare(cli, data, tmp_path / "two", "--after", first)
    assert found["items"] == 2 and found["left_out"] == [
        "sessions without a result of turn 1: the edit failed (instruction_unclear) 1"
    ]
    second = edit(cli, tmp_path / "two")
    retried = edit(cli, tmp_path / "two", "run_id=again", "output.skip_done=false").with_name("again")
    both = ("--after", second, "--after", retried)
    error = cli.json("benchmark", "prepare", "magicbrush", data, "--to", tmp_path / "three", *both, code=2)
    assert "101_iter_2 has a result in" in error["error"], "which of both is meant is not known"
    assert prepare(cli, data, tmp_path / "three", "--after", second)["items"] == 1
    third = edit(cli, tmp_path / "three")
    last = ("benchmark", "prepare", "magicbrush", data, "--to", tmp_path / "four", "--after", third)
    assert "of the last turn; there is none after it" in cli.json(*last, code=2)["error"]

    table = cli.json("benchmark", "table", "magicbrush", first, second, third)
    multi = table["figures"]["multi-turn"]
    assert (multi["L1"]["judged"], multi["L1"]["missing"]) == (3, 1)
    assert multi["L1"]["value"] == pytest.approx(l1 / 3), "101 alone goes another way than people did"
    assert table["figures"]["single-turn"] == single
    text = cli.text("benchmark", "table", "magicbrush", first, second, third)
    assert "INCOMPLETE: 2 of 12 items are in no mean" in text and "multi-turn, were nothing edited" in text
    error = cli.json("benchmark", "table", "magicbrush", second, code=2)["error"]
    assert "give the run of all single turns" in error
    check_layout(cli, [first, second, third], tmp_path / "testResults")


def list_pairs(images: Path) -> list[tuple[Path, Path]]:
    """The source and the accepted image of each turn."""
    pairs = []
    for folder in sorted(images.iterdir()):
        names = ["input", *(f"output{turn}" for turn in (1, 2, 3))]
        files = [file for name in names if (file := folder / f"{folder.name}-{name}.png").exists()]
        pairs += zip(files, files[1:], strict=False)
    return pairs


def check_layout(cli: Commands, runs: list[Path], to: Path) -> None:
    words = ("benchmark", "layout", "magicbrush", *runs, "--to", to)
    assert "2 of 12 results are missing" in cli.json(*words, code=2)["error"], "103_1 and what follows it"
    found = cli.json(*words, "--partial")
    assert (found["expected"], found["written"]) == (12, 10)
    names = {str(path.relative_to(to)) for path in to.rglob("*.png")}
    assert names == {
        "100/100_1.png", "101/101_1.png", "101/101_inde_2.png", "101/101_iter_2.png", "102/102_1.png",
        "102/102_inde_2.png", "102/102_inde_3.png", "102/102_iter_2.png", "102/102_iter_3.png",
        "103/103_inde_2.png",
    }  # fmt: skip


def test_likeness_by_clip_and_dino(cli: Commands, tmp_path: Path) -> None:
    data = save_magicbrush(tmp_path / "test", (1, 2))
    picture(77).save(data / "images" / "101" / "101-output2.png")
    prepare(cli, data, tmp_path / "one")
    run = edit(cli, tmp_path / "one")
    clip, dino = write_clip(tmp_path / "clip"), write_dino(tmp_path / "dino")
    weights = ("--clip", clip, "--dino", dino, "--device", "cpu")
    table = cli.json("benchmark", "table", "magicbrush", run, *weights)
    means = {
        name: mean["value"] for name, mean in table["figures"]["single-turn"].items() if name != "unedited"
    }
    assert list(means) == ["L1", "L2", "CLIP-I", "DINO", "CLIP-T", "CLIP-T of the target"]
    from mira_batch.models.similarity import Clip, Dino

    results = [Image.open(data / "images" / name) for name in ("100/100-output1.png", "101/101-output1.png")]
    results.append(results[1].transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    targets = [*results[:2], picture(77)]
    texts = ["a picture of 0 after 1", "a picture of 1 after 1", "a picture of 1 after 2"]
    model = Clip(str(clip), "cpu")
    seen, accepted, said = model.embed_images(results), model.embed_images(targets), model.embed_texts(texts)
    assert means["CLIP-I"] == pytest.approx((seen * accepted).sum() / 3, abs=1e-5)
    assert means["CLIP-T"] == pytest.approx((seen * said).sum() / 3, abs=1e-5)
    assert means["CLIP-T of the target"] == pytest.approx((accepted * said).sum() / 3, abs=1e-5)
    see = Dino(str(dino), "cpu").embed_images
    assert means["DINO"] == pytest.approx((see(results) * see(targets)).sum() / 3, abs=1e-5)
    assert means["DINO"] < 0.9999
    (data / "local_descriptions.json").unlink()
    prepare(cli, data, tmp_path / "bare")
    bare = edit(cli, tmp_path / "bare")
    table = cli.json("benchmark", "table", "magicbrush", bare, "--clip", clip)
    assert "CLIP-T" not in table["figures"]["single-turn"]
    assert any("no CLIP-T: some items have no caption" in note for note in table["notes"])
    lonely = ("benchmark", "table", "magicbrush", bare, "--device", "cpu")
    assert "--device: is for --clip and --dino" in cli.json(*lonely, code=2)["error"]


def test_a_split_of_the_hub_has_the_same_turns(cli: Commands, tmp_path: Path) -> None:
    data = save_magicbrush_rows(tmp_path / "dev", {100: (1,), 101: (1, 2)})
    assert prepare(cli, data, tmp_path / "one")["counts"] == {"sessions": 2, "turns": 3}
    rows = [json.loads(line) for line in (tmp_path / "one" / "manifest.jsonl").read_text().splitlines()]
    assert [row["record_id"] for row in rows] == ["100_1", "101_1", "101_inde_2"]
    target = Image.open(tmp_path / "one" / rows[2]["target"])
    assert target.tobytes() == picture(1013).tobytes() and rows[0]["instruction"] == EDITS[0]
    run = edit(cli, tmp_path / "one")
    assert cli.json("benchmark", "table", "magicbrush", run)["complete"]
    assert prepare(cli, data, tmp_path / "two", "--after", run)["items"] == 1
