"""What importing each layer loads, seen in a clean interpreter, and who imports what, as it is written."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mira_batch
from tests.support import ROOT

PYDANTIC_AND_YAML = {
    "annotated_types",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
    "yaml",
    "_yaml",
}
NOT_IMPORTED = ("_sysconfigdata", "_cython", "cython_runtime")
"""The standard library's own data, and what compiled extensions enter by themselves."""
STORES = "mira_batch.storage.stores"
STORE_CLIENTS = {"aiohttp", "botocore", "fsspec", "obstore", "pyarrow.fs", "s3fs"}
ROOMS = (STORES, "mira_batch.storage.manifest")
"""Packages that others import as a whole: what they leave out is their own."""


def modules_of(package: str) -> list[str]:
    (folder,) = mira_batch.__path__
    path = [str(Path(folder, *package.split(".")[1:]))]
    names = [package, *(f"{package}.{module.name}" for module in pkgutil.iter_modules(path))]
    assert len(names) > 3
    return names


def loaded_by(*modules: str) -> set[str]:
    """Names of the top-level modules, of third parties only, that these imports load."""
    code = (
        "import sys; before = set(sys.modules)\n"
        f"import {', '.join(modules)}\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env={}
    )
    names = {name for name in done.stdout.split() if not name.startswith(NOT_IMPORTED)}
    return names - sys.stdlib_module_names - {"mira_batch"}


def test_core_loads_the_standard_library_only() -> None:
    assert loaded_by(*modules_of("mira_batch.core")) == set()


def test_config_adds_pydantic_and_yaml_only() -> None:
    loaded = loaded_by(*modules_of("mira_batch.config"))
    assert {"pydantic", "yaml"} <= loaded <= PYDANTIC_AND_YAML


def test_the_package_itself_loads_nothing() -> None:
    assert loaded_by("mira_batch") == set()


@pytest.mark.parametrize("module", ["registry", "simulated", "serving.microbatch"])
def test_building_a_model_needs_no_heavy_library(module: str) -> None:
    assert loaded_by(f"mira_batch.models.{module}") <= PYDANTIC_AND_YAML


def test_the_synthetic_world_is_imported_without_torch() -> None:
    """Its models run in workers that may have none; its own Qwen2.5-VL loads it when it is built."""
    world = "mira_batch.train.world"
    loaded = loaded_by(world, f"{world}.manifest", f"{world}.model", f"{world}.pretrain")
    assert "numpy" in loaded and not loaded & {"torch", "transformers", "ray"}


def test_the_command_line_and_the_inline_backend_need_no_ray(tmp_path: Path) -> None:
    assert "ray" not in loaded_by("mira_batch.cli", "mira_batch.edit.job", "mira_batch.inspect.job")
    code = (
        "import sys; from mira_batch.cli import main\n"
        "assert main(['--help']) == 0\n"
        "more = ['--set', 'backend=inline', '--set', f'output.uri={sys.argv[1]}']\n"
        "assert main(['run', '--config', 'configs/quickstart.yaml', *more]) == 0\n"
        "print('ray' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_process_of_rays_board_begins_at_once() -> None:
    """Every run on Ray waits for it, and it needs nothing of stores and configs."""
    code = "import sys, mira_batch.runtime.backends.board; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("mira_batch.")}
    assert "mira_batch.runtime.backends.board" in ours
    assert not {name for name in ours if name.startswith(("mira_batch.storage", "mira_batch.config"))}


def test_the_check_itself_sees_third_parties() -> None:
    assert "yaml" in loaded_by("yaml")


def imports_of(path: Path) -> Iterator[str]:
    """Every name that a file imports, with its module: in functions and for type checkers, too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: relative imports are not followed here"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def all_imports() -> Iterator[tuple[str, str]]:
    """(module, what it imports) of everything that is not a test."""
    for folder in ("mira_batch", "jobs", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            yield from ((name.removesuffix(".__init__"), found) for found in imports_of(path))


def is_within(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def test_only_the_stores_know_the_clients_of_object_stores() -> None:
    importers: dict[str, set[str]] = {client: set() for client in STORE_CLIENTS}
    for module, found in all_imports():
        # Google's client of models takes a session of aiohttp: it speaks to an endpoint, not to a store.
        if is_within(module, "mira_batch.models.remote") and is_within(found, "aiohttp"):
            continue
        for client in STORE_CLIENTS:
            if is_within(found, client):
                importers[client].add(module)
    assert all(is_within(module, STORES) for modules in importers.values() for module in modules), importers
    assert all(importers[client] for client in STORE_CLIENTS - {"s3fs"}), "nobody imports it: is it needed?"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_imported_by_its_own_name(room: str) -> None:
    inside = {f"{room}.{path.stem}" for path in (ROOT / room.replace(".", "/")).glob("[!_]*.py")}
    assert len(inside) > 3
    past_the_door = [
        (module, found)
        for module, found in all_imports()
        if not is_within(module, room) and any(is_within(found, name) for name in inside)
    ]
    assert past_the_door == []


def test_there_is_no_circle() -> None:
    """Of modules and rooms, in all of the package; imports for type checkers and within functions count."""
    modules = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for path in (ROOT / "mira_batch").rglob("*.py")
    }
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for module, found in all_imports():
        if is_within(module, "mira_batch"):
            target = found if found in modules else found.rpartition(".")[0]
            if target in modules and target != module:
                graph[module].add(target)
    graph.pop("mira_batch")  # it names what users import, and loads it when asked
    order: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a circle: {above[above.index(module) :]}"
        if module not in order:
            for found in sorted(graph.get(module, ())):
                visit(found, (*above, module))
            order.add(module)

    for module in sorted(graph):
        visit(module, ())
    assert len(order) > 150 and {*ROOMS, "mira_batch.runtime.run"} <= order


def test_the_runner_names_no_job() -> None:
    """Nor a column of one: `record_id`, `work_id`, `status` and whose work it was are all it knows."""
    text = "".join(path.read_text() for path in (ROOT / "mira_batch" / "runtime").rglob("*.py"))
    for name in ("BulkEditConfig", "InspectConfig", "image_uri", "instruction", "EditTask", "PolicyRequest"):
        assert name not in text, name
    jobs = ("mira_batch.edit", "mira_batch.inspect", "mira_batch.models", "mira_batch.launch")
    reached = [
        (module, found)
        for module, found in all_imports()
        if is_within(module, "mira_batch.runtime") and any(is_within(found, job) for job in jobs)
    ]
    assert reached == []


def test_the_stores_load_their_clients_and_no_more() -> None:
    """s3fs is loaded for the first s3:// location, torch and Pillow by nothing here."""
    loaded = loaded_by(STORES)
    assert {"obstore", "fsspec", "pyarrow"} <= loaded
    assert not loaded & {"PIL", "ray", "s3fs", "torch"}


def test_files_and_functions_stay_short() -> None:
    long = []
    for path in sorted(
        path for f in ("mira_batch", "jobs", "benchmarks", "tests") for path in (ROOT / f).rglob("*.py")
    ):
        text = path.read_text()
        if text.count("\n") > 330:
            long.append(str(path))
        for node in ast.walk(ast.parse(text)):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and (node.end_lineno or 0) - node.lineno >= 70:
                long.append(f"{path}:{node.name}")
    assert long == []
