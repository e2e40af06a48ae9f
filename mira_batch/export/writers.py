"""Makes a part of a plan: image files, or one file with many records. Runs on any worker.

A file is created once and whole. What is there already is left as it is: of a shard its name says that it is
this very part's; an image must have the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from mira_batch.config.export import ExportConfig
from mira_batch.config.shared import ManifestConfig
from mira_batch.core.errors import RecordError, RunConflict, StoreError
from mira_batch.export.ledger import read_part, shard_key
from mira_batch.export.names import ENDINGS
from mira_batch.export.rows import cut_by_file, read_file_rows
from mira_batch.export.table_rows import SOURCES, make_table_rows
from mira_batch.storage import schema
from mira_batch.storage.encoding import encode
from mira_batch.storage.images import decode
from mira_batch.storage.run.result_file import results_file
from mira_batch.storage.stores import Store, open_store

WRITTEN = pa.schema([("records", pa.int64()), ("bytes", pa.int64())])
"""What is told of a part that was made."""
_THREADS = 16
_STARTS = {"png": b"\x89PNG", "jpeg": b"\xff\xd8", "webp": b"RIFF"}
_ABOUT = [name for name in schema.RESULTS.names if name not in ("image", "steps")]
_BOUNDS = ManifestConfig(manifest="/", max_bytes=2_000_000_000, max_pixels=89_478_485)
"""Our own results were within the run's bounds when they were made."""


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


def _read(config: ExportConfig, output: str, rows: pa.Table, columns: list[str]) -> Iterator[Any]:
    """(planned row, row of its results) of each row, in order; one result file in memory at a time."""
    for some in cut_by_file(rows):
        table = read_file_rows(output, some, columns, config.storage)
        yield from zip(some.to_pylist(), table.to_pylist(), strict=True)


def _write_images(config: ExportConfig, to: Store, output: str, rows: pa.Table) -> int:
    def write(pair: tuple[Mapping[str, Any], Mapping[str, Any]]) -> int:
        planned, row = pair
        data = _fit_image(config, planned, row)
        name = planned["name"]
        if not to.create(name, data) and to.get(name) != data:
            raise RunConflict(
                f"{to.locate(name)}: was put there by somebody else meanwhile, and nothing is overwritten; "
                "move it away and call again"
            )
        return len(data)

    with ThreadPoolExecutor(_THREADS) as pool:
        written = 0
        for some in cut_by_file(rows):
            table = read_file_rows(output, some, ["result_digest", "image"], config.storage)
            written += sum(pool.map(write, zip(some.to_pylist(), table.to_pylist(), strict=True)))
        return written


def _fit_image(config: ExportConfig, planned: Mapping[str, Any], row: Mapping[str, Any]) -> bytes:
    """A result's image, in the format that is planned."""
    data: bytes | None = (row["image"] or {}).get("bytes")
    if data is None:
        raise StoreError(f"record {planned['record_id']!r}: its row has no image; check run {planned['run']}")
    wanted = planned["format"]
    if data.startswith(_STARTS[wanted]):
        return data
    try:
        image = decode(data, f"the result of record {planned['record_id']!r}", _BOUNDS)
        return encode(image, config.encoding(cast("Any", wanted)))
    except RecordError as error:
        raise StoreError(f"{error}; leave it out with --where, or keep the format of results") from error


def _make_shard(config: ExportConfig, output: str, rows: pa.Table) -> bytes | memoryview:
    match config.form:
        case "webdataset":
            return _make_tar(config, output, rows)
        case "hf":
            read = _read(config, output, rows, [*_ABOUT, "image"])
            fields = schema.add_features(
                pa.schema([field for field in schema.RESULTS if field.name != "steps"])
            )
            return results_file((row for _, row in read), fields)
        case _:
            return _make_csv(config, output, rows)


def _make_tar(config: ExportConfig, output: str, rows: pa.Table) -> memoryview:
    """Samples of `<name>.<format>` and `<name>.json`; the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for planned, row in _read(config, output, rows, [*_ABOUT, "image"]):
            image = _fit_image(config, planned, row)
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
