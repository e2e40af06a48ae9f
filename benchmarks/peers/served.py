"""Ours against what one would write over endpoints: the same served models on a socket, one after the other.

Ours keeps a log of steps, checks every image and encodes it anew; the peers write what came. What each makes
of the editor's capacity is read from the server's own notes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageChops

from benchmarks.child import in_child, run
from benchmarks.figure import Bench, Figure, in_table, reported
from benchmarks.peers import installed
from benchmarks.peers.served_model import (
    EDITORS,
    POLICIES,
    POLICY_SECONDS,
    SECONDS,
    ServedModels,
)
from benchmarks.workload import config, photographs, read_picture, records_with
from mira_batch.config.models.simulated import StepCounts
from mira_batch.models.simulated import step_count
from tests.support.servers.models import ModelServer, model_server

SIDE, REFUSED = 256, 0.05
IN_HAND = 4 * EDITORS
"""Records in progress at once, of every contender, where the server lets calls wait."""
_TABLE = "Over the same served models"
_EQUAL = (
    f"A real server on a socket: an editor of {EDITORS} calls at once at {SECONDS:g} s, a policy of "
    f"{POLICIES} at {POLICY_SECONDS:g} s, more calls wait there; {SIDE}² images; from the first call to the "
    "last result file"
)


@dataclass(frozen=True)
class Work:
    """What every contender is given."""

    folder: Path
    images: list[Path]
    names: list[str]

    @property
    def edits(self) -> int:
        return sum(step_count(name, StepCounts()) for name in self.names)

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.jsonl"

    @property
    def rows(self) -> list[dict[str, str]]:
        """With whole paths."""
        rows = [json.loads(line) for line in self.manifest.read_text().splitlines()]
        return [row | {"image": str(self.folder / row["image"])} for row in rows]


@dataclass(frozen=True)
class Outcome:
    """What one contender did."""

    records: int
    done: int
    """Of these."""
    rate: float
    """Records done in a second."""
    share: float
    """Of the editor's capacity, over all of the time."""
    steady: float
    """The same from the first answer until 80 % of the edits were answered."""
    cpu: float
    """Seconds of the contender's own process for an edit."""
    refusals: int


def prepare_work(folder: Path, edits: int) -> Work:
    """Records of at least so many edits, each named in its instruction, by which the server knows it."""
    images = photographs(folder / "images", SIDE)
    work = Work(folder, images, records_with(edits))
    rows = [
        {
            "record_id": name,
            "image": f"images/{images[i % len(images)].name}",
            "instruction": f"improve {name}",
        }
        for i, name in enumerate(work.names)
    ]
    work.manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return work


@cache
def _contest(bench: Bench) -> dict[str, Outcome]:
    work = prepare_work(bench.folder / "served", round(bench.size(14, 1) * EDITORS / SECONDS))
    found = {"ours": run_ours(work, IN_HAND), "script": run_script(work, IN_HAND, "record")}
    if installed.find_version("datatrove"):
        found["datatrove"] = run_datatrove(work)
    if not bench.quick:
        found["ours, refused"] = run_ours(work, EDITORS, REFUSED)
        found["script, refused"] = run_script(work, EDITORS, "call", REFUSED)
    return found


def run_ours(work: Work, at_once: int, refused: float = 0.0) -> Outcome:
    """`mira-batch run`, inline: one worker, as one process is all that others have. It makes so many calls of
    each model at once, and has twice as many records in hand, 64 at most."""
    models = ServedModels(work.images, refused)
    output = work.folder / f"out-{refused:g}"
    with model_server(models.answer) as server:
        job = config(
            work.manifest,
            output,
            policy=_served("openai", server, at_once),
            editor=_served("openai_images", server, at_once),
            backend="inline",
        )
        job["output"]["step_images"] = "drop"  # the peers keep only the result, too
        key = {"OPENAI_API_KEY": "none"}
        ran = in_child("call", variables=key, function=f"{__name__}:run_job", job=job)
    table = pq.read_table(next(output.rglob("results")), columns=["record_id", "status", "image"])
    results = {
        row["record_id"]: Image.open(io.BytesIO(row["image"]["bytes"]))
        for row in table.to_pylist()
        if row["status"] == "ok"
    }
    return measure(work, models, results, list(output.rglob("results/*.parquet")), ran["cpu"])


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """In a child: our job, with OpenAI's client loaded before, as it is in the others when CPU is counted."""
    import_module("openai")
    return run(job)


def _served(kind: str, server: ModelServer, concurrency: int) -> dict[str, Any]:
    return {"type": kind, "model": "served", "base_url": server.url, "concurrency": concurrency}


def run_script(work: Work, at_once: int, around: str, refused: float = 0.0) -> Outcome:
    """The asyncio script, with its semaphore around a whole record or around each call of either model."""
    output = work.folder / f"script-{around}-{refused:g}"
    models = ServedModels(work.images, refused)
    with model_server(models.answer) as server:
        ran = in_child(
            "call",
            function="benchmarks.peers.asyncio_script:edit_rows",
            rows=work.rows,
            url=server.url,
            output=str(output),
            at_once=at_once,
            around=around,
        )
    return measure(work, models, _read_files(output), list(output.iterdir()), ran["cpu"])


