"""What importing each layer loads, seen in a clean interpreter."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
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


def test_the_check_itself_sees_third_parties() -> None:
    assert "yaml" in loaded_by("yaml")
