"""The images that a judging is about, fetched and decoded: the original, the result, and what it is held
against."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.config.shared import ManifestConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.evaluate.controls import BLACK, ORIGINAL, SAME, make_black
from mira_batch.storage.images import OWN_RESULTS
from mira_batch.storage.manifest import ManifestImages, OriginalReader, Place, PlannedRecord
from mira_batch.storage.run.originals import open_originals
from mira_batch.storage.stores import open_store


@dataclass(frozen=True, slots=True)
class Shown:
    """What a judge is shown."""

    original: Frame
    candidate: Frame
    """The result, or what stands in its place."""
    against: Frame | None
    """What it is held against; None where it is scored by itself."""


class ShownImages:
    """Fetches images for many judgings at once, on one event loop."""

    def __init__(self, config: EvaluateConfig, readers: Executor, stop: StopRequest) -> None:
        """
        Args:
            config: the job's.
            readers: threads that fetch and decode.
            stop: asks for the run's end; what is being fetched is given up then.
        """
        self._config = config
        self._readers = readers
        self._stop = stop
        self._results = self._read_by(OWN_RESULTS)
        self._pairs = self._read_by(config.input)
        self._runs: dict[str, tuple[OriginalReader, ManifestImages]] = {}

    async def open(self, record: PlannedRecord, about: Mapping[str, Any]) -> tuple[Shown, int]:
        """The images of a judging, and how many faults were waited out for them.

        Args:
            record: as it was planned.
            about: what its plan says of it.

        Raises:
            RecordError: one can't be had, or is another one now. Its `retries` are those of all of them.
        """
        retries = 0

        async def fetch(images: ManifestImages, image: str | Place, name: str) -> Frame:
            nonlocal retries
            frame, more = await images.fetch(image, partial(images.decode, name))
            retries += more
            return frame

        try:
            original = await fetch(*await self._find_original(about), about["source"])
            if about.get("source_digest") not in (None, original.digest):
                raise RecordError(
                    ErrorKind.image_unreadable,
                    f"{about['source']}: is another image now than the one that was edited",
                )
            control = await self._make_control(about["judged"], original)
            results = self._results if about.get("place") else self._pairs
            if "against_image" not in about and control is not None:
                return Shown(original, control, None), retries
            candidate = await fetch(results, record.image, record.source)
            if "against_image" not in about:
                return Shown(original, candidate, None), retries
            if about["judged"] == SAME:
                control = candidate
            elif control is None:
                place = Place(*about["against_image"])
                control = await fetch(results, place, str(place))
            return Shown(original, candidate, control), retries
        except RecordError as error:
            error.retries += retries
            raise

    async def close(self) -> None:
        """Close the files of embedded images."""
        for images in (self._results, self._pairs, *(images for _, images in self._runs.values())):
            await asyncio.to_thread(images.close)

    async def _find_original(self, about: Mapping[str, Any]) -> tuple[ManifestImages, str | Place]:
        run = about.get("place")
        if not run:
            return self._pairs, about["source"]
        if run not in self._runs:
            store = open_store(run, self._config.storage, make=False)
            source, reader = await asyncio.to_thread(open_originals, store, self._config.storage)
            self._runs.setdefault(run, (reader, self._read_by(source)))
        reader, images = self._runs[run]
        return images, reader.find(about["source"])

    async def _make_control(self, kind: str, original: Frame) -> Frame | None:
        """The image of a canary that is no result."""
        if kind == ORIGINAL:
            return original
        if kind == BLACK:
            return await asyncio.to_thread(lambda: frame_of(make_black(original.size)))
        return None

    def _read_by(self, source: ManifestConfig) -> ManifestImages:
        return ManifestImages(source, self._config.storage, "", self._readers, self._stop)
