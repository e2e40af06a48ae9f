"""From sessions of data sets to instructions, candidates for the edit job, and samples."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch import load_config, run
from mira_batch.config.construct import ConstructConfig, ParaphraseConfig
from mira_batch.construct.paraphrase import draw_seed, paraphrase_by_grammar
from mira_batch.construct.run import construct
from mira_batch.core.errors import DataSetError
from mira_batch.storage.schema import IMAGE, add_features
from tests.support.runs.astray import read_samples
from tests.support.servers.models import Answer, Asked, ModelServer

TURNS = ("Add a red hat to the dog", "Paint the fence white", "Remove the bicycle")


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (number * 7 % 256, number % 256, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def own(folder: Path, **more: Any) -> dict[str, Any]:
    """Two sessions of the user's own; the second refers back."""
    for number in range(8):
        (folder / f"{number}.png").write_bytes(png(number))
    turns = [{"instruction": text, "image": f"{number}.png"} for number, text in enumerate(TURNS, 1)]
    back = [
        {"instruction": "Add a hat to the cat", "image": "5.png"},
        {"instruction": "Make it blue too", "image": "6.png"},
    ]
    rows = [
        {"session_id": "a", "image": "0.png", "turns": turns, "licence": "CC0-1.0"} | more,
        {"session_id": "b", "image": "4.png", "turns": back},
    ]
    (folder / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"type": "sessions", "data": str(folder / "s.jsonl")}


def magicbrush(folder: Path) -> dict[str, Any]:
    fields = [("img_id", pa.string()), ("turn_index", pa.int32()), ("source_img", IMAGE), ("mask_img", IMAGE)]
    fields += [("instruction", pa.string()), ("target_img", IMAGE)]
    rows = [
        {
            "img_id": "7",
            "turn_index": number,
            "source_img": {"bytes": png(number - 1), "path": None},
            "mask_img": None,
            "instruction": text,
            "target_img": {"bytes": png(number), "path": None},
        }
        for number, text in enumerate(TURNS, 1)
    ]
    pq.write_table(pa.Table.from_pylist(rows, add_features(pa.schema(fields))), folder / "train.parquet")
    return {"type": "magicbrush", "data": str(folder)}


def imgedit(folder: Path) -> dict[str, Any]:
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(number))
    turns = [
        {"input_images": [f"{n}.png"], "output_images": [f"{n + 1}.png"], "prompt": text}
        for n, text in enumerate(TURNS)
    ]
    (folder / "a.json").write_text(json.dumps({"data": turns}))
    backtracking = [turns[0], turns[1] | {"input_images": ["0.png"]}]
    (folder / "b.json").write_text(json.dumps({"data": backtracking}))
    return {"type": "imgedit", "data": str(folder)}


def nhr_edit(folder: Path) -> dict[str, Any]:
    (folder / "train" / "images").mkdir(parents=True)
    for number in range(4):
        (folder / "train" / "images" / f"{number}.png").write_bytes(png(number))
    rows = [
        {
            "sample_id": str(number),
            "source_file_name": "images/0.png",
            "edited_file_name": f"images/{number}.png",
            "edit_instruction": text,
        }
        for number, text in enumerate(TURNS, 1)
    ]
    (folder / "train" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"type": "nhr-edit", "data": str(folder)}


def complex_edit(folder: Path) -> dict[str, Any]:
    compound = [{"compound_instruction": f"all of the first {n}, please"} for n in (1, 2, 3)]
    row = {
        "image": {"bytes": png(0), "path": None},
        "edit": {"sequence": [{"instruction": text} for text in TURNS], "compound": compound},
    }
    pq.write_table(pa.Table.from_pylist([row]), folder / "test_real.parquet")
    return {"type": "complex-edit", "data": str(folder)}


def pico_banana(folder: Path) -> dict[str, Any]:
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(number))
    files = [
        {"id": "edit_turn1", "url": "1.png"},
        {"id": "edit_turn2", "url": "2.png"},
        {"id": "final_image", "url": "3.png"},
        {"id": "original_input_image", "url": "https://example.org/far/0.png"},
    ]
    row = {"files": files, "metadata_edit_turn_prompts": list(TURNS)}
    lost = row | {"files": [file for file in files if file["id"] != "original_input_image"]}
    (folder / "multi-turn.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(lost)}\n")
    return {"type": "pico-banana", "data": str(folder)}


def configure(source: dict[str, Any], out: Path, **more: Any) -> ConstructConfig:
    return ConstructConfig.model_validate({"output": {"uri": str(out)}, "sources": [source]} | more)


def read(out: Path, folder: str) -> list[dict[str, Any]]:
    return [
        row for file in sorted(out.glob(f"{folder}/*.parquet")) for row in pq.read_table(file).to_pylist()
    ]


