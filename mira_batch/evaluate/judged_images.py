"""Where the images lie that an evaluation judged, and the runs that made them: what its plan says."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from mira_batch.config.evaluate import PairsConfig
from mira_batch.config.shared import ManifestConfig, StorageConfig
from mira_batch.core.errors import MiraError, RecordError, StoreError
from mira_batch.core.identity import frame_of
from mira_batch.storage import images
from mira_batch.storage.images import OWN_RESULTS
from mira_batch.storage.manifest import OriginalReader, Place, PlannedRecord
from mira_batch.storage.run.layout import read_run
from mira_batch.storage.run.originals import open_originals
from mira_batch.storage.run.planfile import read_plan, read_plan_file
from mira_batch.storage.stores import open_store


@dataclass(frozen=True, slots=True)
class Judged:
    """A result that was judged."""

    image: str | Place
    """Where it is."""
    original: str
    """Where the original is, as the run names it."""
    run: str | None
    """The directory of the run that made it; None of a manifest of pairs."""


def find_judged(evaluation: str, storage: StorageConfig, records: Collection[str]) -> dict[str, Judged]:
    """Where the results of some records are, by record.

    Args:
        evaluation: its directory.
        storage: how it is reached.
        records: ids of those wanted.

    Raises:
        StoreError: its plan is damaged or gone.
    """
    store = open_store(evaluation, storage, make=False)
    plan = read_plan(store)
    wanted = pc.field("record_id").isin(pa.array(records, pa.string()))
    found: dict[str, Judged] = {}
    for key in () if plan is None else plan.files:
        table = pq.read_table(pa.BufferReader(read_plan_file(store, key)), filters=wanted)
        for row in table.to_pylist():
            about = json.loads(row["metadata"])
            image = PlannedRecord.from_row(row).image
            found[row["record_id"]] = Judged(image, about["source"], about.get("place"))
    return found


class JudgedImages:
    """Opens the images of an evaluation once more, for people to look at."""

    def __init__(self, evaluation: str, storage: StorageConfig) -> None:
        """
        Args:
            evaluation: its directory.
            storage: how it, and the runs that it judged, are reached.

        Raises:
            RunConflict: there is no run.
            StoreError: it is damaged.
        """
        self._storage = storage
        given = read_run(open_store(evaluation, storage, make=False))["config"].get("input", {})
        known = {name: given[name] for name in PairsConfig.model_fields if name in given}
        self._pairs = PairsConfig.model_validate(known)
        self._runs: dict[str, tuple[ManifestConfig, OriginalReader] | None] = {}

    def open_original(self, judged: Judged, digest: str | None) -> Image.Image | str:
        """The original, or in words why it can't be shown.

        Args:
            judged: the result that was made of it.
            digest: of its pixels.
        """
        source: ManifestConfig = self._pairs
        reader = OriginalReader(source, self._storage, ())
        if judged.run is not None:
            if (opened := self._open_run(judged.run)) is None:
                return "can no longer be read: its run is gone"
            source, reader = opened
        return self._open(reader, judged.original, source, digest)

    def open_result(self, judged: Judged, digest: str | None) -> Image.Image | str:
        """The result, as `open_original`."""
        source = self._pairs if judged.run is None else OWN_RESULTS
        files = [judged.image.file] if isinstance(judged.image, Place) else []
        reader = OriginalReader(source, self._storage, files)
        return self._open(reader, str(judged.image), source, digest)

    def _open_run(self, run: str) -> tuple[ManifestConfig, OriginalReader] | None:
        if run not in self._runs:
            try:
                opened = open_originals(open_store(run, self._storage, make=False), self._storage)
            except MiraError:
                opened = None
            self._runs[run] = opened
        return self._runs[run]

    def _open(
        self, reader: OriginalReader, place: str, source: ManifestConfig, digest: str | None
    ) -> Image.Image | str:
        try:
            data = reader.read(place, reader.read_embedded([place]))
            if data is None:
                return "is no longer where it was judged"
            image = images.decode(data, place, source)
        except (RecordError, StoreError):
            return "can no longer be read"
        return image if digest in (None, frame_of(image).digest) else "has changed since it was judged"
