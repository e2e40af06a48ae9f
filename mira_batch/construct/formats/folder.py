"""Where an export goes: files that are created once, of bounded size."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from PIL import Image

from mira_batch.construct.stages import create_same
from mira_batch.storage.run.result_file import results_file
from mira_batch.storage.stores import Store

MOST_LINES = 200_000
"""Of a file of JSON lines, which is held in memory while it is made; images are in files of their own."""
_ENDINGS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}


class Folder:
    """Writes rows and images by split."""

    def __init__(self, store: Store, fields: pa.Schema | None, rows: int, size: int, name: str) -> None:
        """
        Args:
            store: the destination.
            fields: of Parquet rows; None: the files are JSON lines.
            rows, size: at which a Parquet file is closed, in rows and in bytes of images.
            name: of a file of JSON lines, with `{split}` in it.
        """
        self._store, self._fields, self._name = store, fields, name
        self._most, self._size = (rows if fields is not None else MOST_LINES), size
        self._held: dict[str, list[Mapping[str, Any]]] = {}
        self._bytes: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.files: list[str] = []

    def add(self, split: str, row: Mapping[str, Any], size: int = 0) -> None:
        """Write a row of a split; `size` in bytes of its images."""
        self._held.setdefault(split, []).append(row)
        self._bytes[split] += size
        self.rows[split] += 1
        if len(self._held[split]) >= self._most or self._bytes[split] >= self._size:
            self._flush(split)

    def add_image(self, data: bytes) -> tuple[str, str]:
        """Write an image as a file of its own, once.

        Args:
            data: encoded.

        Returns:
            Its name below the destination, and the SHA-256 of its bytes, which it is called after.
        """
        digest = hashlib.sha256(data).hexdigest()
        form = Image.open(io.BytesIO(data)).format or "PNG"
        key = f"images/{digest[:2]}/{digest}.{_ENDINGS.get(form, form.lower())}"
        self._store.create(key, data)
        return key, digest

    def put(self, key: str, document: Any) -> None:
        """Write a JSON document."""
        create_same(self._store, key, json.dumps(document, indent=2, ensure_ascii=False).encode())
        self.files.append(key)

    def close(self) -> None:
        """Write what is held."""
        for split in sorted(self._held):
            self._flush(split)

    def _flush(self, split: str) -> None:
        if not (rows := self._held.pop(split, [])):
            return
        number = self._numbers[split]
        if self._fields is None:
            key = self._name.format(split=split)
            if number:
                head, _, ending = key.rpartition(".")
                key = f"{head}-{number:05d}.{ending}"
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            create_same(self._store, key, "".join(lines).encode())
        else:
            key = f"{split}-{number:05d}.parquet"
            create_same(self._store, key, results_file(rows, self._fields))
        self._numbers[split] += 1
        self._bytes[split] = 0
        self.files.append(key)