@pytest.mark.parametrize(
    ("make", "sessions", "dropped", "samples", "licence"),
    [
        (magicbrush, 1, {}, 4, "CC-BY-4.0"),
        (imgedit, 1, {"dropped.no_chain": 1}, 4, None),
        (nhr_edit, 1, {}, 6, "Apache-2.0"),  # each edit by itself, and then stop
        (complex_edit, 3, {}, 0, None),
        (pico_banana, 1, {"dropped.no_original": 1}, 4, "CC-BY-NC-ND-4.0"),
        (own, 2, {}, 6, None),  # four, and of two turns one that refers back
    ],
)
def test_each_data_set_in_its_own_layout(
    tmp_path: Path,
    make: Callable[[Path], dict[str, Any]],
    sessions: int,
    dropped: dict[str, int],
    samples: int,
    licence: str | None,
) -> None:
    (tmp_path / "data").mkdir()
    found = construct(configure(make(tmp_path / "data"), tmp_path / "d"))
    counts = found["sessions"]["counts"]
    assert counts["sessions"] == sessions
    assert {name: n for name, n in counts.items() if name.startswith("dropped")} == dropped
    rows = read_samples(tmp_path / "d")
    assert len(rows) == samples == found["card"]["samples"]
    if make is not own:
        assert {row["licence"] for row in rows} <= {licence}
    else:
        assert {(row["record_id"][-1], row["licence"]) for row in rows} == {("a", "CC0-1.0"), ("b", None)}
        assert found["samples"]["counts"]["dropped.refers_back"] == 1
        assert [x["licence"] for x in found["card"]["licences"]] == ["unknown", "CC0-1.0"]
    candidates = read(tmp_path / "d", "candidates")
    assert len(candidates) == found["candidates"]["counts"]["candidates"] >= sessions


@pytest.mark.parametrize(
    ("make", "file", "old", "new", "words"),
    [
        (
            imgedit,
            "a.json",
            '"prompt"',
            '"text"',
            "turn 1: has no prompt, only input_images, output_images, text",
        ),
        (
            nhr_edit,
            "train/metadata.jsonl",
            "edit_instruction",
            "edit",
            "line 1: has no edit_instruction, only",
        ),
        (pico_banana, "multi-turn.jsonl", '"files"', '"images"', "line 1: has no files, only"),
        (own, "s.jsonl", '"turns"', '"steps"', "line 1: has no turns, only"),
        (own, "s.jsonl", '"licence"', '"license"', "line 1: license is unknown"),
        (own, "s.jsonl", '"b"', '"a"', "line 2: the session 'a' was there before"),
        (own, "s.jsonl", '"0.png"', '"../0.png"', "leads out of"),
        (own, "s.jsonl", "a hat to the cat", "a \\ud83d hat", r"line 2: holds \\ud83d, half of a character"),
        (imgedit, "a.json", "Add a red hat", "Add a \\ud83d", r"a.json: holds \\ud83d, half of a character"),
    ],
)
def test_another_layout_is_refused_with_its_place(
    tmp_path: Path, make: Callable[[Path], dict[str, Any]], file: str, old: str, new: str, words: str
) -> None:
    source = make(tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataSetError, match=words):
        construct(configure(source, tmp_path / "d"))


def test_orders_only_where_somebody_says_so(tmp_path: Path) -> None:
    def instructions(name: str, source: dict[str, Any], **merge: Any) -> list[str]:
        construct(configure(source, tmp_path / name, merge=merge))
        return [
            row["instruction"] for row in read(tmp_path / name, "merged") if row["session_id"].endswith("/a")
        ]

    plain = "Add a red hat to the dog, then paint the fence white, then remove the bicycle."
    assert instructions("one", own(tmp_path), orders=6) == [plain]
    assert len(instructions("text", own(tmp_path), orders=6, independent="text")) == 6
    said = instructions("said", own(tmp_path, independent=True), orders=3)
    assert len(said) == 3 and said[0] == plain
    owner = instructions("owner", own(tmp_path, instruction="Do it all"))
    assert owner == ["Do it all"]


def test_the_first_turns_are_what_their_own_instruction_asks_for(tmp_path: Path) -> None:
    construct(configure(own(tmp_path), tmp_path / "d", samples={"hindsight": "sessions"}))
    rows = [row for row in read_samples(tmp_path / "d") if row["origin"] == "hindsight"]
    assert {row["instruction"] for row in rows if row["record_id"].endswith("/a")} == {
        "Add a red hat to the dog.",
        "Add a red hat to the dog, then paint the fence white.",
    }
    assert {row["kind"] for row in rows} == {"start", "continue", "stop"}