def run_datatrove(work: Work) -> Outcome:
    """datatrove's runner."""
    output = work.folder / "datatrove"
    models = ServedModels(work.images)
    with model_server(models.answer) as server:
        ran = in_child(
            "call",
            variables=installed.see_peers(),
            function="benchmarks.peers.datatrove_run:edit_rows",
            manifest=str(work.manifest),
            url=server.gemini_url,
            output=str(output),
            at_once=IN_HAND,
        )
    lines = (output / "00000.jsonl").read_text().splitlines()
    assert {json.loads(line)["id"] for line in lines} == set(work.names)
    return measure(work, models, _read_files(output), list(output.iterdir()), ran["cpu"])


def _read_files(output: Path) -> dict[str, Image.Image]:
    return {path.stem: read_picture(path) for path in output.glob("*.png")}


def measure(
    work: Work, models: ServedModels, results: Mapping[str, Image.Image], files: list[Path], cpu: float
) -> Outcome:
    """What was done, once it is seen that the results are right and that no call was made twice or left out.

    Raises:
        RuntimeError: they aren't, or some were. Where calls are refused, records may be missing.
    """
    assert models.began is not None
    for name, image in results.items():
        expected = read_picture(models.result(name))
        count = step_count(name, StepCounts())
        if (models.edits.get(name), models.asked.get(name)) != (count, count + 1):
            raise RuntimeError(
                f"{name}: {models.edits.get(name)} edits and {models.asked.get(name)} questions"
            )
        if ImageChops.difference(image.convert("RGB"), expected).getbbox():
            raise RuntimeError(f"{name} is not the image that the editor gave last")
    if not results.keys() <= set(work.names) or (not models.refused and len(results) < len(work.names)):
        raise RuntimeError(f"{len(results)} results of {len(work.names)} records")
    wall = max(path.stat().st_mtime for path in files) - models.began
    edits = len(models.answered)
    return Outcome(
        len(work.names),
        len(results),
        len(results) / wall,
        edits * SECONDS / EDITORS / wall,
        _steady_share(models.answered),
        cpu / edits,
        models.refusals,
    )


def _steady_share(answered: list[float]) -> float:
    """Before the last records end, when few are left to fill the editor."""
    moments = sorted(answered)[: max(2, round(0.8 * len(answered)))]
    return (len(moments) - 1) * SECONDS / EDITORS / (moments[-1] - moments[0])


def _against(bench: Bench, peer: str, how: str, name: str) -> Figure:
    found = _contest(bench)
    ours, theirs = found["ours, refused" if peer.endswith("refused") else "ours"], found[peer]
    words = ", ".join(
        f"{who} {one.rate:.2f} ({one.share:.1%} of the editor's capacity, {one.steady:.1%} until 80 % of the "
        f"edits were answered, {1000 * one.cpu:.1f} ms of CPU an edit, {one.done:,} done)"
        for who, one in (("ours", ours), ("theirs", theirs))
    )
    method = f"Records per second of ours ÷ {how}. {_EQUAL}. {ours.records:,} records: {words}."
    return reported(name, ours.rate / theirs.rate, "", method)


def against_script(bench: Bench) -> Figure:
    how = (
        "an asyncio script (AsyncOpenAI, gather over all records, a PNG and a line of JSON each) with a "
        f"semaphore of {IN_HAND} around each record"
    )
    return _against(bench, "script", how, "speed_against_asyncio_script")


def against_datatrove(bench: Bench) -> list[Figure]:
    """Left out where datatrove is not installed."""
    if not installed.is_there("datatrove", "speed_against_datatrove"):
        return []
    how = (
        f"the InferenceRunner of datatrove {installed.find_version('datatrove')} ({IN_HAND} documents at "
        "once, no checkpoints), whose rollout asks the policy by its own chats and the editor by "
        "OpenAI's client"
    )
    return [_against(bench, "datatrove", how, "speed_against_datatrove")]


def against_refused_script(bench: Bench) -> list[Figure]:
    """Left out of a quick run."""
    if bench.quick:
        return []
    how = (
        f"the same script with semaphores of {EDITORS} around the calls of each model; {REFUSED:.0%} of all "
        f"calls are refused with 429, and ours makes {EDITORS} of each model at once, too"
    )
    return [_against(bench, "script, refused", how, "speed_against_asyncio_script_with_refusals")]


def outcomes(bench: Bench) -> list[Figure]:
    rows = {
        "ours": "ours",
        "script": "asyncio script",
        "datatrove": "datatrove's InferenceRunner",
        "ours, refused": f"ours, {REFUSED:.0%} refused",
        "script, refused": f"asyncio script, {REFUSED:.0%} refused",
    }
    found = _contest(bench)
    cells = []
    for key, row in rows.items():
        if key in found:
            one = found[key]
            values = {
                "records per second": (one.rate, ""),
                "of the editor's capacity": (one.share, ""),
                "until 80 %": (one.steady, ""),
                "CPU an edit": (1000 * one.cpu, "ms"),
                "records done": (one.done / one.records, ""),
            }
            for column, (value, unit) in values.items():
                name = f"served_{key} {column}".replace(", ", "_").replace(" ", "_")
                cells.append(in_table(reported(name, value, unit, _EQUAL), _TABLE, row, column))
    return cells


FIGURES = (against_script, against_datatrove, against_refused_script, outcomes)
