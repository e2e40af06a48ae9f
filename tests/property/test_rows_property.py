"""Whatever a manifest holds: a record or a reject. Whatever a shard gives: a row that reads back equal."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from mira_batch.config.shared import Columns
from mira_batch.storage import schema
from mira_batch.storage.manifest.metadata import MetadataError, _make_plain, dump_metadata, is_encodable
from mira_batch.storage.manifest.rows import Embedded, Place, Record, Reject, validate_row
from mira_batch.storage.manifest.scan import SCAN
from mira_batch.storage.run.planwriter import choose_shard_size
from tests.support.runs.edits import edit_results

any_text = st.text(st.characters(exclude_categories=()))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.binary()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
images = values | st.fixed_dictionaries({}, optional={"bytes": values, "path": values})
likely = {"record_id": any_text | st.integers(), "instruction": any_text, "image": any_text | images}
rows = st.fixed_dictionaries({}, optional=likely).flatmap(
    lambda row: st.dictionaries(any_text, values, max_size=3).map(lambda more: more | row)
) | st.fixed_dictionaries({}, optional={**likely, **dict.fromkeys(likely, values)})


@settings(max_examples=500, deadline=None)
@given(rows, st.sampled_from(["/data", "s3://bucket/in"]), st.booleans())
def test_any_row_is_a_record_or_a_reject(row: dict[str, Any], base: str, is_parquet: bool) -> None:
    place = Place("/data/m.parquet", 0, 7) if is_parquet else None
    found = validate_row("here", row, Columns(), base, place)
    if isinstance(found, Reject):
        assert found.field and found.reason
        table = [{"where": found.where, "record_id": found.record_id}]
        table[0] |= {"field": found.field, "reason": found.reason}
    else:
        assert isinstance(found, Record)
        assert found.record_id.strip() and found.instruction.strip()
        assert isinstance(found.image, Embedded) == isinstance(row["image"], bytes) or isinstance(
            row["image"], dict
        )
        kept = json.loads(found.metadata, parse_constant=lambda name: 1 / 0)
        assert read_back(kept, {k: v for k, v in row.items() if k not in likely})
        table = [{"record_id": found.record_id, "instruction": found.instruction}]
        table[0] |= {"metadata": found.metadata, "where": found.where}
        if isinstance(found.image, str):
            table[0]["image_uri"] = found.image
    assert pa.Table.from_pylist(table, schema=SCAN).num_rows == 1


def read_back(kept: Any, value: Any) -> bool:
    """Whether a metadata value says what the manifest's said."""
    match value:
        case float() if math.isnan(value):
            return kept == "NaN"
        case float() if math.isinf(value):
            return kept == ("Infinity" if value > 0 else "-Infinity")
        case bytes():
            return base64.b64decode(kept) == value
        case list():
            return len(kept) == len(value) and all(map(read_back, kept, value))
        case dict():
            return list(kept) == list(value) and all(read_back(kept[name], value[name]) for name in value)
    return type(kept) is type(value) and kept == value


def is_text(value: Any) -> bool:
    """Whether all text within is valid Unicode."""
    match value:
        case str():
            return is_encodable(value)
        case list():
            return all(map(is_text, value))
        case dict():
            return all(is_text(name) and is_text(inner) for name, inner in value.items())
    return True


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(any_text, values, max_size=4))
def test_metadata_reads_back_equal_or_is_refused(row: dict[str, Any]) -> None:
    try:
        text = dump_metadata(row)
    except MetadataError as error:
        assert not is_text({error.column: row[error.column]})
        return
    assert is_text(row) and read_back(json.loads(text), row)
    assert text == json.dumps({name: _make_plain(value) for name, value in row.items()}), "the careful way"


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Any value that a column of this type holds, null included."""
    if pa.types.is_struct(kind):
        held = st.fixed_dictionaries({field.name: values_of(field.type) for field in kind})
    elif pa.types.is_list(kind):
        held = st.lists(values_of(kind.value_type), max_size=3)
    else:
        held = PLAIN[kind]
    return st.none() | held


PLAIN: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(max_size=5),
    pa.binary(): st.binary(max_size=50),
    pa.bool_(): st.booleans(),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(allow_nan=False, width=32),
    pa.float64(): st.floats(allow_nan=False),
}
result_rows = st.fixed_dictionaries({field.name: values_of(field.type) for field in schema.RESULTS})


@settings(max_examples=100, deadline=None)
@given(st.lists(result_rows, max_size=4))
def test_result_rows_read_back_equal(some: list[dict[str, Any]]) -> None:
    table = pq.read_table(io.BytesIO(edit_results(some)))
    assert table.schema.equals(schema.RESULTS)
    assert table.schema.metadata == schema.RESULTS.metadata
    assert table.to_pylist() == [{name: row[name] for name in schema.RESULTS.names} for row in some]


def sizes(records: int, most: int, workers: int) -> list[int]:
    found = []
    while records:
        found.append(choose_shard_size(records, most, workers))
        records -= found[-1]
    return found


@given(st.integers(0, 20_000), st.integers(1, 200), st.integers(1, 64))
def test_shards_shrink_down_to_single_records(records: int, most: int, workers: int) -> None:
    found = sizes(records, most, workers)
    assert sum(found) == records
    assert all(1 <= size <= most for size in found)
    assert found == sorted(found, reverse=True)
    singles = min(records, 4 * workers - 1) if most > 1 else records
    assert found[len(found) - singles :] == [1] * singles, "the last ones are spread over the whole pool"
    assert len(found) <= math.ceil(records / most) + 4 * workers * (1 + math.log(most * 4 * workers))
