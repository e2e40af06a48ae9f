"""How conditions over the catalogue are read.

They are SQL, read by sqlglot. Nothing is executed: what is understood becomes an expression of Arrow's, and
all else is refused.
"""

from __future__ import annotations

import difflib
import functools
import operator
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from mira_batch.core.errors import ConfigError
from mira_batch.storage import schema

COLUMNS = pa.schema(
    [field for field in schema.SNAPSHOT if field.name not in ("made_as", "shard", "row", "current")]
)
"""What a condition may ask for."""
_COMPARES: dict[type[exp.Expr], Callable[[Any, Any], Any]] = {
    exp.EQ: operator.eq,
    exp.NEQ: operator.ne,
    exp.LT: operator.lt,
    exp.LTE: operator.le,
    exp.GT: operator.gt,
    exp.GTE: operator.ge,
}
_KNOWN = "=, !=, <, <=, >, >=, in, between, like, ilike, is null, and, or, not"
_PARTS = ("kind", "expressions", "from", "from_", "where")
"""Those of the statement that a condition is put into."""


def read_condition(text: str) -> pc.Expression:
    """As `where.parse_where`, which says what comes of it.

    Raises:
        ConfigError: it can't be read, names no column, or asks for what there is no word for here.
    """
    if not text.strip():
        raise ConfigError("the condition is empty; `true` names all records")
    try:
        found = sqlglot.parse_one(f"select 1 from catalogue where {text}", read="duckdb")
    except (SqlglotError, RecursionError) as error:
        words = str(error).splitlines()[0] if isinstance(error, SqlglotError) else "it is nested too deep"
        raise ConfigError(f"{text!r} is no condition: {_clean(words)}") from None
    where = found.args.get("where") if isinstance(found, exp.Select) else None
    extra = [name for name, part in found.args.items() if part and name not in _PARTS]
    if where is None or extra:
        raise ConfigError(f"{text!r} is no condition: give what would stand behind WHERE, and nothing else")
    try:
        expression = _translate(where.this)
        COLUMNS.empty_table().filter(expression)
    except ConfigError as error:
        raise ConfigError(f"{text!r}: {error}") from None
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise ConfigError(f"{text!r}: compares what can't be compared: {_clean(str(error))}") from None
    return expression


def _translate(node: exp.Expr) -> Any:
    match node:
        case exp.Paren():
            return _translate(node.this)
        case exp.And():
            return _translate(node.left) & _translate(node.right)
        case exp.Or():
            return _translate(node.left) | _translate(node.right)
        case exp.Not():
            return ~_translate(node.this)
        case exp.Is():
            return _translate_is(node)
        case exp.In() if node.expressions and not node.args.get("query"):
            values = [_read_literal(value) for value in node.expressions]
            column = _find_column(node.this)
            return functools.reduce(operator.or_, [column == value for value in values])
        case exp.Between():
            column = _find_column(node.this)
            return (column >= _read_literal(node.args["low"])) & (column <= _read_literal(node.args["high"]))
        case exp.Like() | exp.ILike():
            pattern = _read_literal(node.expression)
            if not isinstance(pattern, str):
                raise ConfigError(f"like wants a text, found {node.expression.sql()}")
            folded = isinstance(node, exp.ILike)
            return pc.match_like(_find_column(node.this), pattern, ignore_case=folded)  # type: ignore[attr-defined]
        case exp.Boolean():
            return pc.scalar(bool(node.this))
        case exp.Binary() if type(node) in _COMPARES:
            return _COMPARES[type(node)](_read_side(node.left), _read_side(node.right))
        case _:
            raise ConfigError(f"{node.sql()!r} is not understood; there are {_KNOWN}")


def _translate_is(node: exp.Is) -> Any:
    if isinstance(node.expression, exp.Null):
        return _find_column(node.this).is_null()
    raise ConfigError(f"{node.sql()!r} is not understood; there is `is null`, and `not … is null`")


def _read_side(node: exp.Expr) -> Any:
    return _find_column(node) if isinstance(node, exp.Column) else pc.scalar(_read_literal(node))


def _find_column(node: exp.Expr) -> Any:
    if not isinstance(node, exp.Column) or node.table:
        raise ConfigError(f"{node.sql()!r} is no column; there are {', '.join(COLUMNS.names)}")
    if node.name not in COLUMNS.names:
        near = difflib.get_close_matches(node.name, COLUMNS.names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COLUMNS.names)}"
        raise ConfigError(f"there is no column {node.name!r}; {hint}; a text is written as '{node.name}'")
    return pc.field(node.name)


def _read_literal(node: exp.Expr) -> str | int | float:
    match node:
        case exp.Paren():
            return _read_literal(node.this)
        case exp.Neg():
            value = _read_literal(node.this)
            if isinstance(value, str):
                raise ConfigError(f"{node.sql()!r} is no number")
            return -value
        case exp.Literal() if node.is_string:
            return str(node.this)
        case exp.Literal():
            try:
                return int(node.this)
            except ValueError:
                return float(node.this)
        case exp.Null():
            raise ConfigError("nothing equals null; write `is null`")
        case _:
            raise ConfigError(f"{node.sql()!r} is neither a column nor a text in '…' nor a number")


def _clean(words: str) -> str:
    return "".join(char for char in words if char.isprintable()).split("[4m")[0].rstrip(" .")
