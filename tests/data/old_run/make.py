"""Makes the run that this folder holds, with the old release (commit 98acb95) and in its environment alone:

    git clone . /tmp/old; cd /tmp/old; git checkout 98acb95; make .venv/.installed
    .venv/bin/python <this file>

It runs the old command line over a small catalogue, lets a SIGTERM end it in order, starts it again, and
kills it with SIGKILL at the very moment at which it publishes a step. What then lies there is `files/`. The
old release finishes the run after that, and what it says of it is `expected.json`.

`outcome` is also what the test reads the new release's results with.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mira_batch import load_config, read_outputs, read_trajectories
from mira_batch import run as finish_it
from mira_batch.core.identity import frame_of

HOME = Path("/tmp/mira-batch-old-run")
"""Where the run was made, and must be put to go on: its settings and its plan hold absolute paths."""
HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
CONFIG = HOME / "config.yaml"
SETTINGS = f"""\
input: {{manifest: {HOME}/catalogue, identity: uri}}
output: {{uri: {HOME}/out}}
policy: {{type: rules}}
editor: {{type: pillow}}
judge: {{model: {{type: rules}}}}
limits: {{max_steps: 4}}
workers: {{records_in_flight: 2, shard_size: 3}}
backend: inline
"""
FOUR = "flip it upside down; make it sepia; sharpen it; then put a 2 px red border around it"
STOPPED = ("rec-05", 1)
"""Once this step of this record is logged, SIGTERM ends the first call."""
KILLED = ("rec-09", 2)
"""While this one is published, SIGKILL ends the second."""
RESULT = ("instruction", "work_id", "status", "stop_reason", "error_kind", "num_steps")
RESULT += (
    "width",
    "height",
    "models",
    "source",
    "source_digest",
    "result_digest",
    "final_thought",
    "metadata",
)
STEP = ("index", "instruction", "thought", "raw_answer", "seed", "attempt", "accepted", "score", "before")
STEP += ("after",)


def outcome(run: str) -> dict[str, Any]:
    """record_id -> all of a run's results that is the same whenever and by whatever release they are made."""
    found: dict[str, Any] = {}
    for row in read_outputs(run).sort_by("record_id").to_pylist():
        kept = {name: row[name] for name in RESULT} | {"image": _digest(row["image"]), "steps": []}
        assert found.setdefault(row["record_id"], kept) is kept, "a record is there twice"
    steps = read_trajectories(run).sort_by([("record_id", "ascending"), ("index", "ascending")])
    for step in steps.to_pylist():
        kept = {name: step[name] for name in STEP} | {"image": _digest(step["image"])}
        found[step["record_id"]]["steps"].append(kept)
    return found


def planned(run: Path) -> dict[str, Any]:
    """What a run's plan says: its shards in order, by their records, and what can't be used."""
    sizes = json.loads((run / "plan" / "plan.json").read_text())["sizes"]
    [file] = (run / "plan").glob("plan-*.parquet")
    with pq.ParquetFile(file) as groups:
        found = [groups.read_row_group(index)["record_id"].to_pylist() for index in range(len(sizes))]
    assert [len(shard) for shard in found] == sizes
    return {"shards": found, "rejects": pq.read_table(run / "plan" / "rejects.parquet").to_pylist()}


def _digest(image: dict[str, Any] | None) -> str | None:
    """Of an image's pixels, as the columns `result_digest` and `after` have it."""
    if image is None:
        return None
    with Image.open(io.BytesIO(image["bytes"])) as opened:
        assert opened.format == "PNG"
        return frame_of(opened.copy()).digest


def pictures() -> dict[str, Image.Image]:
    """Four images, 48 x 32, of which PNG makes little."""
    ramp = Image.linear_gradient("L").resize((48, 32))
    disc = Image.radial_gradient("L").resize((48, 32))
    across = ramp.transpose(Image.Transpose.ROTATE_90).resize((48, 32))
    rgb = Image.merge("RGB", (ramp, across, disc))
    return {
        "sky.png": rgb,
        "field.png": Image.merge("RGB", (disc, ramp, ramp)),
        "glass.png": Image.merge("RGBA", (*rgb.split(), disc)),
        "grey.png": across,
    }


