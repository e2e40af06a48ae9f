"""The rooms of models/: what each imports of the others, and what importing it loads."""

from __future__ import annotations

import ast
import importlib
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.unit.test_layers import PYDANTIC_AND_YAML, loaded_by

MODELS = ROOT / "mira_batch" / "models"
PACKAGE = "mira_batch.models"
ROOMS = sorted(path.name for path in MODELS.iterdir() if (path / "__init__.py").is_file())
HEAVY = {"torch", "transformers", "diffusers", "peft", "safetensors", "vllm", "openai", "google", "numpy"}


def imports(root: Path = MODELS) -> Iterator[tuple[str, str, str]]:
    """(file, module, name) of all that `root` imports of models/, in functions and for type checkers too."""
    for path in sorted(root.rglob("*.py")):
        file = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                yield from ((file, node.module or "", alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                assert not [alias for alias in node.names if alias.name.startswith(PACKAGE)], file


def room_of(place: str) -> str:
    """The first part of a file's path in models/, or of a module's name below it."""
    return place.removeprefix(f"{PACKAGE}.").replace("/", ".").split(".")[0]


def test_of_another_room_only_its_face_is_imported() -> None:
    for file, module, name in imports():
        room = room_of(module)
        if room in ROOMS and room != room_of(file):
            assert module == f"{PACKAGE}.{room}", f"{file} imports {module}"
            assert name in importlib.import_module(module).__all__, f"{file} imports {name} of {module}"


def test_a_face_shows_exactly_what_others_use() -> None:
    used: dict[str, set[str]] = {room: set() for room in ROOMS}
    for file, module, name in imports(MODELS.parent):
        if module.removeprefix(f"{PACKAGE}.") in ROOMS and not file.startswith(f"models/{room_of(module)}/"):
            used[room_of(module)].add(name)
    assert {room: set(importlib.import_module(f"{PACKAGE}.{room}").__all__) for room in ROOMS} == used


def test_no_room_depends_on_itself() -> None:
    below: dict[str, set[str]] = defaultdict(set)
    for file, module, _ in imports():
        if room_of(file) != room_of(module):
            below[room_of(file)].add(room_of(module))
    order = list(TopologicalSorter(below).static_order())
    assert {"loader", "checks"} >= set(order[-1:]) and not {"loader", "checks"} & set().union(*below.values())
    assert not below["serving"] and not below["torch_support"]


def test_no_module_depends_on_itself() -> None:
    below: dict[str, set[str]] = defaultdict(set)
    for file, module, name in imports():
        if not file.endswith("__init__.py"):
            target = module.removeprefix(f"{PACKAGE}.").replace(".", "/")
            if (MODELS / target / f"{name}.py").is_file():
                target = f"{target}/{name}"
            below[file.removesuffix(".py")].add(target)
    list(TopologicalSorter(below).static_order())  # raises CycleError


@pytest.mark.parametrize("room", ROOMS)
def test_looking_at_a_room_loads_nothing_heavy(room: str) -> None:
    assert not loaded_by(f"{PACKAGE}.{room}") & HEAVY


@pytest.mark.parametrize("module", ["loader", "registry", "serving", "imports", "simulated"])
def test_what_a_driver_imports_loads_pydantic_only(module: str) -> None:
    assert loaded_by(f"{PACKAGE}.{module}") <= PYDANTIC_AND_YAML


def test_files_and_functions_stay_short() -> None:
    for path in MODELS.rglob("*.py"):
        text = path.read_text()
        assert text.count("\n") <= 330, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 70, f"{path}: {node.name}"
