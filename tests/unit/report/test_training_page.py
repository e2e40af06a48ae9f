"""The page of a training: what it says, and how it looks in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.report.render import format_short
from mira_batch.report.training import is_training, read_page, write_training
from mira_batch.report.training_contents import TrainingPage
from mira_batch.storage.stores import open_store
from tests.unit.report.browsers import FOUND, MISSING, browse, opened

STORAGE = StorageConfig()
SFT = [
    {"step": 10, "loss": 2.0, "learning_rate": 1e-3},
    {"step": 10, "val_loss": 2.5, "val_tokens": 100},
    {"step": 20, "loss": 1.0, "learning_rate": 5e-4},
    {"step": 20, "val_loss": 1.5, "val_tokens": 100},
]
GRPO = [
    {
        "of": "iteration",
        "iteration": 1,
        "reward_mean": 0.5,
        "kl": None,
        "groups": 8,
        "seconds": {"update": 9.0},
    },
    {
        "of": "iteration",
        "iteration": 2,
        "reward_mean": 0.25,
        "kl": None,
        "groups": 8,
        "seconds": {"update": 7.0},
    },
    {"of": "validation", "iteration": 0, "score": 0.4, "settings": "abc"},
    {"of": "validation", "iteration": 2, "score": 0.6, "settings": "abc"},
]


def keep(folder: Path, lines: list[dict[str, Any]], **result: Any) -> TrainingPage:
    """A training with these figures, and what its page shows."""
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if result:
        (folder / "result.json").write_text(json.dumps(result))
    return read_page(open_store(str(folder), STORAGE, make=False))


def test_figures_of_held_out_samples_are_in_the_chart_of_their_kind(tmp_path: Path) -> None:
    page = keep(tmp_path, SFT)
    assert (page.unit, page.first, page.last, page.chosen) == ("step", 10, 20, None)
    assert [chart.name for chart in page.charts] == ["loss", "learning_rate"]
    loss = page.charts[0]
    assert [line.name for line in loss.lines] == ["loss", "held out: loss"] and (loss.low, loss.high) == (
        1,
        2.5,
    )
    assert [(dot.at, dot.value, dot.x, dot.y) for dot in loss.lines[0].dots] == [
        (10, 2.0, 0, pytest.approx(100 / 3)),
        (20, 1.0, 100, 100),
    ]
    assert page.constant == (("held out: tokens", 100),)


def test_iterations_and_validations_are_by_iteration_and_what_was_taken_is_marked(tmp_path: Path) -> None:
    page = keep(tmp_path, GRPO, iteration=1, why="the best", ended="All were made.")
    assert (page.unit, page.first, page.last) == ("iteration", 0, 2)
    assert [chart.name for chart in page.charts] == ["held out: score", "reward_mean", "seconds.update"]
    assert (page.chosen, page.chosen_x, page.words) == (1, 50, ("the best", "All were made."))
    assert [dot.x for dot in page.charts[1].lines[0].dots] == [50, 100]
    assert page.constant == (("groups", 8),)


def test_no_figures_and_damaged_ones_are_told(tmp_path: Path) -> None:
    assert not is_training(str(tmp_path), STORAGE)
    with pytest.raises(ConfigError, match="has no figures yet"):
        keep(tmp_path, [])
    assert is_training(str(tmp_path), STORAGE)
    for text in ('{"step": 1, "loss"', "[]", '{"loss": 1}'):
        (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "loss": 2}}\n{text}\n')
        with pytest.raises(StoreError, match="line 2 is no line of figures"):
            write_training(str(tmp_path), STORAGE)


def test_what_is_no_number_is_a_gap(tmp_path: Path) -> None:
    broken = [{"step": 30, "loss": float("nan"), "learning_rate": float("inf")}]
    page = keep(tmp_path, [*SFT, *broken])
    assert [dot.at for dot in page.charts[0].lines[0].dots] == [10, 20]
    assert Path(write_training(str(tmp_path), STORAGE)).exists()


def test_a_damaged_result_is_told(tmp_path: Path) -> None:
    keep(tmp_path, GRPO)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(StoreError, match="result.json: is no JSON object"):
        write_training(str(tmp_path), STORAGE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (28430.0, "28,430"),
        (28430.5, "28,430"),
        (0.78671, "0.7867"),
        (0.0000224, "2.2e-05"),
        (-3.0, "-3"),
        (0, "0"),
    ],
)
def test_figures_in_short(value: float, text: str) -> None:
    assert format_short(value) == text


@pytest.mark.skipif(FOUND is None, reason=MISSING)
def test_in_a_browser_each_figure_is_a_chart_and_each_value_can_be_read(tmp_path: Path) -> None:
    keep(
        tmp_path, [*GRPO, {"of": "iteration", "iteration": 2, "<b>odd</b>": 1.0}], iteration=1, why="the best"
    )
    address = Path(write_training(str(tmp_path), STORAGE)).as_uri()
    with browse() as browser, opened(browser, address) as page:
        assert page.locator("h1").inner_text() == "Taken after 1 iteration"
        assert page.locator(".charts li").count() == 4
        assert page.locator("h2").all_inner_texts()[-1] == "<b>odd</b>"
        assert page.locator("line.chosen").count() == 4
        told = page.locator("svg[role=img]").nth(1).get_attribute("aria-label")
        assert told is not None and told.startswith("reward_mean: 0.5 at iteration 1, 0.25 at iteration 2;")
        dots = page.locator(".charts li").nth(1).locator("i")
        assert [dot.get_attribute("title") for dot in dots.all()] == [
            "reward_mean, iteration 1: 0.5",
            "reward_mean, iteration 2: 0.25",
        ]
        high, low = (dot.bounding_box() for dot in dots.all())
        assert high is not None and low is not None
        assert high["x"] < low["x"] and high["y"] < low["y"]
