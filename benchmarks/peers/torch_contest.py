"""Ours against a plain script of diffusers, where torch really works: a tiny FLUX.1-Kontext.

The weights are random and few, so an edit takes a fraction of a second, and what the framework adds to it
shows. Both have the same images, prompts and seeds, the same batch, and one thread of torch; the pixels that
come out are compared.
"""

from __future__ import annotations

import io
import time
from collections.abc import Hashable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageChops

from benchmarks.child import in_child
from benchmarks.child import run as run_job
from benchmarks.figure import Bench, Figure, reported
from benchmarks.workload import config, manifest, read_picture
from mira_batch.core.ports import PolicyRequest

SIDE, STEPS, BATCH, PROMPT = 256, 8, 4, "make the sky red"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_CLOSE = 2
"""Levels by which pixels may differ: other neighbours in a batch change the order of sums."""
_began: list[tuple[float, float]] = []
"""Wall and CPU of this process at the policy's first call, once the models are loaded."""


class OneEdit:
    """A policy that names the same edit for every record and then stops. It notes its first call."""

    identity = "one-edit"
    max_batch = 64

    def bucket(self, request: PolicyRequest) -> Hashable:
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        if not _began:
            _began.append((time.time(), time.process_time()))
        return ["<stop>done</stop>" if request.history else f"<edit>{PROMPT}</edit>" for request in requests]


def one_edit() -> OneEdit:
    """For configs."""
    return OneEdit()


def run_ours(job: dict[str, Any]) -> dict[str, Any]:
    """`mira-batch run` inline, in a child.

    Args:
        job: its config.

    Returns seconds of wall up to the last result file, and of CPU up to the end of the run.
    """
    run = run_job(job)
    (began, cpu), used = _began[0], time.process_time()
    ended = max(path.stat().st_mtime for path in Path(run["run"]).rglob("results/*.parquet"))
    return {"wall": ended - began, "cpu": used - cpu, "steps": run["steps"], "run": run["run"]}


@cache
def _contest(bench: Bench) -> dict[str, dict[str, Any]]:
    """The least wall and CPU of each, in turns."""
    folder = bench.folder / "torch"
    weights = in_child("call", function=f"{__name__}:write_weights", folder=str(folder / "weights"))["path"]
    names = [f"rec-{number:06d}" for number in range(BATCH * bench.size(8, 2))]
    listed = manifest(folder, SIDE, names)
    images = sorted((folder / "images").iterdir())
    turns: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
    for turn in range(bench.size(3, 1)):
        job = _job(listed, folder / f"out-{turn}", weights)
        ours = in_child("call", variables=_ONE_THREAD, function=f"{__name__}:run_ours", job=job)
        results = read_results(Path(ours["run"]))
        rows = [
            {
                "record_id": name,
                "image": str(images[i % len(images)]),
                "prompt": PROMPT,
                "seed": results[name][0],
            }
            for i, name in enumerate(names)
        ]
        theirs = in_child(
            "call",
            variables=_ONE_THREAD,
            function="benchmarks.peers.diffusers_script:edit_rows",
            rows=rows,
            weights=weights,
            output=str(folder / f"script-{turn}"),
            side=SIDE,
            steps=STEPS,
            batch=BATCH,
        )
        check(names, results, folder / f"script-{turn}")
        turns["ours"].append(ours)
        turns["theirs"].append(theirs)
    return {
        who: {key: min(turn[key] for turn in made) / len(names) for key in ("wall", "cpu")}
        for who, made in turns.items()
    } | {"of": {"edits": len(names), "turns": len(turns["ours"])}}


def write_weights(folder: str) -> dict[str, str]:
    """The tiny pipelines, by a process of its own: this one stays without torch."""
    from mira_batch.models.tiny.diffusion import write_pipelines

    return {"path": str(write_pipelines(Path(folder))["FluxKontextPipeline"])}


def _job(listed: Path, output: Path, weights: str) -> dict[str, Any]:
    job = config(
        listed,
        output,
        policy={"type": "custom", "factory": f"{__name__}:one_edit"},
        editor={
            "type": "diffusers",
            "pipeline": "diffusers.FluxKontextPipeline",
            "weights": weights,
            "steps": STEPS,
            "area": SIDE * SIDE,
            "max_batch": BATCH,
            "dtype": "float32",
        },
        backend="inline",
    )
    job["output"]["step_images"] = "drop"  # the script keeps only the result, too
    return job


def read_results(run: Path) -> dict[str, tuple[int, Image.Image]]:
    """Seed and image of each record."""
    rows = pq.read_table(run / "results", columns=["record_id", "status", "steps", "image"]).to_pylist()
    return {
        row["record_id"]: (row["steps"][0]["seed"], Image.open(io.BytesIO(row["image"]["bytes"])))
        for row in rows
        if row["status"] == "ok" and len(row["steps"]) == 1
    }


def check(names: list[str], ours: dict[str, tuple[int, Image.Image]], theirs: Path) -> None:
    """Both made the same edits.

    Raises:
        RuntimeError: a result is missing or too much, or the two differ.
    """
    found = {path.stem: read_picture(path) for path in theirs.glob("*.png")}
    if not (set(names) == ours.keys() == found.keys()):
        raise RuntimeError(
            f"{len(names)} records, of which {len(ours)} results of ours and {len(found)} of theirs"
        )
    for name in names:
        apart = ImageChops.difference(ours[name][1].convert("RGB"), found[name])
        most = int(np.asarray(apart).max())
        if most > _CLOSE:
            raise RuntimeError(f"{name}: pixels differ by up to {most} levels")


def against_script(bench: Bench) -> list[Figure]:
    found = _contest(bench)
    ours, theirs = found["ours"], found["theirs"]
    equal = (
        f"a plain script of diffusers that calls FluxKontextPipeline on {BATCH} images and saves PNGs; tiny "
        f"random weights, {SIDE}², {STEPS} steps, float32, one thread of torch, ours inline. The same seeds, "
        f"and the same pixels. {found['of']['edits']} edits, best of {found['of']['turns']} each, in turns, "
        "from the first call to the last file"
    )
    return [
        reported(
            "speed_against_diffusers_script",
            theirs["wall"] / ours["wall"],
            "",
            f"Edits per second of ours ÷ {equal}: {1000 * ours['wall']:.0f} ms an edit to "
            f"{1000 * theirs['wall']:.0f} ms.",
        ),
        reported(
            "cpu_against_diffusers_script",
            theirs["cpu"] / ours["cpu"],
            "",
            f"The same by CPU: edits per second of CPU of ours, until the run has ended, ÷ theirs; "
            f"{1000 * ours['cpu']:.0f} ms an edit to {1000 * theirs['cpu']:.0f} ms. With a model of real "
            "size an edit takes seconds, and the difference in milliseconds stays what it is.",
        ),
    ]


FIGURES = (against_script,)
