"""A run that the release before the reorganisation began, and that was killed, goes on with this one.

What lies in `tests/data/old_run` was made by the old release; see the README there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_catalogue, read_trajectories, run
from mira_batch.models.embedded.grammar import parse
from tests.data.old_run.make import CONFIG, FILES, FOUR, HERE, HOME, outcome, planned
from tests.support.runs.edits import find_run

EXPECTED: dict[str, Any] = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
"""What the old release said of the run, as it was left and after it had gone on itself."""
RECORDS: dict[str, dict[str, Any]] = EXPECTED["records"]
LEFT: dict[str, Any] = EXPECTED["interrupted"]["status"]
DONE: dict[str, Any] = EXPECTED["complete"]["status"]
FOUR_EDITS = [
    "flip the image vertically",
    "make the image sepia",
    "sharpen the image by 150%",
    "add a 2 pixel red border around the image",
]
COMMITTED = {
    name: RECORDS[name]
    for index, shard in enumerate(EXPECTED["plan"]["shards"])
    if f"part-{index:05d}.parquet" in EXPECTED["interrupted"]["committed"]
    for name in shard
}
"""Those of the old release's own result files."""
COUNTS = ("run", "run_id", "planned", "committed", "rejected", "skipped", "shards", "failed", "steps")
COUNTS += ("resumed_steps", "errors", "restarts", "retries", "results", "complete")
ENDED = ("ok", "unfinished", "stops")
"""Those of which the old release said otherwise: it counted as ok what a limit had ended, and did not ask the
policy whether the last edit that it may name was all."""
DONE_IN_FOUR = {"rec-05", "rec-09"}
"""Records that need the four edits that they may have; of the others that had four a fifth is missing."""


