"""Opens the images of planned records, wherever they lie: at a URI of their own, or embedded in the
manifest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from mira_batch.config.shared import ManifestConfig, StorageConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import content_hash, frame_of, rollout_work_id, work_id
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import ErrorKind, Frame
from mira_batch.marks import Marks
from mira_batch.storage import images
from mira_batch.storage.manifest.embedded import EmbeddedReader
from mira_batch.storage.manifest.planned import PlannedRecord, read_state
from mira_batch.storage.manifest.rows import Place

T = TypeVar("T")


class ManifestImages:
    """Reads images for many records at once, on one event loop.

    Embedded images are asked for one by one, and read together: one pass over a row group serves all records
    that wait for it, in the order of its rows.
    """

    def __init__(
        self,
        source: ManifestConfig,
        storage: StorageConfig,
        fingerprint: str,
        readers: Executor,
        stop: StopRequest | None = None,
        seconds: float | None = None,
    ) -> None:
        """
        Args:
            source: the manifest, and which images may be read.
            storage: how object stores are reached.
            fingerprint: the job's, by which an embedded image is known to be the one that was planned.
            readers: threads that fetch and decode.
            stop: asks for the run's end; what is being fetched is given up then.
            seconds: most that a web server may take for one image; None sets no limit.
        """
        self._source = source
        self._storage = storage
        self._fingerprint = fingerprint
        self._readers = readers
        self._stop = stop or StopRequest()
        self._seconds = seconds
        self._embedded = EmbeddedReader(source.columns.image, storage)
        self._waiting: dict[tuple[str, int], dict[int, asyncio.Future[bytes]]] = {}
        """(file, row group) -> row -> who waits for it."""
        self._reading: asyncio.Task[None] | None = None

    async def open(self, record: PlannedRecord) -> tuple[Frame, int]:
        """A record's image, decoded, and how many passing faults of its store were waited out.

        Raises:
            RecordError: it can't be had.
            FetchStopped: it was given up, since the run ends.
            StoreError: its store could not be reached, also after retries.
            ManifestError: the manifest can't be read.
        """
        return await self.read(record, partial(self.decode, record.source))

    async def open_marked(self, record: PlannedRecord, keep: bool = False) -> tuple[tuple[Frame, Marks], int]:
        """As `open`, the image with what it says beside its pixels.

        Args:
            record: as it was planned.
            keep: whether its EXIF and XMP are wanted as a whole.
        """
        return await self.read(record, partial(self._decode_marked, record.source, keep))

    async def read(self, record: PlannedRecord, use: Callable[[bytes], T]) -> tuple[T, int]:
        """What `use` makes of the image's encoded bytes, in a thread; raises and counts as `open`."""
        if isinstance(record.image, Place):
            return await self.fetch(record.image, partial(self._use_planned, record, use))
        return await self.fetch(record.image, use)

    async def fetch(self, image: str | Place, use: Callable[[bytes], T]) -> tuple[T, int]:
        """The same of any image, whether or not it is the one that was planned."""
        loop = asyncio.get_running_loop()
        if isinstance(image, Place):
            data = await self._read_embedded(image)
            return await loop.run_in_executor(self._readers, self._use_embedded, image, data, use), 0
        return await loop.run_in_executor(self._readers, self._fetch, image, use)

    def close(self) -> None:
        """Close the file that is open. Blocks while it is read."""
        self._embedded.close()

    def decode(self, name: str, data: bytes) -> Frame:
        """An image, decoded within the bounds of the manifest's settings.

        Raises:
            RecordError: it can't be.
        """
        return frame_of(images.decode(data, name, self._source))

    def _decode_marked(self, name: str, keep: bool, data: bytes) -> tuple[Frame, Marks]:
        pixels, marks = images.decode_marked(data, name, self._source, keep)
        return frame_of(pixels), marks

    def _fetch(self, uri: str, use: Callable[[bytes], T]) -> tuple[T, int]:
        retries = 0

        def count() -> None:
            nonlocal retries
            retries += 1

        try:
            stopped = partial(getattr, self._stop, "asked")
            read = images.read_image(uri, use, self._source, self._storage, count, stopped, self._seconds)
            return read, retries
        except RecordError as error:
            error.retries = retries
            raise

    def _use_embedded(self, place: Place, data: bytes, use: Callable[[bytes], T]) -> T:
        images.check_bytes(len(data), str(place), self._source)
        return use(data)

    def _use_planned(self, record: PlannedRecord, use: Callable[[bytes], T], data: bytes) -> T:
        identity = content_hash(data)
        if self._source.begins_within:
            identity = f"{identity}\n{read_state(record.metadata)}"
        planned = work_id(record.record_id, identity, record.instruction, self._fingerprint)
        if record.rollout is not None:
            planned = rollout_work_id(planned, record.rollout)
        if planned != record.work_id:
            problem = "the manifest has changed since this run was planned, and holds another image here"
            raise RecordError(ErrorKind.image_unreadable, f"{record.source}: {problem}")
        return use(data)

    async def _read_embedded(self, place: Place) -> bytes:
        rows = self._waiting.setdefault((place.file, place.row_group), {})
        future = rows.setdefault(place.row, asyncio.get_running_loop().create_future())
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_waiting())
        return await asyncio.shield(future)

    async def _read_waiting(self) -> None:
        """One pass after the other, each for all who wait for its row group by then."""
        while self._waiting:
            file, group = min(self._waiting)
            rows = self._waiting.pop((file, group))
            try:
                found = await asyncio.to_thread(self._embedded.read, file, group, set(rows))
            except Exception as error:  # whatever it is, it is theirs who wait
                for future in rows.values():
                    future.set_exception(error)
                    future.exception()  # it is known, also where nobody waits any more
            else:
                for row, future in rows.items():
                    future.set_result(found[row])
        self._reading = None
