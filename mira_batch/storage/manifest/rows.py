"""Validates manifest rows, one by one: a row becomes a `Record`, or a `Reject` that says why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from mira_batch.config.base import is_remote, make_absolute, read_file_uri
from mira_batch.config.shared import Columns, ImageColumns
from mira_batch.core.identity import content_hash
from mira_batch.core.text import clean_text
from mira_batch.storage.manifest.metadata import NOT_UNICODE, MetadataError, dump_metadata, is_encodable
from mira_batch.storage.manifest.values import Unkept


@dataclass(frozen=True, slots=True)
class Place:
    """A row of a Parquet manifest."""

    file: str
    """Absolute path or URI."""
    row_group: int
    """Within the file."""
    row: int
    """Within the row group."""

    def __str__(self) -> str:
        return f"{self.file}#row_group={self.row_group}&row={self.row}"


@dataclass(frozen=True, slots=True)
class Embedded:
    """An image whose bytes are in the manifest itself."""

    place: Place
    """Where it can be read again."""
    digest: str
    """Of the encoded bytes."""


@dataclass(frozen=True, slots=True)
class Record:
    """A valid row."""

    where: str
    """Its place in the manifest, for messages."""
    record_id: str
    """What names the record in every output."""
    instruction: str
    """What is to be done to the image."""
    image: str | Embedded
    """An absolute path or URI, or the place of embedded bytes."""
    metadata: str
    """JSON object of the other columns."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that can't be used, and why."""

    where: str
    """Its place in the manifest, for messages."""
    record_id: str | None
    """None where the row has none that can be read."""
    field: str
    """The manifest's name of the column that is wrong; "row" for the row as a whole."""
    reason: str
    """What is wrong, to be read after the field: "is empty"."""


def _write_whole_number(value: Any) -> Any:
    """Whole numbers are fine as ids; other types are not text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check_text(value: str) -> str:
    if not is_encodable(value):
        raise ValueError(NOT_UNICODE)
    if not value.strip():
        raise ValueError("is empty")
    return value


def _check_line(value: str) -> str:
    if not _BREAKS.isdisjoint(value):
        raise ValueError("holds a line break; a quote may be missing in the line before")
    return value


_DATA_URI = "is a data URI; name a file or a URL, or put the image's bytes into a Parquet manifest"
_BREAKS = frozenset("\n\r\v\f\x85\u2028\u2029")
_Text = Annotated[str, AfterValidator(_check_text)]
_Id = Annotated[
    _Text, BeforeValidator(_write_whole_number), AfterValidator(_check_line), Field(max_length=512)
]


class _ImageRow(BaseModel):
    """What a row must hold for a job over images, under our names."""

    record_id: _Id
    image: bytes | Annotated[_Text, Field(max_length=4096)]


class _Row(BaseModel):
    """What it must hold for a job that follows instructions. Of several problems the first field's is
    told."""

    record_id: _Id
    instruction: Annotated[_Text, Field(max_length=10_000)]
    image: bytes | Annotated[_Text, Field(max_length=4096)]


def validate_row(
    where: str, row: Mapping[str, Any], columns: ImageColumns, base: str, place: Place | None
) -> Record | Reject:
    """Check one row.

    Args:
        where: the row's place, for messages.
        row: column name -> value.
        columns: what the manifest calls its columns.
        base: directory of the manifest file, where relative image paths start.
        place: where embedded bytes of this row can be read again; None where they can't be embedded.

    Returns:
        The record, or a reject that names the first field that is wrong.
    """
    values: dict[str, Any] = {"record_id": row.get(columns.record_id)}
    model: type[_Row | _ImageRow] = _ImageRow
    if isinstance(columns, Columns):
        values["instruction"], model = row.get(columns.instruction), _Row
    image = row.get(columns.image)
    if isinstance(image, dict):  # a Hugging Face image: its bytes, else its path
        image = image.get("bytes") if image.get("bytes") is not None else image.get("path")
    values["image"] = image
    known = values["record_id"]
    record_id = str(known) if isinstance(known, str | int) and is_encodable(str(known)) else None
    if isinstance(image, str) and _is_data(image):  # before it is found too long
        return Reject(where, record_id, columns.image, _DATA_URI)
    try:
        valid = model.model_validate({k: v for k, v in values.items() if v is not None}, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        field = str(problems[0]["loc"][0])
        # Of an image the last one: as text, not bytes.
        last = [problem for problem in problems if problem["loc"][0] == field][-1]
        return Reject(where, record_id, getattr(columns, field), _explain_problem(last))
    try:
        rest = dump_metadata(_select_metadata(row, columns)) if isinstance(columns, Columns) else "{}"
    except MetadataError as error:
        return Reject(where, record_id, clean_text(error.column, 200) or "''", error.reason)
    except RecursionError:
        return Reject(where, record_id, "row", "is nested too deeply")
    if isinstance(valid.image, bytes):
        if place is None:
            return Reject(where, record_id, columns.image, "embedded bytes need a Parquet manifest")
        found: str | Embedded = Embedded(place, content_hash(valid.image))
    else:
        try:
            found = resolve_image(valid.image, base)
        except ValueError as error:
            return Reject(where, record_id, columns.image, str(error))
    instruction = valid.instruction if isinstance(valid, _Row) else ""
    return Record(where, valid.record_id, instruction, found, rest)


def _select_metadata(row: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The columns that are carried along."""
    if columns.metadata is not None:
        return {name: row[name] for name in columns.metadata if name in row}
    ours = (columns.record_id, columns.instruction, columns.image)
    return {name: value for name, value in row.items() if name not in ours}


def _explain_problem(problem: Any) -> str:
    if isinstance(problem["input"], Unkept):
        return problem["input"].reason
    match problem["type"]:
        case "missing":
            return "is missing or null"
        case "value_error":
            return str(problem["ctx"]["error"])
        case "string_too_long" | "too_long":
            return f"is longer than {problem['ctx']['max_length']} characters"
        case _:
            found = clean_text(str(problem["input"])[:80])
            return f"should be text, found {type(problem['input']).__name__} {found!r}"


def _is_data(uri: str) -> bool:
    return uri[:5].lower() == "data:"


def resolve_image(uri: str, base: str) -> str:
    """An image's absolute location; a relative one starts at its manifest file's directory, and a file URI
    becomes the path that it stands for.

    '..' is kept as written: `images.check_allowed` refuses it by name.

    Args:
        uri: the image as the manifest names it.
        base: directory of the manifest file, a path or URI.

    Raises:
        ValueError: a data URI, or a file URI that no file of this machine can have.
    """
    if _is_data(uri):
        raise ValueError(_DATA_URI)
    if is_remote(uri) or "::" in uri:
        return uri
    if (path := read_file_uri(uri)) is not None:
        return path
    if uri.startswith("/"):
        return uri if not is_remote(base) else make_absolute(uri)
    return f"{base}/{uri.removeprefix('./')}"
