"""Arrow's values as Python's, exactly: what Python would change or can't hold is kept as text, or said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MIDNIGHT = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Unkept:
    """Stands for a value that can't be kept as it is."""

    reason: str
    """Why, to be read after the name of its column: "is not valid UTF-8"."""


@dataclass(frozen=True, slots=True)
class Time:
    """A date or time that Python's own types can't hold: beyond their years, or of nanoseconds."""

    text: str

    def __str__(self) -> str:
        return self.text


def read_values(array: pa.Array) -> list[Any]:
    """The values of a column, as `to_pylist` gives them where that is exact.

    It raises for a whole column where a single value is not valid UTF-8, a date beyond the year 9999, or in a
    time zone that is not known; and nanoseconds it cuts off or not as pandas is there or not.

    Returns:
        The values; for one that can't be kept an `Unkept`, for some times a `Time`, also within lists and
        structs.
    """
    if _is_exact(array.type):
        try:
            return array.to_pylist()
        except (ValueError, OverflowError, pa.ArrowException):
            pass
    return [_read_value(value) for value in array]


def read_int96_values(micros: pa.Array, nanos: pa.Array) -> list[Any]:
    """The values of a column that Arrow can't give in one unit: far ones need microseconds, others have
    nanoseconds.

    Args:
        micros: its values in microseconds.
        nanos: the same in nanoseconds, those beyond their years wrong.
    """
    exact = [
        fine is None or fine // 1_000 == coarse
        for coarse, fine in zip(
            micros.cast(pa.int64()).to_pylist(), nanos.cast(pa.int64()).to_pylist(), strict=True
        )
    ]
    both = zip(exact, read_values(nanos), read_values(micros), strict=True)
    return [fine if is_exact else coarse for is_exact, fine, coarse in both]


def _is_exact(kind: Any) -> bool:
    """Whether Python's values of this type are Arrow's, where there is no error."""
    types = pa.types
    if types.is_time(kind) or types.is_date64(kind) or (types.is_timestamp(kind) and kind.unit == "ns"):
        return False
    if isinstance(kind, pa.BaseExtensionType):
        return _is_exact(kind.storage_type)
    if types.is_dictionary(kind):
        return _is_exact(kind.value_type)
    return all(_is_exact(kind.field(index).type) for index in range(kind.num_fields))


def _read_value(value: Any) -> Any:
    kind = value.type
    types = pa.types
    if not value.is_valid:
        return None
    if isinstance(kind, pa.BaseExtensionType) and not _is_exact(kind):
        return _read_value(value.value)
    if types.is_dictionary(kind):
        return _read_value(value.value)
    if types.is_struct(kind):
        return {field.name: _read_value(value[field.name]) for field in kind}
    if types.is_map(kind):
        keys, items = value.values.flatten()
        return list(zip(read_values(keys), read_values(items), strict=True))
    if types.is_nested(kind):
        return read_values(value.values)
    if types.is_timestamp(kind):
        return _read_timestamp(value)
    if types.is_time(kind):
        return _read_time(value)
    if types.is_date(kind):
        return _read_date(value)
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return Unkept("is not valid UTF-8")
    except (ValueError, OverflowError, pa.ArrowException):
        return Unkept(f"holds a {kind} that Python has no value for")


def _read_timestamp(value: Any) -> Any:
    """As Python has it; with nanoseconds, or beyond the years 1 to 9999, its text. In a time zone that is not
    known it is the text of the same moment in UTC."""
    kind = value.type
    micros, rest = divmod(value.value * 1_000_000, _PER_SECOND[kind.unit])
    nanos = rest // 1_000_000
    try:
        found = pa.scalar(micros, pa.timestamp("us", kind.tz)).as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return _write_far_time(value.value, kind.unit, "+00:00" if kind.tz else "")
    if not nanos:
        return found
    text = found.isoformat(" ", "microseconds")
    return Time(f"{text[:26]}{nanos:03d}{text[26:]}")


def _read_date(value: Any) -> Any:
    unit = "D" if pa.types.is_date32(value.type) else "ms"
    if unit == "ms" and value.value % 86_400_000:  # no date: Python would cut the hours off
        return _write_far_time(value.value, unit, "")
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        days = value.value if unit == "D" else value.value // 86_400_000
        return _write_far_time(days, "D", "")


def _write_far_time(count: int, unit: Any, zone: str) -> Time | Unkept:
    text = str(np.datetime64(count, unit))
    if text == "NaT":
        return Unkept("holds a time that stands for none")
    text, _, fraction = text.replace("T", " ").partition(".")
    return Time(f"{text}.{fraction}{zone}" if fraction.strip("0") else f"{text}{zone}")


def _read_time(value: Any) -> Any:
    per_second = _PER_SECOND[value.type.unit]
    if not 0 <= value.value < 86_400 * per_second:
        return Unkept("holds a time of day beyond 24 hours")
    micros, rest = divmod(value.value * 1_000_000, per_second)
    found = (_MIDNIGHT + timedelta(microseconds=micros)).time()
    return Time(f"{found.isoformat('microseconds')}{rest // 1_000_000:03d}") if rest else found
