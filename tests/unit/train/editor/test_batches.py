"""The order of pairs: batches of one canvas, whole steps, the same for any number of workers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.core.errors import ConfigError
from mira_batch.train.editor.batches import plan_order
from mira_batch.train.editor.encode import EncodedPair

PAIRS = [EncodedPair(f"r{n}", "train", (64, 64) if n % 3 else (96, 64), f"k{n}") for n in range(11)]
"""Four of them are wide, seven are square."""


def order(**settings: Any) -> list[int]:
    config = EditorSftConfig.model_validate(
        {
            "editor": {"pipeline": "diffusers.FluxKontextPipeline", "weights": "/w"},
            "data": {"manifest": "/m"},
            "output": {"uri": "/o"},
            **settings,
        }
    )
    return plan_order(config, PAIRS).tolist()


def test_each_batch_is_of_one_canvas() -> None:
    places = order(max_steps=20, batch=3)
    assert len(places) == 60
    for start in range(0, 60, 3):
        assert len({PAIRS[place].canvas for place in places[start : start + 3]}) == 1


def test_what_does_not_fill_a_batch_waits_for_the_next_epoch() -> None:
    # Three epochs have 12 wide and 21 square ones, which make 4 and 7 batches of three.
    assert Counter(order(epochs=3, batch=3)) == dict.fromkeys(range(11), 3)
    assert len(order(epochs=1, batch=3)) == 9, "one wide and one square pair are left over at the very end"


def test_the_order_follows_from_the_seed_and_not_from_how_a_step_is_divided() -> None:
    one = order(max_steps=4, batch=2, accumulate=2)
    assert order(max_steps=4, batch=2, workers={"num": 2}) == one
    assert order(max_steps=4, batch=2, accumulate=2, seed=1) != one
    assert order(max_steps=2, batch=2, accumulate=2) == one[:8], "a longer training begins like a shorter one"


def test_too_few_pairs_for_one_step_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="11 pairs, in batches of one canvas over all epochs, don't make one"
    ):
        order(epochs=1, batch=8)
    assert len(order(epochs=2, batch=8)) == 16, "one batch of wide ones, one of square ones"
