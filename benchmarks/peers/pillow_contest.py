"""Ours with the embedded models against a plain Pillow script that makes the same three edits.

Nothing here is a model, so what ours does beyond the edits themselves is all that differs: each step is
looked at, logged without loss and checked, and the result is measured and labelled.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageChops, ImageOps

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_most, reported
from benchmarks.peers.pillow_script import INSTRUCTION
from benchmarks.workload import config, read_picture
from tests.support.runs.catalogue import SAMPLE

SIZE = (1024, 768)


def _write_images(folder: Path, count: int) -> list[Path]:
    """The sample's photographs as JPEG, no two alike."""
    folder.mkdir(parents=True)
    sources = sorted((SAMPLE / "images").iterdir())
    paths = []
    for number in range(count):
        image = ImageOps.fit(read_picture(sources[number % len(sources)]), SIZE)
        image.putpixel((number % SIZE[0], 0), (255, 0, 0))
        paths.append(folder / f"rec-{number:06d}.jpg")
        image.save(paths[-1], quality=90)
    return paths


def _contest(bench: Bench) -> dict[str, float]:
    """The least seconds of CPU an image, in turns."""
    folder = bench.folder / "pillow"
    images = _write_images(folder / "images", bench.size(60, 6))
    manifest = folder / "manifest.jsonl"
    rows = [
        {"record_id": path.stem, "image": f"images/{path.name}", "instruction": INSTRUCTION}
        for path in images
    ]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found: dict[str, list[float]] = {}
    for turn in range(bench.size(2, 1)):
        for form in ("png", "jpeg"):
            script = folder / f"script-{form}-{turn}"
            theirs = in_child(
                "call",
                function="benchmarks.peers.pillow_script:edit_images",
                images=[str(path) for path in images],
                output=str(script),
                form=form,
            )
            found.setdefault(f"script {form}", []).append(theirs["cpu"])
            for kept in ("embed", "drop"):
                job = _job(manifest, folder / f"out-{form}-{kept}-{turn}", form, kept)
                ours = in_child("run", config=job)
                _check(Path(ours["run"]), script, form)
                found.setdefault(f"{kept} {form}", []).append(ours["cpu"])
    return {name: min(seconds) / len(images) for name, seconds in found.items()} | {"images": len(images)}


def _job(manifest: Path, output: Path, form: str, kept: str) -> dict[str, Any]:
    job = config(manifest, output, policy={"type": "rules"}, editor={"type": "pillow"}, backend="inline")
    job["output"] |= {"format": form, "step_images": kept, "subsampling": "4:2:0"}  # Pillow's default
    return job


def _check(run: Path, script: Path, form: str) -> None:
    """Both made the same pictures.

    Raises:
        RuntimeError: a result is missing, or its pixels differ.
    """
    rows = pq.read_table(run / "results", columns=["record_id", "image"]).to_pylist()
    theirs = {path.stem: path for path in script.glob(f"*.{form}")}
    if {row["record_id"] for row in rows} != theirs.keys():
        raise RuntimeError(f"{len(rows)} results of ours, {len(theirs)} of the script")
    for row in rows:
        ours = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
        if ImageChops.difference(ours, read_picture(theirs[row["record_id"]])).getbbox():
            raise RuntimeError(f"{row['record_id']}: its pixels are others than the script's")


def against_script(bench: Bench) -> list[Figure]:
    found = _contest(bench)

    def describe(kept: str, form: str) -> str:
        return (
            f"{1000 * found[f'{kept} {form}']:.0f} ms of CPU an image to {1000 * found[f'script {form}']:.0f}"
        )

    png, name = found["script png"], "cpu_to_pillow_script"
    how = (
        f"CPU of a run by the embedded models, inline, from the plan's end, ÷ a plain Pillow script's: "
        f"{found['images']:.0f} photographs of {SIZE[0]} x {SIZE[1]}, turned, scaled and framed, read from "
        f"JPEG and written as PNG, the pixels the same; best of {bench.size(2, 1)} each, in turns"
    )
    return [
        at_most(2, name, found["embed png"] / png, "", f"{how}: {describe('embed', 'png')}."),
        at_most(
            1.3,
            f"{name}_result_alone",
            found["drop png"] / png,
            "",
            f"The same with `output.step_images: drop`: {describe('drop', 'png')}. The script's PNGs are "
            "compressed as Pillow does it unless told otherwise.",
        ),
        reported(
            f"{name}_jpeg",
            found["drop jpeg"] / found["script jpeg"],
            "",
            f"The same with results in JPEG at quality 90: {describe('drop', 'jpeg')}. A JPEG is quickly "
            "written; the rest is what ours does besides: three steps logged as PNG, digests, whether the "
            "JPEG is whole, what the policy sees, fidelity.",
        ),
    ]


FIGURES = (against_script,)
