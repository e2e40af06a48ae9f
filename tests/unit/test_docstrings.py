"""The public names that others build on say what they take, give and raise."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support import ROOT

ROOMS = (
    "core",
    "runtime",
    "storage",
    "export",
    "evaluate/statistics",
    "models/serving",
    "models/loader.py",
    "models/registry.py",
)
MANY = 3
"""Arguments from which they are described one by one."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_names(room: str) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """(place, definition) of each public class, function and method."""
    folder = ROOT / "mira_batch" / room
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
        yield from _within(ast.parse(path.read_text()), str(path.relative_to(ROOT)))


def _within(node: ast.Module | ast.ClassDef, place: str) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    for inner in node.body:
        if isinstance(inner, ast.ClassDef | Function) and not inner.name.startswith("_"):
            yield f"{place}:{inner.name}", inner
            if isinstance(inner, ast.ClassDef):
                yield from _within(inner, f"{place}:{inner.name}")


@pytest.mark.parametrize("room", ROOMS)
def test_each_public_name_has_a_docstring(room: str) -> None:
    names = list(public_names(room))
    assert len(names) >= 4
    assert [place for place, node in names if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_raised_is_said(room: str) -> None:
    silent = []
    for place, node in public_names(room):
        if isinstance(node, Function) and any(
            isinstance(inner, ast.Raise)
            and inner.exc is not None
            and "NotImplemented" not in ast.unparse(inner)
            for inner in _own_nodes(node)
        ):
            said = ast.get_docstring(node) or ""
            if "Raises" not in said and "raises" not in said:
                silent.append(place)
    assert silent == []


@pytest.mark.parametrize("room", ROOMS)
def test_many_arguments_are_described(room: str) -> None:
    silent = []
    for place, node in public_names(room):
        if isinstance(node, Function):
            taken = [a.arg for a in [*node.args.args, *node.args.kwonlyargs] if a.arg not in ("self", "cls")]
            said = ast.get_docstring(node) or ""
            if len(taken) >= MANY and "Args:" not in said and not all(f"`{name}`" in said for name in taken):
                silent.append(f"{place}({', '.join(taken)})")
    assert silent == []


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What is in a function, but not in functions within it."""
    for inner in ast.iter_child_nodes(node):
        if not isinstance(inner, Function | ast.Lambda):
            yield inner
            yield from _own_nodes(inner)


def test_fields_of_what_users_get_are_described() -> None:
    """Of the frozen data that travels: a text after each field, but where its name says all."""
    plain = {"record_id", "work_id", "instruction", "original", "current", "seed", "step", "value", "cost"}
    plain |= {"reason", "thought", "message", "kind", "records", "ok", "policy", "editor", "judge", "index"}
    plain |= {
        "where",
        "format",
        "path",
        "size",
        "frame",
        "run_id",
        "holder",
        "host",
        "pid",
        "prompts",
        "steps",
    }
    silent = []
    for place, node in public_names("core"):
        if not isinstance(node, ast.ClassDef) or "dataclass" not in "".join(
            map(ast.unparse, node.decorator_list)
        ):
            continue
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                if not described and field.target.id not in plain:
                    silent.append(f"{place}.{field.target.id}")
    assert silent == [], silent
