"""The user's copy of a protocol's file of prompts, read as data. Nothing in it is ever executed."""

from __future__ import annotations

import ast
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from mira_batch.core.errors import ConfigError, describe

MOST_BYTES = 1 << 20
"""Of a file of prompts; the largest of those known has 23 kB."""


def read_python_texts(path: str, names: Sequence[str], field: str) -> tuple[dict[str, str], str]:
    """The texts that a Python file gives to some names at its top level, and the file's digest.

    Args:
        path: of the file.
        names: which ones; of several assignments to a name the last counts, as in Python.
        field: where the job's config names the file, for errors.

    Raises:
        ConfigError: it can't be read, is no Python, or a name isn't there or is no literal text.
    """
    data = _read(path, field)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an escape that is none, in somebody's prompt
            tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{field}: {path} is no Python that can be read: {describe(error)}") from error
    given: dict[str, ast.expr] = {}
    otherwise: dict[str, int] = {}
    for statement in tree.body:
        plain: set[str] = set()
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            plain = {target.id for target in targets if isinstance(target, ast.Name)}
            given |= dict.fromkeys(plain, statement.value)
        otherwise |= dict.fromkeys(_find_bound(statement) - plain, statement.lineno)
    if missing := [name for name in names if name not in given]:
        raise ConfigError(
            f"{field}: {path} gives no {', '.join(missing)}; is it the protocol's own file, whole?"
        )
    for name in names:
        if name in otherwise:
            raise ConfigError(
                f"{field}: {path}:{otherwise[name]}: {name} is also changed or taken back here, and "
                "nothing is executed; give it once, as one literal text"
            )
    return {name: _read_literal(given[name], name, path, field) for name in names}, _digest(data)


def _find_bound(statement: ast.stmt) -> set[str]:
    """The names that a statement gives, changes or deletes in its own scope."""
    found: set[str] = set()
    left: list[ast.AST] = [statement]
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.alias):
            found.add(node.asname or node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        left += ast.iter_child_nodes(node)
    return found


def read_json_texts(path: str, names: Sequence[str], field: str) -> tuple[dict[str, str], str]:
    """The texts under some keys of a JSON object, and the file's digest.

    Args:
        path: of the file.
        names: which keys.
        field: where the job's config names the file, for errors.

    Raises:
        ConfigError: it can't be read, is no JSON object, or a key isn't there or holds no text.
    """
    data = _read(path, field)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{field}: {path} is no JSON: {describe(error)}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{field}: {path} holds a {type(found).__name__}, not an object of prompts")
    if wrong := [name for name in names if not isinstance(found.get(name), str)]:
        raise ConfigError(f"{field}: {path} holds no text under {', '.join(wrong)}")
    return {name: found[name] for name in names}, _digest(data)


def check_placeholders(texts: Mapping[str, str], needed: Mapping[str, str], path: str, field: str) -> None:
    """See that prompts have room for what is put into them.

    Args:
        texts: by name.
        needed: which placeholder each of some names must hold.
        path: of the file.
        field: where the job's config names it.

    Raises:
        ConfigError: one has none, so that the model would never see the instruction.
    """
    for name, placeholder in needed.items():
        if placeholder not in texts[name]:
            raise ConfigError(f"{field}: {path}: {name} has no {placeholder}, where the instruction goes")


def _read(path: str, field: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{field}: {path} can't be read ({error.strerror}); it must be there on every worker"
        ) from error
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{field}: {path} has more than {MOST_BYTES:,} bytes, so it is no file of prompts")
    return data


def _read_literal(node: ast.expr, name: str, path: str, field: str) -> str:
    """A text, or a sum of texts."""
    texts: list[str] = []
    left = [node]
    while left:  # no recursion: a sum may have thousands of parts
        node = left.pop()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left += [node.left, node.right]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
        else:
            raise _refuse_expression(node, name, path, field)
    return "".join(reversed(texts))


def _refuse_expression(node: ast.expr, name: str, path: str, field: str) -> ConfigError:
    what = "an f-string" if isinstance(node, ast.JoinedStr) else f"a {type(node).__name__}"
    if isinstance(node, ast.Constant):
        what = f"of type {type(node.value).__name__}"
    return ConfigError(
        f"{field}: {path}:{node.lineno}: {name} is {what}, and only literal texts are read, since nothing is "
        "executed"
    )


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()[:16]}"
