"""Film strips: reads the rows of chosen records and makes small pictures of before, each step and after."""

from __future__ import annotations

import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import ManifestError, RecordError, StoreError
from mira_batch.core.identity import frame_of
from mira_batch.core.types import Status
from mira_batch.report.page import Card, Picture, Still
from mira_batch.storage import images
from mira_batch.storage.manifest import Place, read_embedded
from mira_batch.storage.run.results import results_dataset
from mira_batch.storage.stores import READ_ERRORS, Store

_CARD_BYTES = 80_000
"""Encoded pictures of one card, together: 48 cards stay below 5.2 MB in base64."""
_SIZES = ((320, 80), (320, 65), (320, 50), (256, 50), (192, 50), (128, 50))
"""Longest side and quality of a picture; the first that is small enough is taken."""
_ENDS = 3
"""Steps shown at either end of a trajectory too long to be shown whole."""
_PLACE = re.compile(r"(.+)#row_group=(\d{1,9})&row=(\d{1,9})", re.DOTALL)
_STEP_KEY = re.compile(r"(?:^|/)(steps/[0-9A-Za-z_-]+/\d+\.\w+)$")


class CardReader:
    """Makes cards of result rows: holds what is needed to get at their pictures."""

    def __init__(self, config: BulkEditConfig, store: Store, manifest: frozenset[str]) -> None:
        self._config = config
        self._store = store
        self._manifest = manifest
        self._fs: Any = None

    def cards(self, file: str, first: int, positions: Sequence[int]) -> dict[int, Card]:
        """The cards of these records of one result file, by position in the run."""
        rows = dict(zip(positions, self._rows(file, [p - first for p in positions]), strict=True))
        embedded = self._embedded([row["source"] for row in rows.values() if row["source_digest"]])
        return {position: self._card(row, embedded) for position, row in rows.items()}

    def _rows(self, file: str, wanted: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Rows of a result file by their (ascending) number in it; only their row groups are read."""
        if self._fs is None:
            self._fs = results_dataset(self._store.uri, self._config.storage).filesystem
        with pq.ParquetFile(file, filesystem=self._fs) as parquet:
            start = 0
            for group in range(parquet.num_row_groups):
                count = parquet.metadata.row_group(group).num_rows
                if inside := [row - start for row in wanted if start <= row < start + count]:
                    yield from parquet.read_row_group(group).take(inside).to_pylist()
                start += count

    def _embedded(self, sources: Sequence[str]) -> dict[str, bytes]:
        """Encoded originals that lie in the manifest, by source: one pass over each row group."""
        groups: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
        for source in sources:
            if place := self._place(source):
                groups[place.file, place.row_group][place.row] = source
        found: dict[str, bytes] = {}
        column, storage = self._config.input.columns.image, self._config.storage
        for (file, group), rows in groups.items():
            try:
                read = read_embedded(file, group, set(rows), column, storage)
            except (ManifestError, StoreError, IndexError, pa.ArrowException, *READ_ERRORS):
                continue  # the manifest is gone or another one now; the cards say so
            found |= {rows[row]: data for row, data in read.items() if isinstance(data, bytes)}
        return found

    def _place(self, source: str) -> Place | None:
        """The place an embedded image's source names. Only in the run's own manifest: an image URI is
        free to look like a place, and would otherwise get around `input.allow`."""
        match = _PLACE.fullmatch(source)
        if match is None or match[1] not in self._manifest:
            return None
        return Place(match[1], int(match[2]), int(match[3]))

    def _card(self, row: dict[str, Any], embedded: dict[str, bytes]) -> Card:
        failed = row["status"] == Status.failed
        return Card(
            record_id=row["record_id"],
            instruction=row["instruction"],
            failed=failed,
            outcome=row["error_kind"] if failed else row["stop_reason"],
            message=row["error_message"] or "",
            steps=row["num_steps"],
            seconds=sum(row["seconds"].values()),
            size=(row["width"], row["height"]) if row["width"] else None,
            models=row["models"],
            final_thought=row["final_thought"] or "",
            strip=self._strip(row, embedded),
        )

    def _strip(self, row: dict[str, Any], embedded: dict[str, bytes]) -> tuple[Still, ...]:
        """The film strip: the original, the steps, and the result where it is none of the steps shown."""
        steps: list[dict[str, Any]] = row["steps"]
        hidden = range(_ENDS, len(steps) - _ENDS) if len(steps) > 2 * _ENDS + 1 else range(0)
        shown = [step for step in steps if step["image"] and step["index"] not in hidden]
        data = {s["index"]: s["image"]["bytes"] or self._referenced(s["image"]["path"]) for s in shown}
        most = _CARD_BYTES // (len(shown) + 2)
        strip = [Still("Before", self._original(row, embedded, most))]
        result = (row["image"] or {}).get("bytes")
        failed = row["status"] == Status.failed
        name = "Best so far" if failed else "Result"
        # The same pixels are encoded to the same bytes, so this finds the step that gave the result.
        same = [s["index"] for s in shown if s["accepted"] and result and data[s["index"]] == result]
        for pictured, group in groupby(steps, key=lambda step: step["index"] in data):
            if not pictured:
                strip.append(_words(list(group)))
                continue
            for step in group:
                thumbnail = self._thumbnail(data[step["index"]], most)
                strip.append(_step(step, thumbnail, name if step["index"] == max(same, default=-1) else ""))
        if result and not same and (steps or not failed):
            strip.append(Still(name, self._thumbnail(result, most), result=True))
        return tuple(strip)

    def _original(self, row: dict[str, Any], embedded: dict[str, bytes], most: int) -> Picture | str:
        """The image before editing, which results don't hold, or in words why it can't be shown."""
        source, settings = row["source"], self._config.input
        if row["source_digest"] is None:
            return "could not be opened"
        try:
            if self._place(source) is None:
                data = images.fetch(source, settings, self._config.storage)
            elif (data := embedded.get(source)) is None:
                return "no longer in the manifest"
            image = images.decode(data, source, settings)
        except (RecordError, StoreError):
            return "can no longer be read"
        if frame_of(image).digest != row["source_digest"]:
            return "has changed since the run"
        return _picture(image, most)

    def _referenced(self, path: str | None) -> bytes | None:
        """A step image kept as an object of its own. Found by its key, so that a run may be moved."""
        match = _STEP_KEY.search(path or "")
        return self._store.get(match[1]) if match else None

    def _thumbnail(self, data: bytes | None, most: int) -> Picture | str:
        if data is None:
            return "not found"
        try:
            return _picture(images.decode(data, "image", self._config.input), most)
        except RecordError:
            return "can't be read"


def _step(step: dict[str, Any], picture: Picture | str, result: str) -> Still:
    number = f"Step {step['index'] + 1}"
    return Still(
        f"{number} · {result}" if result else number,
        picture,
        caption=step["instruction"],
        thought=step["thought"],
        score=step["score"],
        accepted=step["accepted"],
        result=bool(result),
    )


def _words(steps: Sequence[dict[str, Any]]) -> Still:
    """Steps of which no picture is shown."""
    first, last = steps[0]["index"] + 1, steps[-1]["index"] + 1
    label = f"Steps {first} to {last}" if last > first else f"Step {first}"
    return Still(label, first=first, words=tuple(step["instruction"] for step in steps))


def _picture(image: Image.Image, most: int) -> Picture:
    """A thumbnail of at most about `most` bytes. Changes the image it is given."""
    data = b""
    for side, quality in _SIZES:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = BytesIO()
        image.save(buffer, "WEBP", quality=quality)
        data = buffer.getvalue()
        if len(data) <= most:
            break
    transparent = image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255)
    uri = f"data:image/webp;base64,{b64encode(data).decode()}"
    return Picture(uri, image.width, image.height, transparent)