def as_read(records: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the old release made, as it is read today."""
    early = {"status": "unfinished"}
    return {n: r | early if r["stop_reason"] == "max_steps" else r for n, r in records.items()}


def as_made(records: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same records made today: the same steps and images."""
    edits = "flip the image vertically; make the image sepia; sharpen the image by 150%; "
    last = f"4 of 4 edits are done ({edits}add a 2 pixel red border around the image)"
    done = {"status": "ok", "stop_reason": "policy_stop", "final_thought": last}
    read = as_read(records)
    return {name: record | (done if name in DONE_IN_FOUR else {}) for name, record in read.items()}


def ends_of(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    statuses = Counter(record["status"] for record in records.values())
    stops = Counter(record["stop_reason"] for record in records.values() if record["stop_reason"])
    return {"ok": statuses["ok"], "unfinished": statuses["unfinished"], "stops": dict(stops)}


GONE_ON = as_made(RECORDS) | as_read(COMMITTED)
"""The whole run, begun by the old release and finished by this one."""


@pytest.fixture
def old() -> Iterator[Path]:
    """The run's directory, as the old release left it, in the only place where it can go on."""
    with _alone(HOME):
        shutil.copytree(FILES, HOME, dirs_exist_ok=True)
        yield HOME / "out" / EXPECTED["run_id"]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """An empty folder that no other test process uses; it is removed afterwards. It is its own lock."""
    while True:
        folder.mkdir(exist_ok=True)
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another has just removed it
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists() and os.path.samestat(os.fstat(lock), os.stat(folder)):
            break
        os.close(lock)
    try:
        for left in folder.iterdir():  # by a test process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
    finally:
        shutil.rmtree(folder)
        os.close(lock)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: when it was written, and what it holds."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


OLD_GRAMMAR = "1"
"""The version of the grammar that the old release had. Today's is another, since instructions have come to
mean other things, and so a run of today would be another run. Those of the old run mean what they did."""
MEANINGS = {
    "rotate it a quarter turn clockwise": ["rotate the image 90 degrees clockwise"],
    FOUR: FOUR_EDITS,
    f"{FOUR}, then blur it": [*FOUR_EDITS, "blur the image with a radius of 4 pixels"],
    "make it black and white, then mirror it": [
        "make the image black and white",
        "mirror the image horizontally",
    ],
    "mirror it": ["mirror the image horizontally"],
    "crop it square and shrink it to 50%": [
        "crop the image to the aspect ratio 1:1",
        "scale the image to 50%",
    ],
    "brighten it by 20% and put a 4 px blue border around it": [
        "increase the brightness of the image by 20%",
        "add a 4 pixel blue border around the image",
    ],
    "please invert it, then make it 20% brighter – thanks!": [
        "invert the colors of the image",
        "increase the brightness of the image by 20%",
    ],
    "make it sepia, then rotate it by 90 degrees": [
        "make the image sepia",
        "rotate the image 90 degrees clockwise",
    ],
    "blur it, then flip it upside down": [
        "blur the image with a radius of 4 pixels",
        "flip the image vertically",
    ],
    "increase the contrast by 30%": ["increase the contrast of the image by 30%"],
    "make it black and white, then frobnicate the gizmo": None,
    "frobnicate the gizmo": None,
}
"""What the old release made of each instruction of the run; None where it refused it."""


@pytest.fixture(autouse=True)
def _old_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "VERSION", OLD_GRAMMAR)


def test_its_instructions_mean_what_they_did() -> None:
    assert {record["instruction"] for record in RECORDS.values()} == MEANINGS.keys()
    for instruction, meaning in MEANINGS.items():
        if meaning is None:
            with pytest.raises(parse.InstructionUnclear, match="frobnicate the gizmo"):
                parse.parse(instruction)
        else:
            assert [operation.describe() for operation in parse.parse(instruction)] == meaning


def cli(*arguments: str) -> Any:
    """What the command line, with the old grammar, says of the run, in JSON."""
    program = "import sys; from mira_batch import cli; from mira_batch.models.embedded.grammar import parse; "
    program += f"parse.VERSION = {OLD_GRAMMAR!r}; sys.exit(cli.main())"
    command = [sys.executable, "-c", program, *arguments, "--config", str(CONFIG), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def counts_of(summary: Any) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in COUNTS}


def test_its_figures_are_the_old_ones(old: Path) -> None:
    before = snapshot(old)
    now = cli("status")
    for name in ("seconds", "spent"):  # sums of floats, whose order may be another
        assert now[name] == pytest.approx(LEFT[name]), name
    same = [name for name in LEFT if name not in ("seconds", "spent", *ENDED)]
    assert {name: now[name] for name in same} == {name: LEFT[name] for name in same}
    assert {name: now[name] for name in ENDED} == ends_of(as_read(COMMITTED))
    assert (LEFT["ok"], now["ok"], now["unfinished"]) == (7, 5, 2)
    assert snapshot(old) == before


def test_its_sums_are_taken_for_what_they_are(old: Path) -> None:
    """They spare a read per shard of a large run; where one counts, its shards' own receipts don't."""
    [file] = old.glob("receipts/*.json")
    sums = json.loads(file.read_bytes())
    assert sums["shards"] == [[0, 0]]
    sums["total"]["steps"] += 1000
    sums["total"]["errors"]["instruction_unclear"] += 100
    file.write_text(json.dumps(sums))
    summary = run(load_config(CONFIG))
    assert summary.steps == DONE["steps"] + 1000
    assert summary.errors == DONE["errors"] | {
        "instruction_unclear": DONE["errors"]["instruction_unclear"] + 100
    }


@pytest.mark.parametrize("shape", ['{"shards": 3, "total": {}}', '{"shards": [[0, 0]], "total": []}', "{}"])
def test_a_sum_of_another_shape_is_left_aside(old: Path, shape: str) -> None:
    [file] = old.glob("receipts/*.json")
    file.write_text(shape)
    summary = run(load_config(CONFIG))
    assert summary.steps == DONE["steps"]


def test_its_files_can_be_read(old: Path) -> None:
    assert outcome(str(old)) == as_read(COMMITTED)
    catalogue = read_catalogue(str(old.parent), columns=["record_id", "work_id", "status", "result_digest"])
    assert {row.pop("record_id"): row for row in catalogue.to_pylist()} == {
        name: {column: record[column] for column in ("work_id", "status", "result_digest")}
        for name, record in as_read(COMMITTED).items()
    }


@pytest.mark.parametrize("named_by", ["config.yaml", "run.json"])
def test_it_goes_on(old: Path, named_by: str) -> None:
    before, logged = snapshot(old), _logged_steps(old)
    config = load_config(CONFIG if named_by == "config.yaml" else old / "run.json")

    summary = run(config)
    assert find_run(old.parent).name == EXPECTED["run_id"]
    assert counts_of(summary) == {name: DONE[name] for name in COUNTS}
    assert summary.already == LEFT["committed"]
    assert {name: getattr(summary, name) for name in ENDED} == ends_of(GONE_ON)
    assert outcome(str(old)) == GONE_ON

    after = snapshot(old)
    kept = {name: file for name, file in before.items() if not name.startswith("state/")}
    assert {name for name in kept if name.startswith("results/")} == {
        f"results/{name}" for name in EXPECTED["interrupted"]["committed"]
    }
    assert {name: after[name] for name in kept} == kept, "what stood is as it was, to the byte"
    assert not [name for name in after if name.endswith(".step")]

    assert summary.resumed_steps - LEFT["resumed_steps"] == len(logged) >= 1
    assert logged.items() <= _seconds_of_steps(old).items(), "these very steps, not others with their pixels"

    again = run(config)
    assert again.already == DONE["committed"]
    assert counts_of(again) == counts_of(summary) and snapshot(old) == after


def _logged_steps(old: Path) -> dict[tuple[str, int], dict[str, float]]:
    """(work_id, step) -> what it took, of the steps that the killed process has logged."""
    logged = {}
    for name in EXPECTED["interrupted"]["steps"]:
        header = json.loads((old / name).read_bytes().split(b"\n", 3)[2])
        logged[header["work_id"], header["step"]["index"]] = header["step"]["seconds"]
    return logged


def _seconds_of_steps(old: Path) -> dict[tuple[str, int], dict[str, float]]:
    steps = read_trajectories(str(old), images=False).to_pylist()
    return {(step["work_id"], step["index"]): step["seconds"] for step in steps}


def test_it_is_whole_in_the_end(old: Path) -> None:
    run(load_config(CONFIG))
    counts = {name: ends_of(GONE_ON)[name] for name in ("ok", "unfinished")} | {"failed": DONE["failed"]}
    assert cli("verify") == EXPECTED["complete"]["verdict"] | counts
    now = cli("status")
    assert {name: now[name] for name in COUNTS} == {name: DONE[name] for name in COUNTS}
    assert now["written"] == sum(path.stat().st_size for path in old.glob("results/*"))
    for name in ("seconds", "spent"):  # what the old release took is in them
        assert all(now[name][kind] >= seconds for kind, seconds in LEFT[name].items()), name
    assert now["spent"]["worker"] > LEFT["spent"]["worker"]


def test_another_run_leaves_out_what_it_has(old: Path) -> None:
    before = snapshot(old)
    summary = run(load_config(CONFIG, ["run_id=another"]))
    done_before = {name for name, record in as_read(COMMITTED).items() if record["status"] == "ok"}
    assert len(done_before) == 5
    assert (summary.skipped, summary.planned) == (5, DONE["planned"] - 5)
    assert summary.complete and summary.resumed_steps == 4, "it takes over the steps that were logged"
    made = {name: record for name, record in RECORDS.items() if name not in done_before}
    assert outcome(summary.run) == as_made(made), "by their work_ids, too"
    after = snapshot(old)
    assert after.items() <= before.items()
    gone = [name for name in before if name not in after]
    assert len(gone) == 4 and all(name.endswith(".step") for name in gone), "nobody needs them any more"
    columns = ["record_id", "work_id", "result_digest"]
    assert {tuple(row.values()) for row in read_catalogue(str(old.parent), columns).to_pylist()} == {
        (name, record["work_id"], record["result_digest"]) for name, record in RECORDS.items()
    }


def test_a_run_from_scratch_gives_the_same(old: Path) -> None:
    """Under another output, where nothing is left out: each work_id, seed and pixel is the old release's."""
    summary = run(load_config(CONFIG, [f"output.uri={HOME}/elsewhere"]))
    assert summary.run_id == EXPECTED["run_id"] and summary.resumed_steps == 0
    assert planned(Path(summary.run)) == planned(old) == EXPECTED["plan"]
    assert outcome(summary.run) == as_made(RECORDS)
