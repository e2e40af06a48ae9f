"""The lockstep over batches of 16 records, written on Daft's DataFrame, in a process that sees its packages.

As Daft's guides to class UDFs and to batch inference say: rows are decoded and encoded by functions, models
live in a class with `max_concurrency` instances, each in a process of its own, and a batch method takes
`batch_size` rows. The loop is the same as on Ray Data. Three things follow from how its native runner works:

- Pixels travel as binary columns. An instance whose columns are images or Python objects runs on a thread of
  the one process, whatever `use_process` says.
- The runner has a thread for each instance and for each CPU. By default there are as many as CPUs, and an
  instance holds one while it works.
- A GPU isn't asked for: this machine may have none, and the runner only looks whether there are enough.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any

import daft
import numpy as np
from daft import DataType, Series

from benchmarks.peers.loop import Lockstep, read_image, write_image

_NICE = 15
"""Ray's workers, ours among them, have this priority; at a higher one Daft would gain on a busy machine."""


def edit_rows(
    rows: list[dict[str, Any]], models: dict[str, Any], output: str, devices: int, batch: int
) -> dict[str, Any]:
    """All of the work.

    Args:
        rows: records, with the paths of their images.
        models: settings of `NotingPolicy` and `NotingEditor`.
        output: the folder for the result files.
        devices: how many editors there are, each with a policy beside it.
        batch: the most records that one of them has in hand.

    Returns when it ended.
    """
    os.nice(_NICE)
    daft.set_runner_native(num_threads=devices + (os.cpu_count() or 1))
    loop = daft.cls(_make_loop(batch), max_concurrency=devices, use_process=True)(models)
    name, words = daft.col("record_id"), daft.col("instruction")
    frame = daft.from_pylist(rows).with_column("pixels", _decode(daft.col("image")))
    frame = frame.select(name, loop.edit(name, words, daft.col("pixels")))
    frame = frame.select(name, daft.col("edits"), _encode(daft.col("pixels")).alias("result"))  # pyright: ignore[reportAttributeAccessIssue]
    frame.write_parquet(output)
    return {"ended": time.time()}


@daft.func(return_dtype=DataType.binary())
def _decode(path: str) -> bytes:
    return read_image({"image": path})["image"].tobytes()


@daft.func(return_dtype=DataType.binary())
def _encode(pixels: bytes) -> bytes:
    row = {"record_id": "", "edits": "", "image": _to_array(pixels)}
    return write_image(row)["result"]


def _make_loop(batch: int) -> type:
    class Loop:
        """The models of one instance, and the loop over a batch with them."""

        def __init__(self, models: dict[str, Any]) -> None:
            self._loop = Lockstep(models)

        @daft.method.batch(
            return_dtype=DataType.struct({"edits": DataType.string(), "pixels": DataType.binary()}),
            batch_size=batch,
            unnest=True,
        )
        def edit(self, name: Series, words: Series, pixels: Series) -> list[dict[str, Any]]:
            count = len(name)
            columns = {
                "record_id": name.to_pylist(),
                "instruction": words.to_pylist(),
                "image": [_to_array(each) for each in pixels.to_pylist()],
                "edits": [""] * count,
                "done": [False] * count,
            }
            made = self._loop(columns)
            return [
                {"edits": edits, "pixels": image.tobytes()}
                for edits, image in zip(made["edits"], made["image"], strict=True)
            ]

    return Loop


def _to_array(pixels: bytes) -> np.ndarray:
    """A square RGB image."""
    side = math.isqrt(len(pixels) // 3)
    return np.frombuffer(pixels, np.uint8).reshape(side, side, 3)
