"""Checks a finished run against its plan, reading what users will read, file by file.

planned = committed      each shard has its file, each planned record its row, once
every image decodes      result and step images, embedded or referenced
every chain is whole     steps are numbered 0…n-1, each starts from the image the last accepted one
                         gave, and a lossless image has the very pixels its step names
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mira_batch.core.errors import RecordError, boundary
from mira_batch.core.identity import frame_of
from mira_batch.core.types import ErrorKind
from mira_batch.storage import schema
from mira_batch.storage.run import layout
from mira_batch.storage.run.planfile import read_plan, read_shard
from mira_batch.storage.stores import Store, shorten_error

_MOST_PROBLEMS = 1_000
_THREADS = 4


@dataclass
class Verdict:
    """What `verify` found."""

    planned: int = 0
    committed: int = 0
    images: int = 0
    """Images decoded."""
    steps: int = 0
    problems: list[str] = field(default_factory=list)
    """Each names the file, the record and what is wrong. Empty: the run is whole."""

    @property
    def whole(self) -> bool:
        return not self.problems


def verify(store: Store) -> Verdict:
    """Check a run, one result file in memory at a time.

    Raises:
        RunConflict: there is no run here.
        StoreError: it can't be read.
    """
    about = layout.read_run(store)
    output = about["config"]["output"]
    lossless = output["format"] == "png" or (output["format"] == "webp" and output["quality"] == 100)
    verdict = Verdict()
    plan = read_plan(store)
    if plan is None:
        verdict.problems.append(f"{store.locate(layout.PLAN)}: the run is not planned yet; run it again")
        return verdict
    verdict.planned = plan.records
    keys = {entry.key for entry in store.list("results")}
    expected = {layout.result_key(shard.index): shard for shard in plan.shards()}
    for key in sorted(keys - expected.keys()):
        verdict.problems.append(f"{key}: is not part of the plan; remove it")
    seen: set[str] = set()
    with ThreadPoolExecutor(_THREADS) as pool:
        for key, shard in expected.items():
            if len(verdict.problems) > _MOST_PROBLEMS:
                break
            if key not in keys:
                verdict.problems.append(f"{key}: is missing ({shard.records} records); run the job again")
                continue
            file = _open(store, key)
            if isinstance(file, str):
                verdict.problems.append(file)
                continue
            planned = {row["work_id"] for row in read_shard(store, shard)}
            try:
                _check_records(key, file, planned, seen, verdict)
                for images, steps, problems in pool.map(
                    lambda row: _check_row(store, row, lossless), _rows(file)
                ):
                    verdict.images += images
                    verdict.steps += steps
                    verdict.problems += [f"{key}: {problem}" for problem in problems]
            except (pa.ArrowException, OSError) as error:
                verdict.problems.append(
                    f"{key}: is damaged ({shorten_error(error)}); remove it and run the job again"
                )
    return verdict


def _open(store: Store, key: str) -> pq.ParquetFile | str:
    data = store.get(key)
    try:
        file = pq.ParquetFile(io.BytesIO(data or b""), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        return f"{key}: is not whole Parquet ({shorten_error(error)}); remove it and run the job again"
    if not file.schema_arrow.equals(schema.RESULTS):
        return f"{key}: has another schema than results have; remove it and run the job again"
    return file


def _check_records(
    key: str, file: pq.ParquetFile, planned: set[str], seen: set[str], verdict: Verdict
) -> None:
    """Which records the file holds, against the plan and all files before it."""
    found = file.read(columns=["work_id"])["work_id"].to_pylist()
    verdict.committed += len(found)
    for work in found:
        if work in seen:
            verdict.problems.append(f"{key}: work_id {work} is there twice")
        elif work not in planned:
            verdict.problems.append(f"{key}: work_id {work} is not planned for this shard")
        seen.add(work)
    for work in planned - set(found):
        verdict.problems.append(f"{key}: planned work_id {work} is missing")


def _rows(file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    for group in range(file.num_row_groups):
        yield from file.read_row_group(group).to_pylist()


def _check_row(store: Store, row: dict[str, Any], lossless: bool) -> tuple[int, int, list[str]]:
    """(images decoded, steps, problems) of one record."""
    problems: list[str] = []
    images = 0

    def check(picture: dict[str, Any], digests: set[str | None], what: str) -> None:
        nonlocal images
        problem = _image_problem(store, picture, digests if lossless else None)
        if problem is None:
            images += 1
        else:
            problems.append(f"{row['record_id']!r}: {what} {problem}")

    current, accepted = row["source_digest"], [row["source_digest"]]
    for index, step in enumerate(row["steps"]):
        if step["index"] != index:
            problems.append(f"{row['record_id']!r}: step {index} is numbered {step['index']}")
        if step["before"] != current:
            problems.append(f"{row['record_id']!r}: step {index} does not start from the image before it")
        if step["image"] is not None:
            check(step["image"], {step["after"]}, f"step {index}'s image")
        if step["accepted"]:
            current = step["after"]
            accepted.append(current)
    has_judge = row["models"]["judge"] is not None  # then the best accepted image is kept, not the last
    if row["image"] is not None:
        check(row["image"], {row["result_digest"]}, "result image")
        if not row["restored"] and row["result_digest"] not in (accepted if has_judge else accepted[-1:]):
            problems.append(
                f"{row['record_id']!r}: the result is not the image of a step it may be taken from"
            )
    elif row["status"] == "ok":
        problems.append(f"{row['record_id']!r}: status is ok, but there is no image")
    if row["num_steps"] != len(row["steps"]):
        problems.append(f"{row['record_id']!r}: num_steps is {row['num_steps']}, steps {len(row['steps'])}")
    return images, len(row["steps"]), problems


def _image_problem(store: Store, picture: dict[str, Any], digests: set[str | None] | None) -> str | None:
    """What is wrong with an image, if anything. `digests`: its pixels must have one of these."""
    data = picture["bytes"]
    if data is None:
        key = str(picture["path"]).removeprefix(store.uri.rstrip("/") + "/")
        data = store.get(key)
        if data is None:
            return f"is missing: {picture['path']}"
    try:
        with boundary(ErrorKind.image_unreadable):
            image = Image.open(io.BytesIO(data))
            image.load()
    except RecordError as error:
        return f"does not decode: {error}"
    if digests is None or frame_of(image).digest in digests:
        return None
    if image.mode == "RGB" and frame_of(image.convert("RGBA")).digest in digests:
        return None  # webp drops an alpha channel that hides nothing
    return "has other pixels than its step gave"
