"""Makes a part of a plan: image files, or one file with many records. Runs on any worker.

A file is created once and whole. What is there already is left as it is: of a shard its name says that it is
this very part's; an image must have the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import pyarrow as pa

from mira_batch.config.export import ExportConfig
from mira_batch.core.errors import RecordError, RunConflict, StoreError
from mira_batch.core.identity import frame_of
from mira_batch.export.ledger import read_part, shard_key
from mira_batch.export.names import ENDINGS
from mira_batch.export.rows import cut_by_file, read_file_rows
from mira_batch.export.signing import COLUMNS, STARTS, Signed, Signer
from mira_batch.export.table_rows import SOURCES, make_table_rows
from mira_batch.marks import make_labels
from mira_batch.storage import schema
from mira_batch.storage.encoding import encode
from mira_batch.storage.images import OWN_RESULTS, decode_marked
from mira_batch.storage.run.result_file import results_file
from mira_batch.storage.stores import Store, open_store

WRITTEN = pa.schema([("records", pa.int64()), ("bytes", pa.int64())])
"""What is told of a part that was made."""
_THREADS = 16
_ABOUT = [name for name in schema.RESULTS.names if name not in ("image", "steps")]


@dataclass(frozen=True)
class Part:
    """A part of a plan on its way to a worker."""

    number: int
    """Of the plan."""
    part: int
    output: str
    """The directory of all runs."""


class Export:
    """What a worker is given: made of its config alone, as a job is."""

    def __init__(self, config: ExportConfig) -> None:
        self.config = config
        """The export's."""


def write_part(export: Export, part: Part) -> Iterator[pa.Table]:
    """Make a part of a plan; one row of schema `WRITTEN`.

    Raises:
        RunConflict: there is another file under the name of an image.
        StoreError: a store can't be used, or a result is gone or damaged.
    """
    config = export.config
    to = open_store(config.destination, config.storage)
    rows = read_part(to, part.number, part.part, config.storage)
    key = shard_key(config.form, part.number, part.part)
    if config.form == "folder":
        written = _write_images(config, to, part.output, rows)
        to.create(key, json.dumps({"records": rows.num_rows}).encode())
    else:
        data = _make_shard(config, part.output, rows)
        written = len(data)
        to.create(key, data)
    yield pa.table([[rows.num_rows], [written]], schema=WRITTEN)


class _Images:
    """Results with their images as these are handed over: in the format that is planned, and signed."""

    def __init__(self, config: ExportConfig, output: str) -> None:
        self._config = config
        self._output = output
        self._signer = None if config.signing is None else Signer(config, config.signing, output)

    def read(self, rows: pa.Table, columns: Sequence[str]) -> Iterator[list[Any]]:
        """Of each result file in turn its (planned row, row of its results, what is signed)."""
        more = [] if self._signer is None else COLUMNS
        for some in cut_by_file(rows):
            names = dict.fromkeys([*columns, "image", *more])
            found = read_file_rows(self._output, some, list(names), self._config.storage).to_pylist()
            said = [None] * len(found) if self._signer is None else self._signer.read(some, found)
            yield list(zip(some.to_pylist(), found, said, strict=True))

    def make(self, planned: Mapping[str, Any], row: Mapping[str, Any], said: Signed | None) -> bytes:
        """The image of a result."""
        data = _fit_image(self._config, planned, row)
        return data if self._signer is None or said is None else self._signer.sign(planned, data, said)

    def is_same(self, data: bytes, there: bytes | None) -> bool:
        """Whether a file that is there is this image. A signature is another one each time."""
        if self._signer is None or there is None or data == there:
            return data == there
        try:
            (pixels, _), (others, marks) = (decode_marked(each, "", OWN_RESULTS) for each in (data, there))
        except RecordError:
            return False
        return marks.has_c2pa and frame_of(pixels).digest == frame_of(others).digest


def _write_images(config: ExportConfig, to: Store, output: str, rows: pa.Table) -> int:
    images = _Images(config, output)

    def write(found: Any) -> int:
        planned = found[0]
        data, name = images.make(*found), planned["name"]
        if not to.create(name, data) and not images.is_same(data, to.get(name)):
            raise RunConflict(
                f"{to.locate(name)}: was put there by somebody else meanwhile, and nothing is overwritten; "
                "move it away and call again"
            )
        return len(data)

    with ThreadPoolExecutor(_THREADS) as pool:
        return sum(sum(pool.map(write, some)) for some in images.read(rows, ["result_digest"]))


def _fit_image(config: ExportConfig, planned: Mapping[str, Any], row: Mapping[str, Any]) -> bytes:
    """A result's image, in the format that is planned."""
    data: bytes | None = (row["image"] or {}).get("bytes")
    if data is None:
        raise StoreError(f"record {planned['record_id']!r}: its row has no image; check run {planned['run']}")
    wanted = planned["format"]
    if wanted is None or data.startswith(STARTS[wanted]):
        return data
    try:
        name = f"the result of record {planned['record_id']!r}"
        image, marks = decode_marked(data, name, OWN_RESULTS, keep=True)
        labels = make_labels(marks, "keep", marks.source_type)  # all that it says already
        return encode(image, config.encoding(cast("Any", wanted)), labels)
    except RecordError as error:
        raise StoreError(
            f"{error}; export into another destination, without it (--where) or in the format of results"
        ) from error


def _make_shard(config: ExportConfig, output: str, rows: pa.Table) -> bytes | memoryview:
    match config.form:
        case "webdataset":
            return _make_tar(config, output, rows)
        case "hf":
            fields = schema.add_features(
                pa.schema([field for field in schema.RESULTS if field.name != "steps"])
            )
            return results_file(_read_for_hf(config, output, rows), fields)
        case _:
            return _make_csv(config, output, rows)


def _read_for_hf(config: ExportConfig, output: str, rows: pa.Table) -> Iterator[dict[str, Any]]:
    images = _Images(config, output)
    for planned, row, said in chain.from_iterable(images.read(rows, _ABOUT)):
        yield row | {"image": {"bytes": images.make(planned, row, said), "path": None}}


def _make_tar(config: ExportConfig, output: str, rows: pa.Table) -> memoryview:
    """Samples of `<name>.<format>` and `<name>.json`; the same bytes each time, but for signatures."""
    buffer, images = io.BytesIO(), _Images(config, output)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for planned, row, said in chain.from_iterable(images.read(rows, _ABOUT)):
            image = images.make(planned, row, said)
            about = {name: row[name] for name in _ABOUT}
            about["metadata"] = json.loads(about["metadata"]) if about["metadata"] else None
            text = json.dumps(about, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
            for ending, data in ((ENDINGS[planned["format"]][0], image), ("json", text)):
                member = tarfile.TarInfo(f"{planned['name']}.{ending}")
                member.size, member.mode = len(data), 0o644
                tar.addfile(member, io.BytesIO(data))
    return buffer.getbuffer()


def _make_csv(config: ExportConfig, output: str, rows: pa.Table) -> bytes:
    """RFC 4180 in UTF-8; an empty cell is one without a value."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(schema.TABLE.names)
    for some in cut_by_file(rows):
        found = read_file_rows(output, some, SOURCES, config.storage)
        for row in make_table_rows(output, some, found).to_pylist():
            writer.writerow([_as_cell(value) for value in row.values()])
    return text.getvalue().encode("utf-8", "surrogatepass")


def _as_cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
