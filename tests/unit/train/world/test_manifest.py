"""Tasks written as an ordinary manifest, and run by the config that ships."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mira_batch import read_outputs
from mira_batch.cli import main as mira_batch
from mira_batch.train.world.__main__ import main
from mira_batch.train.world.instructions import Goal, read_goal
from mira_batch.train.world.models import score_scene
from mira_batch.train.world.scenes import LARGE, Scene, read_scene
from mira_batch.train.world.tasks import generate_tasks
from tests.support import ROOT


def write(folder: Path, *more: str, split: str = "val", tasks: int = 40) -> Path:
    assert main(["--split", split, "--tasks", str(tasks), "--to", str(folder), *more]) == 0
    return folder / f"{split}.parquet"


def read_png(data: bytes) -> Scene:
    return read_scene(Image.open(io.BytesIO(data)))


def test_a_manifest_holds_the_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "--seed", "5", "--world", "large", tasks=30)
    assert capsys.readouterr().out == f"{path}: 30 tasks\n"
    rows = pq.read_table(path).to_pylist()
    for row, task in zip(rows, generate_tasks("val", 30, 5, LARGE), strict=True):
        assert read_png(row["image"]["bytes"]) == task.scene
        assert (row["record_id"], row["instruction"]) == (task.name, task.instruction)
        assert (row["clauses"], row["kinds"]) == (len(task.kinds), " + ".join(task.kinds))


def test_the_same_tasks_are_no_change_and_others_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, tasks=3)
    before = path.read_bytes()
    assert write(tmp_path, tasks=3).read_bytes() == before
    assert main(["--split", "val", "--tasks", "4", "--to", str(tmp_path)]) == 2
    assert "holds other tasks" in capsys.readouterr().err
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]


def test_no_number_of_tasks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("0", "-1", "many"):
        with pytest.raises(SystemExit):
            main(["--split", "val", "--tasks", wrong, "--to", str(tmp_path)])
    assert "must be 1 or more" in capsys.readouterr().err


def read_goals(manifest: Path) -> dict[str, Goal]:
    rows = pq.read_table(manifest).to_pylist()
    return {row["record_id"]: read_goal(row["instruction"], read_png(row["image"]["bytes"])) for row in rows}


def run(folder: Path, *sets: str) -> tuple[list[dict[str, object]], Path]:
    """Rows of a run of the shipped config, and where it is."""
    chosen = [
        f"input.manifest={folder / 'val.parquet'}",
        f"output.uri={folder / 'out'}",
        *sets,
    ]
    command = ["run", "-c", str(ROOT / "configs" / "world-expert.yaml")]
    assert mira_batch([*command, *(part for one in chosen for part in ("--set", one))]) == 0
    (about,) = (folder / "out").glob("*/run.json")
    columns = ["record_id", "status", "stop_reason", "image", "steps", "metadata"]
    return read_outputs(str(about.parent), columns).to_pylist(), about.parent


def test_the_shipped_config_runs_and_the_truth_of_what_is_finished_is_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = write(tmp_path)
    goals = read_goals(manifest)
    rows, place = run(tmp_path, "editor.options.failures=0.35")
    statuses = Counter((row["status"], row["stop_reason"]) for row in rows)
    assert statuses.total() == 40
    # Two edits in a row are lost now and then, and the loop takes that for no progress.
    assert {*statuses} == {("ok", "policy_stop"), ("unfinished", "no_progress")}
    lost = 0
    for row in rows:
        goal = goals[str(row["record_id"])]
        score = score_scene(goal, read_png(row["image"]["bytes"])).score  # type: ignore[index]
        assert (score == 1.0) is (row["status"] == "ok")
        lost += sum(step["before"] == step["after"] for step in row["steps"])  # type: ignore[attr-defined]
        assert json.loads(str(row["metadata"]))["clauses"] == len(goal.clauses)
    assert lost > 10
    capfd.readouterr()
    assert mira_batch(["status", str(place), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["complete"] and (told["committed"], told["failed"]) == (40, 0)
    assert told["ok"] == statuses["ok", "policy_stop"]
    assert told["unfinished"] == statuses["unfinished", "no_progress"]


def test_single_shot_is_worse_and_says_nothing_of_it(tmp_path: Path) -> None:
    """The whole instruction goes to the editor once, without the expert and without a judge in the loop."""
    manifest = write(tmp_path)
    goals = read_goals(manifest)
    rows, _ = run(tmp_path, "policy={type: passthrough}", "judge=null", "output.step_images=drop")
    scores = [
        score_scene(goals[str(row["record_id"])], read_png(row["image"]["bytes"])).score  # type: ignore[index]
        for row in rows
    ]
    assert {row["status"] for row in rows} == {"ok"}
    assert sum(score == 1.0 for score in scores) < 20
