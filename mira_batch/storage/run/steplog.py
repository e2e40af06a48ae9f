"""The step log of one shard on the run's store: one create-only file per step.

    state/<shard>/<work_id>/<k>.step

A file is trusted only if it is whole (checksums), of this form (schema version), of this
record, and continues the step before it, with an image whose pixels have the digest that the step names. The
first one that fails any of these ends the history, and the steps from there on are made anew.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from PIL import Image, PngImagePlugin

from mira_batch.core.identity import content_hash, frame_of
from mira_batch.core.pixels import read_only_view
from mira_batch.core.types import EditTask, LoggedStep, Step
from mira_batch.core.usage import Usage
from mira_batch.imaging import encode_frame
from mira_batch.storage import schema
from mira_batch.storage.run.layout import state_prefix
from mira_batch.storage.run.steprows import dump_candidate, dump_fields, read_answer, read_candidate
from mira_batch.storage.stores import Store

_MAGIC = f"mira-batch step {schema.STEP_VERSION}\n".encode()


class ShardLog:
    """A `StepLog` over `state/<shard>/`. One LIST at the start finds all that is there."""

    def __init__(self, store: Store, shard: int) -> None:
        self._store = store
        self._prefix = state_prefix(shard)
        self._found: dict[str, set[int]] = defaultdict(set)

    def open(self) -> list[str]:
        """Find the steps that earlier attempts left. Returns the names of what else is there."""
        others = []
        for entry in self._store.list(self._prefix):
            below = entry.key.removeprefix(f"{self._prefix}/")
            record, _, name = below.partition("/")
            number = name.removesuffix(".step")
            if number.isdigit():
                self._found[record].add(int(number))
            else:
                others.append(below)
        return others

    def count(self, work: str) -> int:
        """How many steps of the record of this work_id were there, from 0 on without a gap, when the log was
        opened."""
        found = self._found.get(work, ())
        return next(k for k in itertools.count() if k not in found)

    async def load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        """The whole, unbroken steps from 0 on; what follows a bad one is deleted and made anew."""
        if task.work_id not in self._found:
            return ()
        return await asyncio.to_thread(self._load, task)

    def _load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        history: list[LoggedStep] = []
        current: str | None = None
        while len(history) in self._found[task.work_id]:
            logged = self._read(task, len(history), current)
            if logged is None:
                break
            history.append(logged)
            current = logged.step.after if logged.step.accepted else logged.step.before
        stale = {k for k in self._found[task.work_id] if k >= len(history)}
        self._store.delete(self._name_key(task, k) for k in sorted(stale))
        self._found[task.work_id] -= stale
        return tuple(history)

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        """Log a step; where another worker was first, return its step."""
        return await asyncio.to_thread(self._append, task, logged)

    def _append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        pngs = [encode_frame(frame) for frame in (logged.frame, *logged.rejected)]
        key = self._name_key(task, logged.step.index)
        data = pack(task.work_id, logged.step, pngs[0], pngs[1:])
        # Not synced to the disk: a torn file is found out by its checksum and the step made again.
        if not self._store.create(key, data, durable=False):
            standing = self._read(task, logged.step.index, logged.step.before)
            if standing is not None:
                return standing
            # A torn or foreign file stands where this step belongs, and no reader will ever trust it.
            self._store.put(key, data)
        return logged

    def delete(self) -> None:
        """Delete the shard's state, once it is committed."""
        self._store.delete(entry.key for entry in self._store.list(self._prefix))

    def _name_key(self, task: EditTask, index: int) -> str:
        return f"{self._prefix}/{task.work_id}/{index}.step"

    def _read(self, task: EditTask, index: int, before: str | None) -> LoggedStep | None:
        """One step, or None when it can't be trusted. `before` None accepts any image to start from."""
        try:
            logged = self._store.read(self._name_key(task, index), partial(_parse_step, work=task.work_id))
        except _Untrusted:
            return None
        if logged is None or logged.step.index != index:
            return None
        return logged if before is None or logged.step.before == before else None


class _Untrusted(Exception):
    """A step file is not whole, of another form, or of another record."""


def _parse_step(data: bytes, work: str) -> LoggedStep:
    """A step file's step, its images decoded."""
    unpacked = unpack(data, work)
    if unpacked is None:
        raise _Untrusted
    step, *pngs = unpacked
    try:
        frame, *rejected = (replace(frame_of(_decode_own(png)), png=png) for png in pngs)
    except (OSError, ValueError, SyntaxError) as error:
        raise _Untrusted from error
    if frame.digest != step.after or {f.digest for f in rejected} - {c.after for c in step.candidates}:
        raise _Untrusted
    return LoggedStep(step, frame, tuple(rejected))


def pack(work: str, step: Step, png: bytes, rejected: Sequence[bytes] = ()) -> bytes:
    """A step as a file: a magic line with the form's version, a line with the checksum of the next, a line of
    JSON, and the images as PNG. Their own check is a CRC-32, three times as fast: the step names the digests
    of their pixels besides.

    Args:
        work: the record's work_id.
        step: the step.
        png: its image, lossless.
        rejected: those of candidates that were not taken, where they are kept.
    """
    whole = dump_fields(step) | {"charges": dict(step.usage.charges)}
    whole["candidates"] = [dump_candidate(candidate) for candidate in step.candidates]
    if step.answers:
        whole["answers"] = [asdict(answer) for answer in step.answers]
    images = b"".join((png, *rejected))
    row = {"work_id": work, "step": whole, "bytes": len(images), "crc32": zlib.crc32(images)}
    if rejected:
        row["images"] = [len(each) for each in (png, *rejected)]
    header = json.dumps(row).encode()
    return b"".join((_MAGIC, content_hash(header).encode(), b"\n", header, b"\n", images))


def unpack(data: bytes, work: str) -> tuple[Step, *tuple[bytes, ...]] | None:
    """What `pack` wrote for this record, or None for anything else: the step, its image, and those of
    candidates that were not taken."""
    if not data.startswith(_MAGIC):
        return None
    checksum, _, rest = data[len(_MAGIC) :].partition(b"\n")
    header, _, images = rest.partition(b"\n")
    if content_hash(header).encode() != checksum:
        return None
    row = json.loads(header)
    if row["work_id"] != work or row["bytes"] != len(images) or row["crc32"] != zlib.crc32(images):
        return None
    ends = list(itertools.accumulate(row.get("images", [len(images)])))
    pngs = (images[start:end] for start, end in itertools.pairwise([0, *ends]))
    return _read_step(row["step"]), *pngs


def _read_step(found: dict[str, Any]) -> Step:
    # Earlier releases noted no charges, candidates or answers.
    charges, drawn = found.pop("charges", {}), found.pop("candidates", ())
    said = found.pop("answers", ())
    usage = replace(Usage.of(**found.pop("seconds"), cost=found.pop("cost")), charges=charges)
    candidates = tuple(read_candidate(each) for each in drawn)
    return Step(**found, usage=usage, candidates=candidates, answers=tuple(map(read_answer, said)))


def _decode_own(png: bytes) -> Image.Image:
    """An image of our own writing. Checksummed before, so the untrusted-image checks don't apply, nor
    does `Image.open`'s bound on pixels, which an enlarged image may exceed."""
    image = PngImagePlugin.PngImageFile(io.BytesIO(png))
    image.load()
    if image.mode not in ("RGB", "RGBA"):
        raise ValueError(f"mode {image.mode}")
    return read_only_view(image)
