"""Signs images as they are handed over, each with the image that it was made from as its parent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mira_batch.config.export import ExportConfig, SigningConfig
from mira_batch.config.shared import ManifestConfig
from mira_batch.core.errors import ConfigError, RecordError, StoreError
from mira_batch.core.identity import frame_of
from mira_batch.core.source_type import ENHANCED, GENERATIVE
from mira_batch.imaging import encode_png
from mira_batch.marks import SignedEdit, SignedSource, SigningKey, read_key, sign_image
from mira_batch.models.imports import import_foreign
from mira_batch.storage import images, schema
from mira_batch.storage.manifest import OriginalReader
from mira_batch.storage.run.history import read_result_file
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.originals import open_originals
from mira_batch.storage.run.results import find_groups
from mira_batch.storage.stores import open_arrow_filesystem, open_store

COLUMNS = ["models", "source", "source_digest", "source_type"]
"""Of results, what a signature needs beside the edits."""
_EDITS = [f"steps.list.element.{name}" for name in ("accepted", "instruction")]
_CALL = "call:"


def open_key(config: SigningConfig) -> SigningKey:
    """The key that is named.

    Raises:
        ConfigError: it can't be read or imported.
    """
    if not config.key.startswith(_CALL):
        return read_key(config.certificates, config.key, config.algorithm)
    name, _, function = config.key.removeprefix(_CALL).partition(":")
    hint = "give call:package.module:function, importable here and where images are written"
    module = import_foreign(name, f"the key {config.key}: module {name}", hint)
    sign = getattr(module, function, None)
    if not callable(sign):
        raise ConfigError(f"the key {config.key}: {name} has no function {function!r}; {hint}")
    return read_key(config.certificates, cast("Callable[[bytes], bytes]", sign), config.algorithm)


def check_key(config: SigningConfig) -> None:
    """Sign an image that nobody gets, so that a key that doesn't do is known before anything is written.

    Raises:
        ConfigError: the key can't be read or doesn't sign, or the extra is missing.
    """
    image = encode_png(Image.new("RGB", (8, 8)))
    sign_image(
        image, "png", "a test of the key", SignedSource(image, "image/png", "test"), (), open_key(config)
    )


@dataclass(frozen=True)
class Signed:
    """What a signature says of one result."""

    source: str
    """Where the original is."""
    digest: str | None
    """Of its pixels as they were then."""
    edits: Sequence[SignedEdit]
    original: bytes | None = None
    """The original where it lies in a manifest; else it is fetched when it is needed."""


class Signer:
    """Signs the results of the runs below one directory. Threads may share one."""

    def __init__(self, config: ExportConfig, signing: SigningConfig, output: str) -> None:
        """
        Args:
            config: the export's.
            signing: the part of it that names the key.
            output: the directory of all runs.

        Raises:
            ConfigError: the key can't be read.
        """
        self._key = open_key(signing)
        self._storage = config.storage
        self._output = output
        self._runs: dict[str, tuple[ManifestConfig, OriginalReader]] = {}
        self._lock = threading.Lock()

    def read(self, some: pa.Table, rows: Sequence[Mapping[str, Any]]) -> list[Signed]:
        """What the signatures of some results say.

        Args:
            some: planned rows of one result file.
            rows: the same of its results, with `COLUMNS`.

        Raises:
            StoreError: the file is gone or damaged.
        """
        _, originals = self._open_run(some["run"][0].as_py())
        embedded = originals.read_embedded([row["source"] for row in rows])
        found = []
        for row, steps in zip(rows, self._read_steps(some), strict=True):
            editor = (row["models"] or {}).get("editor") or ""
            said = row["source_type"] if row["source_type"] in (GENERATIVE, ENHANCED) else ""
            edits = [SignedEdit(step["instruction"], editor, said) for step in steps if step["accepted"]]
            original = embedded.get(row["source"])
            found.append(Signed(row["source"], row["source_digest"], edits, original))
        return found

    def sign(self, planned: Mapping[str, Any], image: bytes, said: Signed) -> bytes:
        """An image with a signed manifest in it.

        Args:
            planned: its planned row.
            image: encoded, as it is handed over.
            said: what the signature says.

        Raises:
            ConfigError: the key doesn't sign.
            StoreError: the original can't be had any more, or is another one now.
        """
        title = (planned["name"] or planned["record_id"]).rpartition("/")[2]
        form: Any = name_format(image)
        return sign_image(image, form, title, self._read_source(planned, said), said.edits, self._key)

    def _read_source(self, planned: Mapping[str, Any], said: Signed) -> SignedSource:
        source, originals = self._open_run(planned["run"])
        name = said.source.rpartition("/")[2]
        embedded = {} if said.original is None else {said.source: said.original}
        problem = "is in its manifest no longer"
        try:
            if (data := originals.read(said.source, embedded)) is not None:
                if frame_of(images.decode(data, said.source, source)).digest == said.digest:
                    mime = Image.MIME[images.open_image(data).format or ""].replace("mpo", "jpeg")
                    return SignedSource(data, mime, name)
                problem = "is another one now"
        except RecordError as error:
            problem = f"can't be read any more: {error}"
        raise StoreError(
            f"record {planned['record_id']!r}: its original, {said.source}, {problem}; an image is signed "
            "with what it was made from: put it back and call again, or export into "
            "another destination without the record (--where)"
        )

    def _open_run(self, run: str) -> tuple[ManifestConfig, OriginalReader]:
        with self._lock:
            if run not in self._runs:
                store = open_store(f"{self._output}/{run}", self._storage, make=False)
                self._runs[run] = open_originals(store, self._storage)
            return self._runs[run]

    def _read_steps(self, some: pa.Table) -> list[list[dict[str, Any]]]:
        """The steps of each row, without their images."""
        run, shard = some["run"][0].as_py(), some["shard"][0].as_py()
        where = f"{self._output}/{run}"
        fs, root = open_arrow_filesystem(where, self._storage)
        take = partial(_take_steps, rows=some["row"].to_pylist())
        fields = [schema.RESULTS.field("steps")]
        found = read_result_file(fs, where, f"{root}/{result_key(shard)}", fields, take, self._storage)
        return [steps or [] for steps in found]


def _take_steps(parquet: pq.ParquetFile, rows: Sequence[int]) -> list[Any]:
    found: list[Any] = []
    for group, inside in find_groups(parquet, rows):
        found += parquet.read_row_group(group, columns=_EDITS)["steps"].take(inside).to_pylist()
    return found


STARTS = {"png": b"\x89PNG", "jpeg": b"\xff\xd8", "webp": b"RIFF"}
"""The first bytes of each format that results are written in."""


def name_format(image: bytes) -> str:
    """The format of a result of ours: png, jpeg or webp."""
    return next(name for name, start in STARTS.items() if image.startswith(start))
