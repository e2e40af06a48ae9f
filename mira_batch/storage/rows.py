"""Validates manifest rows, one by one: a row becomes a `Record`, or a `Reject` that says why not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from mira_batch.config.base import absolute, is_remote
from mira_batch.config.bulk_edit import Columns
from mira_batch.core.identity import content_hash


@dataclass(frozen=True, slots=True)
class Place:
    """A row of a Parquet manifest."""

    file: str
    row_group: int
    row: int
    """Within the row group."""

    def __str__(self) -> str:
        return f"{self.file}#row_group={self.row_group}&row={self.row}"


@dataclass(frozen=True, slots=True)
class Embedded:
    """An image whose bytes are in the manifest itself."""

    place: Place
    digest: str
    """Of the encoded bytes."""


@dataclass(frozen=True, slots=True)
class Record:
    """A valid row."""

    where: str
    record_id: str
    instruction: str
    image: str | Embedded
    """An absolute path or URI, or the place of embedded bytes."""
    metadata: str
    """JSON object of the other columns."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that can't be used, and why."""

    where: str
    record_id: str | None
    field: str
    reason: str


def _text(value: Any) -> Any:
    """Whole numbers are fine as ids; other types are not text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _clean(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("is not valid Unicode (a lone surrogate, or bytes that are not UTF-8)") from None
    if not value.strip():
        raise ValueError("is empty")
    return value


_Text = Annotated[str, AfterValidator(_clean)]


class _Row(BaseModel):
    """What a row must hold, under our names."""

    record_id: Annotated[_Text, BeforeValidator(_text), Field(max_length=512)]
    instruction: Annotated[_Text, Field(max_length=10_000)]
    image: bytes | Annotated[_Text, Field(max_length=4096)]


def validated(
    where: str, row: Mapping[str, Any], columns: Columns, base: str, place: Place | None
) -> Record | Reject:
    """Check one row.

    Args:
        where: the row's place, for messages.
        row: column name -> value.
        columns: how the manifest calls its columns.
        base: directory of the manifest file, where relative image paths start.
        place: where embedded bytes of this row can be read again; None where they can't be embedded.
    """
    names = columns.model_dump()
    values = {field: row[name] for field, name in names.items() if row.get(name) is not None}
    image = values.get("image")
    if isinstance(image, dict):  # a Hugging Face image: its bytes, else its path
        image = image.get("bytes") if image.get("bytes") is not None else image.get("path")
        values = (
            {**values, "image": image}
            if image is not None
            else {k: values[k] for k in values if k != "image"}
        )
    known = values.get("record_id")
    record_id = str(known) if isinstance(known, str | int) and _encodable(str(known)) else None
    try:
        valid = _Row.model_validate(values, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        field = str(problems[0]["loc"][0])
        last = [problem for problem in problems if problem["loc"][0] == field][
            -1
        ]  # image: as text, not bytes
        return Reject(where, record_id, names.get(field, field), _reason(last))
    try:
        rest = json.dumps(
            _plain({k: v for k, v in row.items() if k not in names.values()}), ensure_ascii=True
        )
    except RecursionError:
        return Reject(where, record_id, "row", "is nested too deeply")
    if isinstance(valid.image, bytes):
        if place is None:
            return Reject(where, record_id, columns.image, "embedded bytes need a Parquet manifest")
        found: str | Embedded = Embedded(place, content_hash(valid.image))
    else:
        found = resolve(valid.image, base)
    return Record(where, valid.record_id, valid.instruction, found, rest)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _reason(problem: Any) -> str:
    match problem["type"]:
        case "missing":
            return "is missing or null"
        case "value_error":
            return str(problem["ctx"]["error"])
        case "string_too_long" | "too_long":
            return f"is longer than {problem['ctx']['max_length']} characters"
        case _:
            return f"should be text, found {type(problem['input']).__name__} {str(problem['input'])[:80]!r}"


def resolve(uri: str, base: str) -> str:
    """An image's absolute location; a relative one starts at its manifest file's directory.

    '..' is kept as written: `images.check_allowed` refuses it by name.
    """
    if is_remote(uri) or "::" in uri:
        return uri
    if uri.lower().startswith("file://"):
        return uri[7:]
    if uri.startswith("/"):
        return uri if not is_remote(base) else absolute(uri)
    return f"{base}/{uri.removeprefix('./')}"


def _plain(value: Any) -> Any:
    """A metadata value as JSON data."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and not _encodable(value):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_plain(str(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
