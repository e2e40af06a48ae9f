"""The card of an editor that learned by its own samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.load import load_own_config
from mira_batch.train.guards import Best
from mira_batch.train.nft.card import write_card
from tests.support.runs.nft import nft_settings

OLD = {"iteration": 0, "records": 4, "reward_judged": 4, "reward_mean": 0.25, "score": 0.25}
NEW = {**OLD, "iteration": 2, "sentinel_judged": 3, "sentinel_mean": 0.5, "collateral": None}


def card_of(tmp_path: Path, *validations: dict[str, Any], **editor: Any) -> str:
    settings = nft_settings(tmp_path / "FluxKontextPipeline", tmp_path / "records.jsonl", tmp_path / "out")
    settings["editor"] |= editor
    config = load_own_config(EditorNftConfig, settings)
    card, _ = write_card(config, Best(2, "the last one"), "All were made.", "abc", [], validations)
    return card


def test_validations_say_how_many_were_left_out(tmp_path: Path) -> None:
    """Also where one of an older release, or without the sentinel, lacks a figure."""
    lines = card_of(tmp_path, OLD, NEW).splitlines()
    assert "| iterations | records | left out | reward | sentinel |" in lines
    assert "| 0 | 4 | 0 | 0.2500 |  |" in lines and "| 2 | 4 | 1 | 0.2500 | 0.5000 |" in lines


@pytest.mark.parametrize(
    ("given", "options"),
    [({}, None), ({"max_sequence_length": 64}, {"max_sequence_length": 64})],
)
def test_the_editor_of_the_card_encodes_prompts_as_they_were_learned(
    tmp_path: Path, given: dict[str, int], options: dict[str, int] | None
) -> None:
    use = card_of(tmp_path, **given).partition("```yaml\n")[2].partition("```")[0]
    assert yaml.safe_load(use)["editor"].get("options") == options
