"""The writing of result files: a shard's rows as one Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.storage import schema
from mira_batch.storage.stores import shorten_error

GROUP_ROWS = 64
"""Most rows of a row group."""
_GROUP_BYTES = 64_000_000
"""Row groups are closed at about this size, so that readers can stream and no column chunk nears 2 GiB."""


def results_file(
    rows: Iterable[Mapping[str, Any]], fields: pa.Schema, footer: Mapping[bytes, str] | None = None
) -> memoryview:
    """A shard's result file, whole, in memory: it is put once and never streamed.

    Args:
        rows: the shard's rows.
        fields: their schema.
        footer: goes into the file's own metadata, which can be read without its rows.
    """
    sink = pa.BufferOutputStream()
    # Images are compressed already; compressing them again costs time and gains nothing.
    leaves = dict(_find_leaves(fields))
    compression: Any = {name: "NONE" if image else "ZSTD" for name, image in leaves.items()}
    others: Any = [name for name, image in leaves.items() if not image]
    with pq.ParquetWriter(
        sink,
        fields,
        compression=compression,
        use_dictionary=others,
        write_statistics=others,
        write_page_checksum=True,
    ) as writer:
        for group in _group(rows, pa.struct(fields)):
            writer.write_table(pa.Table.from_pylist(group, schema=fields))
        writer.add_key_value_metadata(dict(footer or {}))
    return memoryview(sink.getvalue()).cast("B")


def explain_misfit(rows: Iterable[Mapping[str, Any]], fields: pa.Schema) -> str | None:
    """Which value of rows does not fit their schema, in words; None where each does by itself."""
    for row in rows:
        for field in fields:
            try:
                pa.array([row[field.name]], field.type)
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                return f"record {row['record_id']!r}: {field.name} is no {field.type}: {shorten_error(error)}"
    return None


def _find_leaves(fields: pa.Schema) -> Iterator[tuple[str, bool]]:
    """Parquet's names of the leaf columns, and whether each holds images."""

    def walk(kind: pa.DataType, name: str, image: bool) -> Iterator[tuple[str, bool]]:
        if pa.types.is_struct(kind):
            for field in kind:
                yield from walk(field.type, f"{name}.{field.name}", kind == schema.IMAGE)
        elif pa.types.is_list(kind):
            yield from walk(kind.value_type, f"{name}.list.element", False)
        else:
            yield name, image and pa.types.is_binary(kind)

    for field in fields:
        yield from walk(field.type, field.name, False)


def _group(rows: Iterable[Mapping[str, Any]], kind: pa.DataType) -> Iterator[list[Mapping[str, Any]]]:
    """Rows by row group, which is closed at its size or number of rows."""
    weigh = _make_weigher(kind) or (lambda _: 0)
    group: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        weight = weigh(row)
        if group and (size + weight > _GROUP_BYTES or len(group) >= GROUP_ROWS):
            yield group
            group, size = [], 0
        group.append(row)
        size += weight
    if group:
        yield group


def _make_weigher(kind: pa.DataType) -> Callable[[Any], int] | None:
    """A function that counts the bytes of the images in a value of this type; None where it can hold none.

    Made once for a file: to ask Arrow for the fields of a type takes longer than to look into a row.
    """
    if kind == schema.IMAGE:
        return lambda image: len(image["bytes"] or b"") if image else 0
    if pa.types.is_struct(kind):
        inside = {field.name: weigh for field in kind if (weigh := _make_weigher(field.type))}
        if inside:
            return lambda value: sum(weigh(value[name]) for name, weigh in inside.items()) if value else 0
    elif pa.types.is_list(kind) and (of_item := _make_weigher(kind.value_type)):
        return lambda items: sum(map(of_item, items)) if items else 0
    return None
