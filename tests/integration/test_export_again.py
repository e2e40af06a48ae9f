"""Exports into places that have something: what was taken away since, and a link to the runs themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch.config.edit import InputConfig
from mira_batch.core.errors import ManifestError
from mira_batch.storage.manifest import list_files
from tests.support.runs.commands import Commands, run_first_night
from tests.support.runs.exports import add_up
from tests.support.runs.nights import Nights


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    found = Nights(tmp_path)
    found.add(8)
    return found


@pytest.fixture
def cli(nights: Nights, capfd: pytest.CaptureFixture[str]) -> Commands:
    return run_first_night(nights, capfd)


@pytest.mark.parametrize("form", ["folder", "webdataset", "hf", "csv"])
def test_what_was_taken_away_is_told_and_not_made_again(cli: Commands, tmp_path: Path, form: str) -> None:
    to = tmp_path / "to"
    command = ("export", to, "--as", form, "--catalogue", cli.nights.output)
    assert cli.json(*command)["exported"] == 8
    (file, *others) = sorted(
        path for path in to.rglob("*") if path.is_file() and ".mira-batch" not in path.parts
    )
    file.unlink()
    found = cli.json(*command)
    assert found["exported"] == 0 and add_up(found)
    assert found["taken_away"] == (1 if form == "folder" else 8) and found["already"] == len(others)
    assert not file.exists()
    assert "taken away since" in cli.text(*command)


@pytest.mark.parametrize("form", ["folder", "webdataset", "hf", "csv", "delta", "lance"])
def test_no_file_of_an_export_is_one_of_a_manifest(cli: Commands, tmp_path: Path, form: str) -> None:
    """However the manifest's location covers it: else results would be edited again."""
    handed, output = tmp_path / "handed" / form, cli.nights.output
    cli.json("export", handed, "--as", form, "--catalogue", output)
    (tmp_path / "linked").symlink_to(handed)
    for manifest in ("", "/**", "/*", "/*/*/*", "/*/*/*/*", "/linked/../*"):
        source = InputConfig.model_validate({"manifest": f"{tmp_path}{manifest}"})
        try:
            files = list_files(source, cli.nights.storage, output)
        except ManifestError as error:
            assert "/*/*" in manifest and ("no part of a manifest" in str(error) or "none of" in str(error))
        else:
            assert [Path(file.path).name for file in files] == ["m.jsonl"], manifest


def test_a_link_to_the_runs_is_no_destination(cli: Commands, nights: Nights, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(nights.output)
    cli.text("export", tmp_path / "linked", "--as", "csv", "--catalogue", nights.output, code=2)
    assert not list(Path(nights.output).glob("*.csv"))
