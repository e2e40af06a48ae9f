"""Reads the images that results were made from once more, by what a run has noted of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa

from mira_batch.config.shared import ManifestConfig, StorageConfig
from mira_batch.core.errors import ManifestError, StoreError
from mira_batch.storage import images
from mira_batch.storage.manifest.embedded import read_embedded
from mira_batch.storage.manifest.rows import Place
from mira_batch.storage.stores import read_errors

_PLACE = re.compile(r"(.+)#row_group=(\d{1,9})&row=(\d{1,9})", re.DOTALL)


class OriginalReader:
    """Reads the originals of one run. Threads may share one."""

    def __init__(self, source: ManifestConfig, storage: StorageConfig, files: Collection[str]) -> None:
        """
        Args:
            source: the run's input.
            storage: how it is reached.
            files: paths of the run's manifest files, the only ones that embedded images are read from.
        """
        self._source = source
        self._storage = storage
        self._files = frozenset(files)

    def read_embedded(self, sources: Sequence[str]) -> dict[str, bytes]:
        """Encoded originals that lie in the manifest, by source: one pass over each row group. Those that
        can't be had any more are left out.

        Args:
            sources: any, as results name them.
        """
        groups: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
        for source in sources:
            if isinstance(place := self.find(source), Place):
                groups[place.file, place.row_group][place.row] = source
        found: dict[str, bytes] = {}
        column = self._source.columns.image
        for (file, group), rows in groups.items():
            try:
                read = read_embedded(file, group, set(rows), column, self._storage)
            except (ManifestError, StoreError, IndexError, pa.ArrowException, *read_errors()):
                continue  # the manifest is gone or another one now
            found |= {rows[row]: data for row, data in read.items() if isinstance(data, bytes)}
        return found

    def read(self, source: str, embedded: Mapping[str, bytes]) -> bytes | None:
        """An original as it is now, encoded; None where the manifest has it no longer.

        Args:
            source: as the result names it.
            embedded: what `read_embedded` found of it and others.

        Raises:
            RecordError: its place is forbidden, unreadable or too large.
            StoreError: its store can't be used.
        """
        if isinstance(self.find(source), Place):
            return embedded.get(source)
        return images.fetch(source, self._source, self._storage)

    def find(self, source: str) -> str | Place:
        """Where an original is: a URI, or the place of an embedded image. The latter only in the run's own
        manifest: an image URI is free to look like a place, and would otherwise get around `input.allow`.

        Args:
            source: as the result names it.
        """
        match = _PLACE.fullmatch(source)
        if match is None or match[1] not in self._files:
            return source
        return Place(match[1], int(match[2]), int(match[3]))
