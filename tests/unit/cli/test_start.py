"""What a command loads, seen in a process of its own: seconds that each call of it would take."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

NEVER = {"ray", "torch", "transformers", "diffusers", "datasets", "scipy"}
FOR_OTHERS = {"pandas", "jinja2", "sqlglot", "s3fs", "aiobotocore", "duckdb"}
"""What only commands need that read all results of a run, write pages, take conditions or reach S3."""
LIBRARIES = {"pyarrow", "numpy", "yaml", "PIL", "obstore", "fsspec"}


def load(*words: str, code: int = 0) -> set[str]:
    """The modules that a command has loaded when it ends; `code` is its exit code."""
    program = (
        "import sys; from mira_batch.cli import main; code = main(sys.argv[1:])\n"
        "print('loaded', *sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    head, *names = done.stderr.splitlines()[-1].split(" ")
    assert head == "loaded" and "typer" in names
    return set(names)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, half done."""
    folder = tmp_path_factory.mktemp("out") / "old"
    shutil.copytree(next((ROOT / "tests/data/old_run/files/out").iterdir()), folder)
    return folder


@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("nonsense", 2)])
def test_where_no_command_is_called_none_is_loaded(word: str, code: int) -> None:
    loaded = load(word, code=code)
    assert not loaded & (NEVER | FOR_OTHERS | LIBRARIES)
    assert not {name for name in loaded if name.startswith(("mira_batch.config", "mira_batch.storage"))}


@pytest.mark.parametrize("words", [("status", "{run}"), ("clean", "{run}")])
def test_a_look_at_a_run_loads_what_looks_at_runs(run: Path, words: tuple[str, ...]) -> None:
    loaded = load(*(word.format(run=run) for word in words))
    assert "pyarrow" in loaded and not loaded & (NEVER | FOR_OTHERS)
    assert not {name for name in loaded if name.startswith(("mira_batch.models", "mira_batch.evaluate"))}
