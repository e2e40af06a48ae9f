"""Captions, and how right they are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mira_batch.train.world.captions import CaptionScore, score_captions, write_caption
from mira_batch.train.world.scenes import Scene, Thing
from tests.unit.train.world.strategies import scenes

RED, GREEN = Thing("red", "circle"), Thing("green", "square")
SCENE = Scene(2, (RED, GREEN, None, None))
FIRST = "red circle left nothing right green square above nothing below nothing"
SECOND = "green square left red circle right nothing above nothing below nothing"


def test_a_caption_names_each_object_with_its_neighbours_in_any_order() -> None:
    said = {write_caption(SCENE, random.Random(seed)) for seed in range(20)}
    assert said == {f"{FIRST}, {SECOND}", f"{SECOND}, {FIRST}"}
    assert write_caption(Scene(2, (None,) * 4), random.Random(0)) == "nothing"


@given(scenes(), st.randoms(use_true_random=False))
def test_a_caption_is_right(scene: Scene, rng: random.Random) -> None:
    score = score_captions([write_caption(scene, rng)], [scene])
    there = any(scene.cells)
    assert score == CaptionScore(float(there), float(there))


@pytest.mark.parametrize(
    ("caption", "neighbours", "objects"),
    [
        (FIRST, 1.0, 0.5),
        (FIRST.replace("right green", "right red"), 0.75, 0.5),
        (FIRST.replace("right green square", ""), 0.75, 0.5),
        (f"{FIRST}, {SECOND.replace('green', 'blue')}", 0.5, 0.5),  # it isn't there
        (f"{FIRST}, {SECOND.replace('left red circle right nothing', 'left nothing right red')}", 0.75, 1.0),
        ("", 0.0, 0.0),
        ("<edit>nonsense</edit>, left, red circle", 0.0, 0.5),
    ],
)
def test_what_is_wrong_counts_as_wrong(caption: str, neighbours: float, objects: float) -> None:
    assert score_captions([caption], [SCENE]) == CaptionScore(neighbours, objects)


@given(st.lists(st.text(st.sampled_from([*"redcirlft ,nothgab"])), min_size=1, max_size=3))
def test_any_text_has_a_score(said: list[str]) -> None:
    score = score_captions(said, [SCENE] * len(said))
    assert 0 <= score.neighbours <= 1 and 0 <= score.objects <= 1
