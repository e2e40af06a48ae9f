"""What `mira-batch validate` does: everything that can be checked before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from mira_batch.config.base import is_remote
from mira_batch.config.bulk_edit import BulkEditConfig
from mira_batch.core.errors import ConfigError, ManifestError, MiraError
from mira_batch.models.build import check_model
from mira_batch.storage import images
from mira_batch.storage.manifest import cut, list_files, read_embedded, read_piece
from mira_batch.storage.objects import check_create_only, open_store
from mira_batch.storage.rows import Embedded, Record, Reject

_ROWS = 1_000
_IMAGES = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    what: str
    ok: bool
    detail: str


def validate(config: BulkEditConfig) -> Iterator[Finding]:
    """Check manifest, images, models and store; a check that fails doesn't stop the next."""
    checks: list[tuple[str, Callable[[BulkEditConfig], str]]] = [
        ("manifest", _manifest),
        ("images", _images),
        ("models", check_models),
        ("output", _output),
        ("workers", _workers),
    ]
    for what, check in checks:
        try:
            yield Finding(what, True, check(config))
        except MiraError as error:
            yield Finding(what, False, str(error))


def _sample(config: BulkEditConfig) -> list[Record | Reject]:
    files = list_files(config.input, config.storage)
    pieces = cut(files, config.input, config.storage)
    return list(islice((row for p in pieces for row in read_piece(p, config.input, config.storage)), _ROWS))


def _manifest(config: BulkEditConfig) -> str:
    rows = _sample(config)
    bad = [row for row in rows if isinstance(row, Reject)]
    if not rows or len(bad) == len(rows):
        reason = f"; the first: {bad[0].where}: {bad[0].field} {bad[0].reason}" if bad else ""
        raise ManifestError(f"{config.input.manifest}: has no usable row{reason}")
    first = f"; the first at {bad[0].where}: {bad[0].field} {bad[0].reason}" if bad else ""
    return f"{len(rows):,} rows read{' (a sample)' if len(rows) == _ROWS else ''}, {len(bad)} unusable{first}"


def _images(config: BulkEditConfig) -> str:
    records = [row for row in _sample(config) if isinstance(row, Record)][:_IMAGES]
    sizes = []
    for record in records:
        if isinstance(record.image, Embedded):
            place, column = record.image.place, config.input.columns.image
            found = read_embedded(place.file, place.row_group, {place.row}, column, config.storage)
            data, name = found[place.row], str(place)
        else:
            data, name = images.fetch(record.image, config.input, config.storage), record.image
        image = images.decode(data, name, config.input)
        sizes.append(f"{image.width} x {image.height} {image.mode}")
    return f"{len(sizes)} opened: {', '.join(sizes)}"


def check_models(config: BulkEditConfig) -> str:
    """Check that every model can be built, as far as that shows without loading it.

    Raises:
        ConfigError: one can't.
    """
    models = [config.policy, config.editor, *([config.judge.model] if config.judge else [])]
    for model in models:
        check_model(model)
    return ", ".join(model.type for model in models)


def check_output(config: BulkEditConfig) -> None:
    """Refuse an output that Ray would delete: below its temporary copy of a job's working directory.

    Raises:
        ConfigError: naming the path.
    """
    if "/working_dir_files/_ray_pkg_" in config.output.uri:
        raise ConfigError(
            f"output.uri: {config.output.uri} lies in the temporary copy of the working directory that Ray "
            "deletes after the job; give an absolute path that every node sees, or an object store"
        )


def _output(config: BulkEditConfig) -> str:
    check_output(config)
    check_create_only(open_store(config.output.uri, config.storage))
    return f"{config.output.uri}: can be written; of sixteen racing creates exactly one won"


def _workers(config: BulkEditConfig) -> str:
    workers = config.workers
    local = not is_remote(config.output.uri)
    note = "; on several nodes all must see the output directory" if local and workers.most > 1 else ""
    return f"{workers.min} to {workers.most}, {workers.cpus:g} CPU and {workers.gpus:g} GPU each{note}"
