"""Turns a piece of a manifest into plan rows: validated, with a work_id each. Runs on any worker."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pyarrow as pa

from mira_batch.config.base import is_remote
from mira_batch.config.bulk_edit import BulkEditConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import fingerprint, work_id
from mira_batch.storage import schema
from mira_batch.storage.files import READ_ERRORS, version
from mira_batch.storage.images import check_allowed
from mira_batch.storage.manifest import Piece, read_piece
from mira_batch.storage.rows import Embedded, Record, Reject

SCAN = pa.schema([*schema.PLAN, *schema.REJECTS.remove(1)])
"""Plan rows and rejects in one table: of a reject `reason` is set, of a record it is null."""
_ROWS = 5_000
_LOOKUPS = 16


def scan_piece(piece: Piece, config: BulkEditConfig) -> Iterator[pa.Table]:
    """The rows of a piece in order, in tables of schema `SCAN`.

    Raises:
        ManifestError: the file can't be read to its end.
    """
    pipeline = fingerprint(config.pixels())
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        stream = read_piece(piece, config.input, config.storage)
        while rows := list(islice(stream, _ROWS)):
            uris = {r.image for r in rows if isinstance(r, Record) and isinstance(r.image, str)}
            identities = _identities(sorted(uris), config, pool)
            table = [
                _reject_row(row) if isinstance(row, Reject) else _plan_row(row, identities, pipeline)
                for row in rows
            ]
            yield pa.Table.from_pylist(table, schema=SCAN)


def _identities(uris: list[str], config: BulkEditConfig, pool: ThreadPoolExecutor) -> dict[str, str]:
    """URI -> what tells its content. An image that can't be looked up fails later, in its own row."""

    def look_up(uri: str) -> str:
        try:
            check_allowed(uri, config.input.allowed)
            return version(uri, config.storage)
        except (RecordError, *READ_ERRORS):
            return "unknown"

    if config.input.identity == "uri":
        return {}
    remote = any(is_remote(uri) for uri in uris)
    found = pool.map(look_up, uris) if remote else map(look_up, uris)  # a local stat is quicker than a thread
    return dict(zip(uris, found, strict=True))


def _plan_row(record: Record, identities: dict[str, str], pipeline: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "record_id": record.record_id,
        "instruction": record.instruction,
        "metadata": record.metadata,
        "where": record.where,
    }
    if isinstance(record.image, Embedded):
        place, identity = record.image.place, record.image.digest
        row |= {
            "image_file": place.file,
            "image_row_group": place.row_group,
            "image_row": place.row,
        }
    else:
        row["image_uri"] = record.image
        identity = f"{record.image}\n{identities.get(record.image, '')}"
    return row | {"work_id": work_id(record.record_id, identity, record.instruction, pipeline)}


def _reject_row(reject: Reject) -> dict[str, Any]:
    return {
        "where": reject.where,
        "record_id": reject.record_id,
        "field": reject.field,
        "reason": reject.reason,
    }
