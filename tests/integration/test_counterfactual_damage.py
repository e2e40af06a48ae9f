"""A counterfactual of which a file is damaged or gone: it says what helps, and that gives the same again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mira_batch import load_config, read_counterfactual, run
from mira_batch.cli import main
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.train.counterfactual.run import find_values
from tests.support.runs.counterfactuals import configure, edit_settings, write_tasks


def test_what_is_damaged_or_gone_is_made_again_as_its_message_says(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_tasks(tmp_path)
    trunk = run(load_config(edit_settings(tmp_path, {}, first=1))).run
    output = tmp_path / "out"
    config = configure(trunk, output)

    def say(text: str) -> None:
        pass

    result, whole = find_values(config, say), read_counterfactual(str(output))
    for damage in ("{", "{}", ""):
        (output / "result.json").write_text(damage)
        with pytest.raises(StoreError, match=r"result.json: is damaged .*; delete it, and run the same"):
            find_values(config, say)
        (output / "result.json").unlink()
        assert find_values(config, say) == result
    (output / "steps.parquet").write_text("PAR1")
    with pytest.raises(StoreError, match=r"steps.parquet: is damaged: .*; delete it, and run the same `mira"):
        read_counterfactual(str(output))
    (tmp_path / "counterfactual.json").write_text(config.model_dump_json())
    for more in ([], ["--json"]):
        assert main(["counterfactual", "--config", str(tmp_path / "counterfactual.json"), *more]) == 2
    error = json.loads(capfd.readouterr().out)["error"]
    assert "steps.parquet: is damaged: " in error and "delete it, and run the same `mira-batch" in error
    (output / "steps.parquet").unlink()
    with pytest.raises(StoreError, match=r"steps.parquet: is gone; restore it, or run the same `mira-batch"):
        read_counterfactual(str(output))
    assert find_values(config, say) == result and read_counterfactual(str(output)).equals(whole)
    (output / "counterfactual.json").rename(output / "away.json")
    with pytest.raises(RunConflict, match="holds the result of something else .*name another output.uri"):
        find_values(config, say)
    (output / "counterfactual.json").write_text("")
    with pytest.raises(StoreError, match=r"counterfactual.json: is damaged .*restore it, or name another"):
        find_values(config, say)
