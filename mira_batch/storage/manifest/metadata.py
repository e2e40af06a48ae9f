"""The columns of a manifest that are carried along, as a JSON object that any reader reads back.

What JSON has no form for has one here, that of protobuf's JSON mapping where that has one:

    NaN, infinities       "NaN", "Infinity", "-Infinity"
    bytes                 text in base64
    dates and times       text: 2026-01-02, 2026-01-02 03:04:05.123456789+01:00
    decimals, UUIDs, …    text, and so a JSON number with more digits than a 64-bit float holds
    maps of Arrow         a list of [key, value]

A value that can't be kept exactly (text that is not valid Unicode, a great many bytes) rejects its row.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from mira_batch.storage.manifest.values import Unkept

MOST_BYTES = 65_536
"""Of one binary value. The plan and the results hold every row's metadata; images would fill them."""
_SIMPLE = {str, int, float, bool, type(None)}
"""Types that JSON writes as they are, but for numbers that are not finite and lone surrogates."""
_write_strictly = json.JSONEncoder(allow_nan=False).encode


class MetadataError(ValueError):
    """A value that can't be carried along."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column} {reason}")
        self.column = column
        self.reason = reason
        """To be read after the name of its column: "is not valid UTF-8"."""


def dump_metadata(columns: Mapping[str, Any]) -> str:
    """Columns as a JSON object, in ASCII.

    Args:
        columns: name -> value, as JSON or `read_values` gives it.

    Raises:
        MetadataError: one can't be kept exactly.
        RecursionError: one is nested too deeply.
    """
    if all(type(value) in _SIMPLE for value in columns.values()):  # mostly, and `_make_plain` is slow
        try:
            text = _write_strictly(columns)
        except ValueError:  # not a finite number
            pass
        else:
            if "\\ud" not in text:  # else it may hold a lone surrogate
                return text
    plain: dict[str, Any] = {}
    for name, value in columns.items():
        try:
            plain[_check_unicode(name)] = _make_plain(value)
        except _UnkeptError as error:
            raise MetadataError(name, str(error)) from None
    return json.dumps(plain, ensure_ascii=True)


class _UnkeptError(ValueError):
    pass


def _make_plain(value: Any) -> Any:
    """A value as JSON data."""
    if isinstance(value, Unkept):
        raise _UnkeptError(value.reason)
    if isinstance(value, bytes):
        if len(value) > MOST_BYTES:
            raise _UnkeptError(
                f"holds {len(value):,} bytes, and metadata at most {MOST_BYTES:,}; name the columns to be "
                "kept in input.columns.metadata, without this one"
            )
        return base64.b64encode(value).decode()
    if isinstance(value, float) and value - value != 0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str):
        return _check_unicode(value)
    if isinstance(value, Mapping):
        return {_check_unicode(str(k)): _make_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_make_plain(v) for v in value]
    return value if isinstance(value, int | float | bool | None) else str(value)


def _check_unicode(text: str) -> str:
    if not is_encodable(text):
        raise _UnkeptError(NOT_UNICODE)
    return text


NOT_UNICODE = "is not valid Unicode (a lone surrogate, or bytes of another encoding: see input.encoding)"


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can hold a text: not if it has lone surrogates, as bytes of another encoding leave."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
