"""What a stranger found who broke the mended release with inputs of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, run
from mira_batch.core.errors import ConfigError, ManifestError, StoreError
from mira_batch.edit.job import EditJob
from mira_batch.runtime import run as runner
from mira_batch.runtime.preflight import check_output
from mira_batch.storage.run.layout import result_key
from tests.support.runs import program
from tests.support.runs.catalogue import make_catalogue, settings


def call(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return program.call(*arguments, folder=folder)


def config_in(folder: Path, records: int = 4, **more: Any) -> Path:
    manifest = make_catalogue(folder / "catalogue", records)
    file = folder / "config.json"
    file.write_text(json.dumps(settings(manifest, folder / "out", **more)))
    return file


def test_results_below_the_manifests_directory_are_no_part_of_it(tmp_path: Path) -> None:
    make_catalogue(tmp_path / "catalogue", 4)
    config = load_config(settings(tmp_path / "catalogue", tmp_path / "catalogue" / "edited"))
    first = run(config)
    again = run(config)
    assert (again.run, again.already) == (first.run, 4)
    assert runner.status(EditJob(config)).committed == 4


@pytest.mark.parametrize("damage", [b"", b"PAR1 and no more"])
def test_a_run_with_a_damaged_result_file_is_not_said_to_be_done(tmp_path: Path, damage: bytes) -> None:
    file = config_in(tmp_path)
    done = json.loads(call(tmp_path, "run", "-c", file, "--json").stdout)
    Path(done["run"], result_key(0)).write_bytes(damage)
    status = json.loads(call(tmp_path, "status", "-c", file, "--json").stdout)
    assert status["unread"] > 0 and status["unread"] + status["ok"] + status["failed"] == 4
    again = call(tmp_path, "run", "-c", file)
    assert (
        again.returncode == 1 and "are in result files that are damaged; `mira-batch verify`" in again.stderr
    )
    assert call(tmp_path, "verify", "-c", file).returncode == 1


@pytest.mark.parametrize("scheme", ["webhdfs", "dbfs", "reference", "jupyter", "hf", "ftp"])
def test_other_schemes_say_what_is_wrong_in_one_line(tmp_path: Path, scheme: str) -> None:
    config = load_config(settings(f"{scheme}://127.0.0.1:9/m.jsonl", tmp_path / "out"))
    with pytest.raises((ManifestError, StoreError), match=f"^{scheme}://127.0.0.1:9/m.jsonl: ") as error:
        run(config)
    assert "\n" not in str(error.value)


def test_an_image_of_a_scheme_that_does_not_answer_fails_alone(tmp_path: Path) -> None:
    file = config_in(tmp_path)
    manifest = tmp_path / "catalogue" / "manifest.jsonl"
    row = {"record_id": "far", "image": "webhdfs://127.0.0.1:9/a.png", "instruction": "mirror it"}
    manifest.write_text(manifest.read_text() + json.dumps(row) + "\n")
    base = json.loads(file.read_text())
    base["input"]["allow"] = ["webhdfs://127.0.0.1:9/", str(tmp_path)]
    summary = run(load_config(base))
    assert (summary.ok, summary.errors) == (4, {"image_unreadable": 1})


def test_a_web_server_takes_no_runs() -> None:
    with pytest.raises(ConfigError, match="a web server takes no runs"):
        check_output("http://127.0.0.1:9/out")


@pytest.mark.parametrize("name", ["idna", "punycode", "unicode_escape"])
def test_codecs_that_no_file_is_written_in_are_no_encodings(tmp_path: Path, name: str) -> None:
    base = settings("m.csv", tmp_path / "out")
    base["input"]["encoding"] = name
    with pytest.raises(ConfigError, match="is no text encoding"):
        load_config(base)


def test_a_working_directory_that_is_gone_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "c.yaml").write_text("input: {manifest: m.jsonl}\noutput: {uri: out}\n")
    program = f"import os; os.rmdir({str(tmp_path / 'here')!r}); from mira_batch.cli import main; "
    program += f"raise SystemExit(main(['status', '-c', {str(tmp_path / 'c.yaml')!r}]))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path / "here", capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "the working directory is gone; give an absolute path" in done.stderr
    assert "Traceback" not in done.stderr
