"""Conditions over the catalogue's columns: what holds, and what is refused."""

from __future__ import annotations

import math
import string

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mira_batch.core.errors import ConfigError
from mira_batch.storage.catalogue.sql import COLUMNS
from mira_batch.storage.catalogue.where import parse_where

ROWS = pa.table(
    {
        "record_id": ["a", "b", "it's", "Ähm"],
        "status": ["ok", "failed", "unfinished", "ok"],
        "error_kind": [None, "editor_failed", None, None],
        "cost": [0.5, None, 2.0, -1.0],
        "plan": pa.array([1, 2, 2, 3], pa.int32()),
    }
)


def find(where: str) -> list[str]:
    return ROWS.filter(parse_where(where))["record_id"].to_pylist()


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("status != 'ok'", ["b", "it's"]),
        ("status <> 'ok' AND plan >= 2", ["b", "it's"]),
        ("status in ('ok', 'failed')", ["a", "b", "Ähm"]),
        ("status not in ('ok')", ["b", "it's"]),
        ("error_kind is null", ["a", "it's", "Ähm"]),
        ("error_kind is not null", ["b"]),
        ("not (error_kind = 'editor_failed')", []),  # as in SQL: of no kind is neither this kind nor another
        ("cost > 0.4", ["a", "it's"]),
        ("cost > -2 and not cost > 0", ["Ähm"]),
        ("cost between -1 and 0.5", ["a", "Ähm"]),
        ("1 < plan", ["b", "it's", "Ähm"]),
        ("record_id = 'it''s'", ["it's"]),
        ("record_id like 'i%' or record_id = 'Ähm'", ["it's", "Ähm"]),
        ("record_id ilike 'A'", ["a"]),
        ("(status = 'ok' or plan = 2) and record_id != 'a'", ["b", "it's", "Ähm"]),
        ("true", ["a", "b", "it's", "Ähm"]),
        ("false", []),
    ],
)
def test_what_holds(where: str, found: list[str]) -> None:
    assert find(where) == found


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("statu = 'ok'", "there is no column 'statu'; did you mean status?"),
        ("status = ok", "a text is written as 'ok'"),
        ('status = "ok"', "a text is written as 'ok'"),
        ("cost > 'a'", "compares what can't be compared"),
        ("cost > 99999999999999999999999", "compares what can't be compared"),
        ("status = null", "write `is null`"),
        ("status", "'status' is not understood; there are =, !=, "),
        ("lower(status) = 'ok'", "'LOWER(status)' is neither a column nor"),
        ("status in (select status from catalogue)", "is not understood"),
        ("status = 'ok'; drop table catalogue", "give what would stand behind WHERE, and nothing else"),
        ("status = 'ok' order by cost", "and nothing else"),
        ("status = 'ok' limit 3", "and nothing else"),
        ("1 = 1 union select 2", "and nothing else"),
        ("", "the condition is empty"),
        ("status = 'ok", "is no condition"),
        ("cost > abs(-1)", "is neither a column nor"),
        ("exists (select 1)", "is not understood"),
        ("(" * 5_000 + "true" + ")" * 5_000, ""),
    ],
)
def test_what_is_refused(where: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_where(where)
    assert words in str(refused.value) and "\x1b" not in str(refused.value)


@given(st.text(string.printable, max_size=40) | st.sampled_from(["cost", "plan"]).flatmap(
    lambda name: st.builds("{} {} {}".format, st.just(name), st.sampled_from(["<", ">=", "="]), st.floats())
))  # fmt: skip
def test_whatever_the_text_it_is_a_condition_or_refused(text: str) -> None:
    try:
        expression = parse_where(text)
    except ConfigError:
        return
    assert COLUMNS.empty_table().filter(expression).num_rows == 0


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_mean_what_they_say(bound: float) -> None:
    expected = [
        name
        for name, cost in zip(ROWS["record_id"].to_pylist(), ROWS["cost"].to_pylist(), strict=True)
        if cost is not None and cost < bound
    ]
    assert find(f"cost < {bound!r}") == expected or math.isinf(bound)
