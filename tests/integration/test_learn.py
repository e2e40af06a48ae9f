"""`make learn` from its first stage to its page, small: real jobs, the real model class, real trainers."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.learn.chain import Chain
from benchmarks.learn.command import RESULTS, learn
from benchmarks.learn.editor_ways import EDITOR_TARGETS, EDITOR_WAYS
from benchmarks.learn.page import PAGE, print_table
from benchmarks.learn.sizes import EditorSize, Size
from benchmarks.learn.successes import read_solved
from benchmarks.learn.ways import WAYS
from mira_batch import read_outputs
from mira_batch.core.errors import RunConflict, UserError
from mira_batch.train.world.instructions import read_goal
from mira_batch.train.world.scenes import read_scene

TINY = Size(
    pretrain_steps=6, demonstrations=48, sft_steps=2, plain_demonstrations=32, plain_steps=1, iterations=1,
    records=2, rollouts=2, training_tasks=4, validation_tasks=2, test_tasks=6, batch=4, max_steps=2,
    editor=EditorSize(
        vae_steps=4, pretrain_steps=4, pairs=24, sft_steps=2, iterations=1, records=2, rollouts=2,
        training_tasks=8, validation_tasks=2, test_tasks=8, verdicts=1, judge_steps=40,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def learned(
    tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> Iterator[tuple[Path, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("learn")
    yield folder, learn(TINY, 1, folder, print)


def count(folder: Path, way: str) -> tuple[int, int]:
    """Tasks that a way solved, and all: from its result files alone, by the pixels."""
    run = folder / "seed-0" / "ways" / way / "run"
    tasks = {
        row["record_id"]: row
        for row in pq.read_table(folder / "seed-0" / "tasks" / "test.parquet").to_pylist()
    }
    rows = read_outputs(str(run), columns=["record_id", "status", "image"]).to_pylist()
    assert {row["record_id"] for row in rows} == tasks.keys() and len(rows) == len(tasks)
    solved = 0
    for row in rows:
        if row["status"] != "failed":
            task = tasks[row["record_id"]]
            goal = read_goal(task["instruction"], read_scene(decode(task["image"]["bytes"])))
            solved += read_scene(decode(row["image"]["bytes"])) == goal.target
    return solved, len(rows)


def decode(data: bytes) -> Any:
    return Image.open(io.BytesIO(data)).convert("RGB")


def test_ways_without_a_model_are_counted_as_they_are(tmp_path: Path) -> None:
    chain = Chain(tmp_path / "seed-0", replace(TINY, test_tasks=12), 0, print)
    chain.write_tasks()
    for way in WAYS:
        if way.name in ("single", "expert"):
            assert chain.measure(way) == {"records": 12}
            run, scores = (str(chain.folder / part / way.name / "run") for part in ("ways", "scores"))
            found = read_solved(run, scores, 12)
            assert (sum(found["solved"].values()), len(found["solved"])) == count(tmp_path, way.name)
            assert sum(found["ends"].values()) == 12
            with pytest.raises(UserError, match="has 12 of 13 tasks"):
                read_solved(run, scores, 13)


@pytest.mark.soak
def test_the_table_counts_what_the_runs_did(learned: tuple[Path, dict[str, Any]]) -> None:
    folder, found = learned
    rows = {row["name"]: row for row in found["ways"]}
    assert rows.keys() == {way.name for way in WAYS}
    for name, row in rows.items():
        assert (row["solved"], row["tasks"]) == count(folder, name)
        assert sum(row["ends"].values()) == row["tasks"] == TINY.test_tasks
        assert row["value"] == row["solved"] / row["tasks"] and row["low"] <= row["value"] <= row["high"]
    assert rows["expert"]["solved"] > 0  # of a table of nothing but zeros the counts would be right as well
    for target in found["targets"]:
        assert target["met"] == (target["value"] >= target["least"])
    assert json.loads((folder / RESULTS).read_text()) == json.loads(json.dumps(found))
    page = (folder / PAGE).read_text()
    for row in rows.values():
        assert f"{row['solved']} of {row['tasks']}" in page
        assert (folder / f"seed-0/ways/{row['name']}/run/report.html").exists()
    assert all((folder / f"seed-0/compared/{pair}.html").exists() for pair in found["pairs"])
    editors = {row["name"]: row for row in found["editors"]["ways"]}
    assert editors.keys() == {way.name for way in EDITOR_WAYS}
    for name, row in editors.items():
        assert row["tasks"] == (6 if name.startswith("loop") else 8) and 0 <= row["spared"] <= 1
        place = folder / "seed-0" / "editor" / "ways" / name / "run"
        assert len(read_outputs(str(place), columns=["record_id"])) == row["tasks"]
        assert (place / "report.html").exists()
    told = {target["title"] for target in found["editors"]["targets"]}
    assert told >= {target.title for target in EDITOR_TARGETS}
    assert len([*print_table(found)]) > len(rows) + len(editors)


@pytest.mark.soak
def test_no_stage_is_made_twice_and_a_lost_one_is_made_again(learned: tuple[Path, dict[str, Any]]) -> None:
    folder, found = learned
    lines: list[str] = []
    assert learn(TINY, 1, folder, lines.append)["ways"] == found["ways"]
    assert len(lines) == 1
    (folder / "seed-0" / "stages" / "way-plan.json").unlink()
    shutil.rmtree(folder / "seed-0" / "scores" / "plan")  # as if killed between the two jobs of the stage
    assert learn(TINY, 1, folder, lines.append)["ways"] == found["ways"]
    assert [line for line in lines if "] " in line] == ["seed 0, policy: [8/17] way-plan"]


@pytest.mark.soak
def test_another_size_is_refused(learned: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(RunConflict, match="of another size"):
        learn(replace(TINY, test_tasks=7), 1, learned[0], print)
