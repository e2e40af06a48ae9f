"""Images on their way to an endpoint are encoded once, and are what they were."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mira_batch.config.shared import StorageConfig
from mira_batch.core.identity import frame_of
from mira_batch.core.types import Frame
from mira_batch.models.remote import pictures
from mira_batch.models.remote.pictures import Wire
from mira_batch.models.serving import lay_on_white
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.steplogs import a_history, a_task


def a_frame(seed: int, mode: str = "RGB", side: int = 40) -> Frame:
    values = np.random.default_rng(seed).integers(0, 256, (side, side, len(mode)), dtype=np.uint8)
    return frame_of(Image.fromarray(values, mode))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was encoded."""
    made: list[Any] = []
    write = pictures._write_png

    def note(image: Image.Image, most: int | None) -> bytes:
        made.append((image.size, most))
        return write(image, most)

    monkeypatch.setattr(pictures, "_write_png", note)
    return made


def open_png(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_what_the_policy_saw_is_not_encoded_again_for_the_editor(written: list[Any]) -> None:
    wire, frame = Wire(), a_frame(0)
    shown = wire.encode(frame, max_pixels=5_000, opaque=True)
    assert wire.encode(frame) is shown and wire.encode(a_frame(0)) is shown and len(written) == 1
    assert np.array_equal(open_png(shown), frame.pixels)
    clear = a_frame(1, "RGBA")
    assert wire.encode(clear, opaque=True) is wire.encode(clear, 5_000, opaque=True) and len(written) == 2


def test_what_the_step_log_has_written_goes_over_the_wire(tmp_path: Path, written: list[Any]) -> None:
    log, (step,) = ShardLog(open_store(str(tmp_path), StorageConfig()), 0), a_history(1, a_frame(0))
    logged = asyncio.run(log.append(a_task(), step))
    assert Wire().encode(logged.frame) is logged.frame.png and not written


def test_other_pixels_or_another_form_are_others(written: list[Any]) -> None:
    wire, clear = Wire(), a_frame(1, "RGBA")
    whole, opaque, small = wire.encode(clear), wire.encode(clear, opaque=True), wire.encode(clear, 100)
    assert open_png(whole).mode == "RGBA" and open_png(opaque).mode == "RGB"
    assert open_png(small).size == (10, 10) and open_png(wire.encode(clear, 400)).size == (20, 20)
    assert wire.encode(a_frame(2)) != wire.encode(a_frame(3)) and len(written) == 6


def test_no_more_is_kept_than_there_is_room_for(written: list[Any]) -> None:
    one = len(Wire().encode(a_frame(0), 400))
    written.clear()
    wire = Wire(most_bytes=int(2.5 * one))
    for seed in (0, 1, 0, 2, 0, 1):  # the third displaces 1, which was asked for longest ago
        wire.encode(a_frame(seed), 400)
    assert len(written) == 4
    assert wire._bytes == sum(map(len, wire._kept.values())) <= 2.5 * one
    none = Wire(most_bytes=10)
    assert none.encode(a_frame(0), 400) == none.encode(a_frame(0), 400) and not none._kept


def test_threads_share_it() -> None:
    wire, frames = Wire(most_bytes=20_000), [a_frame(seed, "RGBA") for seed in range(8)]
    flat = [lay_on_white(frame.pixels) for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda frame: wire.encode(frame, opaque=True), frames * 40))
    assert all(np.array_equal(open_png(data), flat[at % 8]) for at, data in enumerate(found))
    assert wire._bytes == sum(map(len, wire._kept.values())) <= 20_000
