"""What of a manifest can be checked before a run: its rows, and some of its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice

from mira_batch.config.shared import ManifestConfig, StorageConfig
from mira_batch.core.errors import ManifestError, RecordError
from mira_batch.storage import images
from mira_batch.storage.manifest.embedded import EmbeddedReader
from mira_batch.storage.manifest.listing import list_files, split_manifest
from mira_batch.storage.manifest.rows import Embedded, Record, Reject
from mira_batch.storage.manifest.splits import Split, read_split
from mira_batch.storage.schema import DUPLICATE

_ROWS = 1_000
_IMAGES = 8
_LARGE_GROUP = 256_000_000
"""Bytes of images in a row group above which reading it costs noticeably."""


def make_manifest_checks(
    source: ManifestConfig, storage: StorageConfig, output: str
) -> list[tuple[str, Callable[[], str]]]:
    """The checks `manifest` and `images`, by name; they share one look at the first rows.

    Each returns what it found, in words, or raises a `MiraError` that says what is wrong and how to mend it.

    Args:
        source: names the manifest, and which images may be read.
        storage: how an object store is reached.
        output: as `list_files` takes it.
    """
    sample = cache(lambda: _read_sample(source, storage, output))
    return [
        ("manifest", lambda: _check_rows(source, *sample())),
        ("images", lambda: _check_images(source, storage, sample()[1])),
    ]


def _read_sample(
    source: ManifestConfig, storage: StorageConfig, output: str
) -> tuple[list[Split], list[Record | Reject]]:
    """The manifest's splits, and its first rows, as a plan would take them."""
    splits = split_manifest(list_files(source, storage, output), source, storage)
    rows = (row for split in splits for row in read_split(split, source, storage))
    sample: list[Record | Reject] = []
    seen: set[str] = set()
    for row in islice(rows, _ROWS):
        if isinstance(row, Reject) or row.record_id not in seen:
            sample.append(row)
        else:
            sample.append(Reject(row.where, row.record_id, "record_id", DUPLICATE))
        if isinstance(row, Record):
            seen.add(row.record_id)
    return splits, sample


def _check_rows(source: ManifestConfig, splits: Sequence[Split], rows: Sequence[Record | Reject]) -> str:
    bad = [row for row in rows if isinstance(row, Reject)]
    if not rows or len(bad) == len(rows):
        reason = f"; the first: {bad[0].where}: {bad[0].field} {bad[0].reason}" if bad else ""
        raise ManifestError(f"{source.manifest}: has no usable row{reason}")
    first = f"; the first at {bad[0].where}: {bad[0].field} {bad[0].reason}" if bad else ""
    found = (
        f"{len(rows):,} rows read{' (a sample)' if len(rows) == _ROWS else ''}, {len(bad)} unusable{first}"
    )
    largest = max(splits, key=lambda split: split.image_bytes)
    if largest.image_bytes > _LARGE_GROUP:
        found += (
            f"; {largest.path} has a row group of {largest.image_bytes / 1e6:,.0f} MB of images, which each "
            "worker reads whole and holds in good part: write it again with row_group_size=100"
        )
    return found


def _check_images(source: ManifestConfig, storage: StorageConfig, rows: Sequence[Record | Reject]) -> str:
    """Open some images, spread over the sample."""
    records = [row for row in rows if isinstance(row, Record)]
    count = min(_IMAGES, len(records))
    chosen = [records[round(i * (len(records) - 1) / max(1, count - 1))] for i in range(count)]
    embedded = EmbeddedReader(source.columns.image, storage)
    opened, bad = [], []
    try:
        for record in chosen:
            try:
                opened.append(_describe_image(source, storage, record, embedded))
            except RecordError as error:
                bad.append(f"{record.record_id!r}: {error}")
    finally:
        embedded.close()
    if not opened:
        raise ManifestError(
            f"none of {count} images can be opened; the first: {bad[0]}" if bad else "no usable row names one"
        )
    first_bad = f"; the first that can't be: {bad[0]}" if bad else ""
    return f"{len(opened)} of {count} opened: {', '.join(dict.fromkeys(opened))}{first_bad}"


def _describe_image(
    source: ManifestConfig, storage: StorageConfig, record: Record, embedded: EmbeddedReader
) -> str:
    """The size and mode of a record's image.

    Raises:
        RecordError: it can't be opened.
    """
    if isinstance(record.image, Embedded):
        place = record.image.place
        data = embedded.read(place.file, place.row_group, {place.row})[place.row]
        images.check_bytes(len(data), str(place), source)
        image = images.decode(data, str(place), source)
    else:
        data = images.fetch(record.image, source, storage)
        image = images.decode(data, record.image, source)
    return f"{image.width} x {image.height} {image.mode}"
