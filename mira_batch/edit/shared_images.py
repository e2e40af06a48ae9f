"""Original images, read once for all trajectories of a record that are in flight together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from mira_batch.core.types import Frame
from mira_batch.marks import Marks
from mira_batch.storage.manifest import ManifestImages, PlannedRecord

_Opened = tuple[tuple[Frame, Marks], int]


class SharedImages:
    """Belongs to one event loop. An image is held as long as a trajectory of its record is in flight."""

    def __init__(self, images: ManifestImages, keep: bool) -> None:
        """
        Args:
            images: reads them.
            keep: whether their EXIF and XMP are wanted as a whole.
        """
        self._images = images
        self._keep = keep
        self._users: Counter[str] = Counter()
        self._reads: dict[str, asyncio.Task[_Opened]] = {}

    @contextmanager
    def use(self, record: PlannedRecord) -> Iterator[None]:
        """Inside, the image of a record that was opened is held."""
        self._users[record.record_id] += 1
        try:
            yield
        finally:
            self._users[record.record_id] -= 1
            if not self._users[record.record_id]:
                del self._users[record.record_id]
                self._reads.pop(record.record_id, None)

    async def open(self, record: PlannedRecord) -> _Opened:
        """A record's image with what it says beside its pixels, and how many faults were waited out: of an
        image that another trajectory has asked for, none. Raises as `ManifestImages.open_marked`."""
        if record.rollout is None:
            return await self._images.open_marked(record, self._keep)
        name = record.record_id
        if name in self._reads:
            return (await asyncio.shield(self._reads[name]))[0], 0
        self._reads[name] = asyncio.create_task(self._images.open_marked(record, self._keep))
        self._reads[name].add_done_callback(_note_failure)
        return await asyncio.shield(self._reads[name])

    def close(self) -> None:
        """Close the file of embedded images. Blocks while it is read."""
        self._images.close()


def _note_failure(read: asyncio.Task[_Opened]) -> None:
    """It is known, also where nobody waits for it any more."""
    if not read.cancelled():
        read.exception()