def test_where_a_turn_shows_nothing_it_is_not_time_to_stop(tmp_path: Path) -> None:
    """Its image is that of the turn before: a picture that was taken twice, say."""
    source = own(tmp_path)
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes())
    text = (tmp_path / "s.jsonl").read_text()
    (tmp_path / "s.jsonl").write_text(text, encoding="utf-8-sig")  # as editors on Windows save it
    found = construct(configure(source, tmp_path / "d", samples={"hindsight": "sessions"}))
    rows = [row for row in read_samples(tmp_path / "d") if row["record_id"].endswith("/a")]
    made = {(row["origin"], row["edit"]) for row in rows}
    assert made == {
        ("trajectory", TURNS[0]),
        ("recovery", TURNS[2]),
        ("hindsight", TURNS[0]),
        ("hindsight", None),  # all that its own instruction asks for is there
    }
    counts = found["samples"]["counts"]
    assert counts["dropped.unchanged"] == counts["dropped.unfinished"] == 1


def test_the_grammar_keeps_every_edit(tmp_path: Path) -> None:
    config = ParaphraseConfig(count=8)
    texts = {paraphrase_by_grammar("x", TURNS, draw_seed(config, "x", number)) for number in range(40)}
    assert len(texts) > 20
    for text in texts:
        places = [
            text.casefold().find(words) for words in ("red hat to the dog", "fence white", "the bicycle")
        ]
        assert -1 not in places and places == sorted(places)
    assert paraphrase_by_grammar("x", TURNS, 5) == paraphrase_by_grammar("x", TURNS, 5)


def test_paraphrases_are_kept_with_their_origin_and_counted(tmp_path: Path) -> None:
    found = construct(configure(own(tmp_path), tmp_path / "d", paraphrase={"count": 4}))
    counts = found["paraphrase"]["counts"]
    assert counts["asked"] == 2 * 5 == counts["instructions"] + counts.get("dropped.duplicate", 0)
    rows = read(tmp_path / "d", "paraphrased")
    assert {row["by"] for row in rows} == {"merge", "grammar/1"}
    assert {row["merged"] for row in rows} == {row["instruction"] for row in rows if row["by"] == "merge"}


def test_a_served_model_paraphrases(tmp_path: Path, server: ModelServer) -> None:
    calls: list[str] = []

    def reword(asked: Asked) -> Answer:
        calls.append(asked.text)
        return Answer("" if len(calls) % 4 == 0 else f"Reworded {len(calls)}")

    server.script = reword
    model = {"type": "openai", "model": "m", "base_url": server.url, "retry_seconds": 5}
    paraphrase = {"count": 2, "model": model}
    found = construct(configure(own(tmp_path), tmp_path / "d", paraphrase=paraphrase))
    counts = found["paraphrase"]["counts"]
    assert counts["asked"] == 6 == counts["instructions"] + counts["dropped.no_answer"]
    rows = [row for row in read(tmp_path / "d", "paraphrased") if row["by"] != "merge"]
    assert len(rows) == 3 and all(row["by"].startswith("openai m rewrite/1") for row in rows)
    before = len(calls)
    construct(configure(own(tmp_path), tmp_path / "d", paraphrase=paraphrase))
    assert len(calls) == before == 4


def test_candidates_are_a_manifest_whose_runs_come_back_as_a_source(tmp_path: Path) -> None:
    """The whole chain: sessions, candidates, a real run of the edit job, and samples of its trajectories."""
    rows = [
        {
            "session_id": "a",
            "image": "0.png",
            "turns": [{"instruction": "mirror it"}, {"instruction": "make it sepia"}],
        }
    ]
    image = Image.linear_gradient("L").rotate(90).resize((24, 16)).convert("RGB")
    image.save(tmp_path / "0.png")
    (tmp_path / "s.jsonl").write_text(json.dumps(rows[0]))
    source = {"type": "sessions", "data": str(tmp_path / "s.jsonl"), "name": "mine", "licence": "CC0-1.0"}
    construct(configure(source, tmp_path / "d"))
    config = {
        "input": {"manifest": str(tmp_path / "d" / "candidates" / "*.parquet")},
        "output": {"uri": str(tmp_path / "edited")},
        "policy": {"type": "rules"},
        "editor": {"type": "pillow"},
        "backend": "inline",
    }
    made = run(load_config(config))
    assert made.ok == 1
    construct(configure({"type": "runs", "uri": made.run}, tmp_path / "e"))
    samples = read_samples(tmp_path / "e")
    assert [row["kind"] for row in samples] == ["start", "continue", "stop"]
    assert {(row["dataset"], row["licence"]) for row in samples} == {("mine", "CC0-1.0")}
