"""What `mira-batch validate` does: everything that can be checked before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from mira_batch.config.base import is_remote
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.models.local import TorchConfig
from mira_batch.core.errors import ManifestError, MiraError, RecordError
from mira_batch.models.registry import check_files, check_model
from mira_batch.runtime.run import check_output
from mira_batch.storage import images
from mira_batch.storage.manifest import (
    Embedded,
    EmbeddedReader,
    Record,
    Reject,
    Split,
    list_files,
    read_split,
    split_manifest,
)
from mira_batch.storage.stores import check_create_only, open_store
from mira_batch.storage.weights import describe_weights

_ROWS = 1_000
_IMAGES = 8
_LARGE_GROUP = 256_000_000
"""Bytes of images in a row group above which reading it costs noticeably."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    what: str
    ok: bool
    detail: str


def validate(config: BulkEditConfig) -> Iterator[Finding]:
    """Check manifest, images, models and store; a check that fails doesn't stop the next."""
    sample = cache(lambda: _sample(config))
    checks: list[tuple[str, Callable[[], str]]] = [
        ("manifest", lambda: _manifest(config, *sample())),
        ("images", lambda: _images(config, sample()[1])),
        ("models", lambda: check_models(config)),
        *([("weights", lambda: _weights(config))] if _locations(config) else []),
        ("output", lambda: _output(config)),
        ("workers", lambda: _workers(config)),
    ]
    for what, check in checks:
        try:
            yield Finding(what, True, check())
        except MiraError as error:
            yield Finding(what, False, str(error))


def _sample(config: BulkEditConfig) -> tuple[list[Split], list[Record | Reject]]:
    """The manifest's pieces, and its first rows."""
    pieces = split_manifest(list_files(config.input, config.storage), config.input, config.storage)
    rows = (row for piece in pieces for row in read_split(piece, config.input, config.storage))
    return pieces, list(islice(rows, _ROWS))


def _manifest(config: BulkEditConfig, pieces: Sequence[Split], rows: Sequence[Record | Reject]) -> str:
    bad = [row for row in rows if isinstance(row, Reject)]
    if not rows or len(bad) == len(rows):
        reason = f"; the first: {bad[0].where}: {bad[0].field} {bad[0].reason}" if bad else ""
        raise ManifestError(f"{config.input.manifest}: has no usable row{reason}")
    first = f"; the first at {bad[0].where}: {bad[0].field} {bad[0].reason}" if bad else ""
    found = (
        f"{len(rows):,} rows read{' (a sample)' if len(rows) == _ROWS else ''}, {len(bad)} unusable{first}"
    )
    largest = max(pieces, key=lambda piece: piece.image_bytes)
    if largest.image_bytes > _LARGE_GROUP:
        found += (
            f"; {largest.path} has a row group of {largest.image_bytes / 1e6:,.0f} MB of images, which each "
            "worker reads whole and holds in good part: write it again with row_group_size=100"
        )
    return found


def _images(config: BulkEditConfig, rows: Sequence[Record | Reject]) -> str:
    """Open some images, spread over the sample."""
    records = [row for row in rows if isinstance(row, Record)]
    count = min(_IMAGES, len(records))
    chosen = [records[round(i * (len(records) - 1) / max(1, count - 1))] for i in range(count)]
    embedded = EmbeddedReader(config.input.columns.image, config.storage)
    opened, bad = [], []
    try:
        for record in chosen:
            try:
                opened.append(_opened(config, record, embedded))
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


def _opened(config: BulkEditConfig, record: Record, embedded: EmbeddedReader) -> str:
    """The size and mode of a record's image.

    Raises:
        RecordError: it can't be opened.
    """
    if isinstance(record.image, Embedded):
        place = record.image.place
        data = embedded.read(place.file, place.row_group, {place.row})[place.row]
        images.check_bytes(len(data), str(place), config.input)
        image = images.decode(data, str(place), config.input)
    else:
        data = images.fetch(record.image, config.input, config.storage)
        image = images.decode(data, record.image, config.input)
    return f"{image.width} x {image.height} {image.mode}"


def check_models(config: BulkEditConfig) -> str:
    """Check that every model can be built, as far as that shows without loading it.

    Raises:
        ConfigError: one can't.
    """
    models = [config.policy, config.editor, *([config.judge.model] if config.judge else [])]
    return ", ".join(check_model(model) for model in models)


def _locations(config: BulkEditConfig) -> list[str]:
    """Where the weights of the models are, adapters included."""
    found: list[str] = []
    for model in (config.policy, config.editor):
        if isinstance(model, TorchConfig):
            adapters = [getattr(model, "adapter", None), *getattr(model, "loras", ())]
            found += [model.weights, *(adapter.weights for adapter in adapters if adapter)]
    return found


def _weights(config: BulkEditConfig) -> str:
    """Look at all weights, and into those of models that lie on this machine."""
    found = [describe_weights(location, config.storage) for location in _locations(config)]
    for model in (config.policy, config.editor):
        if isinstance(model, TorchConfig) and not is_remote(model.weights):
            check_files(model)
    return "; ".join(found)


def _output(config: BulkEditConfig) -> str:
    check_output(config.output.uri)
    check_create_only(open_store(config.output.uri, config.storage))
    return f"{config.output.uri}: can be written; of sixteen racing creates exactly one won"


def _workers(config: BulkEditConfig) -> str:
    workers = config.workers
    local = not is_remote(config.output.uri)
    note = "; on several nodes all must see the output directory" if local and workers.most > 1 else ""
    return f"{workers.min} to {workers.most}, {workers.cpus:g} CPU and {workers.gpus:g} GPU each{note}"
