"""What came of a run so far, over all calls of the driver, without reading its results.

    <run>/receipts/<session>.json     the shards that one call of the driver committed, and their sum

Every result file carries the receipt of its shard in its footer, so nothing depends on these files. They
spare whoever asks a large run how it stands a read per shard: only the shards that no sum covers are read,
which are those of a driver that was killed before it could write them down.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from mira_batch.core.errors import StoreError
from mira_batch.core.receipts import Receipt, RunSummary
from mira_batch.core.types import UNFINISHED
from mira_batch.storage.run.committed import find_ranges
from mira_batch.storage.run.layout import RECEIPTS, DamagedFile, read_document, result_key
from mira_batch.storage.stores import Store

FOOTER = b"mira_batch.receipt"
"""Key of the receipt in a result file's metadata."""
_EVERY = 10.0
"""Seconds between saves."""
_THREADS = 16
_RECEIPT = TypeAdapter(Receipt)
_DAMAGE = (pa.ArrowException, OSError, KeyError, TypeError, ValueError)
_TAIL = 1 << 16
"""Bytes that hold the footer of nearly every result file."""


class Ledger:
    """Adds up the receipts of one call of the driver."""

    def __init__(self, store: Store, session: str, before: RunSummary) -> None:
        self.before = before
        """How the run stood before this call."""
        self.summary = before
        """How it stands now."""
        self._store = store
        self._key = f"{RECEIPTS}/{session}.json"
        self._shards: set[int] = set()
        self._total = Receipt()
        self._saved = time.monotonic()

    def add(self, receipt: Receipt, records: int) -> None:
        """Take in the receipt of a shard of so many records; now and then the sum is saved."""
        self.summary = self.summary.plus(receipt, records)
        if not receipt.committed:  # by another driver, whose sum it is in
            return
        self._shards.add(receipt.shard)
        self._total += receipt
        if time.monotonic() - self._saved > _EVERY:
            self.save()

    def save(self) -> None:
        """Write the sum. It only saves time later, so a store that fails just now is no reason to stop."""
        self._saved = time.monotonic()
        if self._shards:
            document = {"shards": find_ranges(self._shards), "total": json.loads(to_json(self._total))}
            with suppress(StoreError):
                self._store.put(self._key, json.dumps(document).encode())


def sum_receipts(store: Store, committed: Mapping[int, int]) -> Receipt:
    """The sum of the receipts of these committed shards, given with their sizes.

    A sum that covers another shard as well (its result file was removed), or one that is counted already,
    or files that have another size by now (one is damaged), is left aside, and its shards are read.
    """
    found, left = Receipt(), set(committed)
    for entry in store.list(RECEIPTS):
        try:
            document = read_document(store, entry.key, "shards", "total")
            if document is None:
                continue
            shards = {i for first, last in document["shards"] for i in range(first, last + 1)}
            total = from_json(document["total"])
        except (DamagedFile, *_DAMAGE):  # it only spares reading the shards
            continue
        if shards and shards <= left and total.written == sum(committed[shard] for shard in shards):
            left -= shards
            found += total
    with ThreadPoolExecutor(_THREADS) as pool:
        for receipt in pool.map(lambda shard: read_receipt(store, shard), sorted(left)):
            found += receipt
    return found


def read_receipt(store: Store, shard: int) -> Receipt:
    """The receipt in a result file's footer; an empty one where the file is damaged, as `verify` will say."""
    key = result_key(shard)
    try:
        tail, size = store.get_tail(key, _TAIL)
        footer = int.from_bytes(tail[-8:-4], "little") + 8
        if footer > len(tail):
            tail, size = store.get_tail(key, footer)
        return _parse_footer(shard, tail, size)
    except _DAMAGE:
        pass
    try:
        found = store.read(key, lambda data: _parse_footer(shard, data, len(data)))
    except _DAMAGE:
        found = None
    return found or Receipt(shard)


def _parse_footer(shard: int, tail: bytes, size: int) -> Receipt:
    metadata = pq.read_metadata(pa.BufferReader(tail)).metadata
    return replace(from_json(json.loads(metadata[FOOTER])), shard=shard, written=size)


def to_json(receipt: Receipt) -> str:
    """A receipt as it stands in a result file's footer and in `receipts/`; all but the spans."""
    return _RECEIPT.dump_json(receipt, exclude={"spans"}).decode()


def from_json(data: Any) -> Receipt:
    """What `to_json` wrote, parsed from JSON, in this form or an earlier one.

    Raises:
        ValueError: it is something else.
    """
    data = data if "tally" in data else _convert_first_form(data)
    receipt = _RECEIPT.validate_python(data)
    if "unfinished" in data["tally"]:
        return receipt
    # Of a time when such records counted as ok.
    tally = receipt.tally
    unfinished = sum(tally.stops.get(reason, 0) for reason in UNFINISHED)
    return replace(receipt, tally=replace(tally, ok=tally.ok - unfinished, unfinished=unfinished))


def _convert_first_form(data: dict[str, Any]) -> dict[str, Any]:
    """A receipt of the first form, in which all figures stood side by side."""
    names = ("records", "ok", "steps", "resumed_steps", "errors", "stops")
    usage = {"seconds": data["seconds"], "cost": data.get("cost", 0.0)}
    return {
        "tally": {name: data[name] for name in names} | {"usage": usage},
        "breakdown": {"seconds": data.get("spent", {}), "retries": data.get("retries", 0)},
        **{
            name: data[name]
            for name in ("shard", "written", "committed", "restarts", "worker")
            if name in data
        },
    }
