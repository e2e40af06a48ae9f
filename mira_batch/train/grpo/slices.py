"""The records of an iteration, as a manifest of their own: so its run is an ordinary run, and can be made
again.

Records are named by their places in the user's manifest, counted over all valid rows of all its files.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.edit import InputConfig
from mira_batch.config.shared import Columns, StorageConfig
from mira_batch.core.errors import ManifestError, RunConflict
from mira_batch.core.identity import content_hash
from mira_batch.storage.manifest import Embedded, OriginalReader, Record, find_manifest, read_split
from mira_batch.storage.schema import IMAGE
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store
from mira_batch.train.columns import list_keys, name_columns
from mira_batch.train.grpo.states import AskedState


def digest_files(found: Source) -> str:
    """What tells a manifest from others: its files' places and versions.

    Args:
        found: from `find_manifest`.
    """
    return content_hash(*(part for file in found.files for part in file))


class RecordList:
    """The valid records of a manifest."""

    def __init__(self, source: InputConfig, storage: StorageConfig, output: str) -> None:
        """Count them: one pass over the manifest.

        Args:
            source: names it.
            storage: how it is reached.
            output: directory of the training, which is no part of it.

        Raises:
            ManifestError: it can't be read, or holds no valid record.
        """
        self.source = source
        self._storage, self._output = storage, output
        found = find_manifest(source, storage, output)
        self._files = [path for path, _ in found.files]
        self.digest = digest_files(found)
        """Of its files' places and versions."""
        self.count = sum(1 for _ in self._scan())
        """How many there are."""
        if not self.count:
            raise ManifestError(f"{source.manifest}: has no valid record; `mira-batch plan` says why")

    def read(self, places: Sequence[int]) -> list[Record]:
        """Records in the order of these places.

        Raises:
            RunConflict: the manifest has changed since it was counted.
        """
        wanted = {place: number for number, place in enumerate(places)}
        found = [(wanted[k], record) for k, record in enumerate(self._scan()) if k in wanted]
        return [record for _, record in sorted(found, key=lambda pair: pair[0])]

    def write(self, places: Sequence[int], store: Store, folder: str) -> InputConfig:
        """Write a manifest of these records, unless it is there; what reads it.

        Embedded images make it Parquet, else it is JSON lines with the images' absolute places.

        Args:
            places: of the records.
            store: the training's.
            folder: of the iteration, in the store.

        Raises:
            ManifestError: an embedded image is gone.
        """
        return self._write(store, f"{folder}/records", f"{folder}/columns.json", partial(self.read, places))

    def write_states(
        self, places: Sequence[int], states: Sequence[AskedState], store: Store, folder: str
    ) -> InputConfig:
        """Write a manifest of states of these records, unless it is there; what reads it, but for `branches`.

        Args:
            places: of the records.
            states: of their trajectories.
            store: the training's.
            folder: of the iteration, in the store.

        Raises:
            ManifestError: an embedded image is gone, or a record has a column `branch` of its own.
        """

        def read() -> list[Record]:
            records = {record.record_id: record for record in self.read(places)}
            return [_begin(records[state.record_id], state) for state in states]

        return self._write(store, f"{folder}/states", f"{folder}/states-columns.json", read)

    def _write(
        self, store: Store, name: str, columns_key: str, read: Callable[[], Sequence[Record]]
    ) -> InputConfig:
        names = {form: f"{name}.{form}" for form in ("parquet", "jsonl")}
        key = next((key for key in names.values() if store.exists(key)), None)
        if key is None or not store.exists(columns_key):
            records = read()
            images = self._read_embedded(records)
            columns = name_columns(list_keys(record.metadata for record in records))
            rows = [_make_row(record, columns, images) for record in records]
            key = names["parquet" if images else "jsonl"]
            store.create(columns_key, json.dumps(columns.model_dump(mode="json")).encode())
            store.create(key, _dump_parquet(rows, columns) if images else _dump_lines(rows))
        columns = Columns.model_validate_json(store.get(columns_key) or b"{}")
        kept = self.source.model_dump(include={"identity", "max_bytes", "max_pixels"})
        return InputConfig(manifest=store.locate(key), columns=columns, allow=self.source.allowed, **kept)

    def _scan(self) -> Iterator[Record]:
        found = find_manifest(self.source, self._storage, self._output)
        if digest_files(found) != self.digest:  # places would be those of other records
            raise RunConflict(
                f"{self.source.manifest}: is another than the training began with; put that back, or name "
                "another output.uri"
            )
        seen: set[bytes] = set()
        for split in found.split():
            for row in read_split(split, self.source, self._storage):
                if isinstance(row, Record):
                    name = bytes.fromhex(content_hash(row.record_id))
                    if name not in seen:  # of several of one name the first counts, as in the job
                        seen.add(name)
                        yield row

    def _read_embedded(self, records: Sequence[Record]) -> dict[str, bytes]:
        places = {str(r.image.place): r for r in records if isinstance(r.image, Embedded)}
        found = OriginalReader(self.source, self._storage, self._files).read_embedded(list(places))
        if gone := sorted(places.keys() - found.keys()):
            raise ManifestError(f"{places[gone[0]].where}: its image can't be read any more")
        return found


def _begin(record: Record, state: AskedState) -> Record:
    metadata = json.loads(record.metadata)
    if "branch" in metadata:
        raise ManifestError(
            f"{record.where}: has a column `branch`, by which `credit: step` names states; rename it, or "
            "leave it out of input.columns.metadata"
        )
    branch = {"work_id": state.work_id, "steps": state.steps}
    return replace(record, record_id=state.name, metadata=json.dumps(metadata | {"branch": branch}))


def _make_row(record: Record, columns: Columns, images: dict[str, bytes]) -> dict[str, Any]:
    image: Any = record.image
    if isinstance(image, Embedded):
        image = {"bytes": images[str(image.place)], "path": None}
    elif images:
        image = {"bytes": None, "path": image}
    ours = {
        columns.record_id: record.record_id,
        columns.image: image,
        columns.instruction: record.instruction,
    }
    return json.loads(record.metadata) | ours


def _dump_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _dump_parquet(rows: Sequence[dict[str, Any]], columns: Columns) -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row))
    kinds = {columns.image: IMAGE}
    arrays = [pa.array([row.get(name) for row in rows], kinds.get(name)) for name in names]
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, names), sink)
    return sink.getvalue()