def make_catalogue(folder: Path) -> None:
    """Three manifest files, read in this order: images by name, then embedded, then by name again."""
    (folder / "images").mkdir(parents=True)
    images = pictures()
    for name, image in images.items():
        image.save(folder / "images" / name, optimize=True)
    five = f"{FOUR}, then blur it"
    first = [
        ("sky.png", "rotate it a quarter turn clockwise"),
        ("field.png", five),
        ("grey.png", "make it black and white, then frobnicate the gizmo"),
        ("glass.png", "make it black and white, then mirror it"),
        ("missing.png", "mirror it"),
        ("sky.png", FOUR),
        ("sky.png", ""),
    ]
    second = [
        ("field.png", "crop it square and shrink it to 50%"),
        ("glass.png", "brighten it by 20% and put a 4 px blue border around it"),
        ("sky.png", "please invert it, then make it 20% brighter – thanks!"),
        ("field.png", FOUR),
        ("grey.png", "mirror it"),
    ]
    third = [
        ("grey.png", "make it sepia, then rotate it by 90 degrees"),
        ("missing.png", "mirror it"),
        ("glass.png", "blur it, then flip it upside down"),
        ("sky.png", "frobnicate the gizmo"),
        ("sky.png", five),
        ("field.png", "increase the contrast by 30%"),
    ]
    number = 0

    def rows(chosen: list[tuple[str, str]]) -> list[dict[str, Any]]:
        nonlocal number
        made = []
        for image, instruction in chosen:
            row = {"record_id": f"rec-{number:02d}", "image": f"images/{image}", "instruction": instruction}
            made.append(row | {"sku": number, "name": f"Stück {number}"})
            number += bool(instruction)
        return made

    _write_lines(folder / "a.jsonl", rows(first))
    embedded = [row | {"image": _embedded(row["image"], images)} for row in rows(second)]
    pq.write_table(pa.Table.from_pylist(embedded), folder / "b.parquet", row_group_size=2)
    _write_lines(folder / "c.jsonl", rows(third))


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _embedded(name: str, images: dict[str, Image.Image]) -> dict[str, Any]:
    data = io.BytesIO()
    images[name.removeprefix("images/")].save(data, "png", optimize=True)
    return {"bytes": data.getvalue(), "path": name}


def drive(what: str, work: str, step: int) -> int:
    """The old command line in this process, which a signal meets at this step of this record."""
    from mira_batch.cli import main

    worker_class = import_module("mira_batch.distributed.worker").ShardWorker
    link, stopping, stop = os.link, threading.Event(), worker_class.stop
    awaited = f"/{work}/{step}.step"

    def stopped(worker: Any) -> None:
        stop(worker)
        stopping.set()

    def linked(source: str, target: str) -> None:
        if what == "kill" and target.endswith(awaited):
            os.kill(os.getpid(), signal.SIGKILL)
        link(source, target)
        if what == "stop" and target.endswith(awaited):
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopping.wait(30)

    os.link, worker_class.stop = linked, stopped
    socket.gethostname = lambda: "old-host"
    return main(["run", "--config", str(CONFIG)])


def cli(*arguments: str) -> Any:
    command = [sys.executable, "-m", "mira_batch.cli", *arguments, "--config", str(CONFIG), "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def interrupted(what: str, record: tuple[str, int], run: Path) -> int:
    plan = pa.concat_tables([pq.read_table(path) for path in run.glob("plan/plan-*.parquet")])
    works = dict(zip(plan["record_id"].to_pylist(), plan["work_id"].to_pylist(), strict=True))
    command = [sys.executable, __file__, what, works[record[0]], str(record[1])]
    return subprocess.run(command, check=False).returncode


def make() -> None:
    import_module("mira_batch.distributed")  # the old release's, or else this fails
    HOME.mkdir()
    make_catalogue(HOME / "catalogue")
    CONFIG.write_text(SETTINGS)
    run = Path(cli("plan")["run"])
    assert interrupted("stop", STOPPED, run) == 130
    assert interrupted("kill", KILLED, run) == -signal.SIGKILL
    for name in ("lease.json", "report.html"):
        (run / name).unlink()

    shutil.rmtree(FILES, ignore_errors=True)
    shutil.copytree(HOME, FILES)
    committed = sorted(path.name for path in run.glob("results/*"))
    left = sorted(str(path.relative_to(run)) for path in run.rglob("state/**/*.step"))
    status = cli("status")
    finish_it(load_config(CONFIG))
    complete, verdict = cli("status"), cli("verify")
    assert complete["complete"] and verdict["whole"]
    expected = {
        "release": "98acb95",
        "run_id": run.name,
        "run": str(run),
        "plan": planned(run),
        "interrupted": {"committed": committed, "steps": left, "status": status},
        "complete": {"status": complete, "verdict": verdict},
        "records": outcome(str(run)),
    }
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")
    shutil.rmtree(HOME)


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(drive(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    make()
