"""The simulated models: step counts, marks, scores and names."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image

from mira_batch.config.models.simulated import StepCounts
from mira_batch.core.identity import frame_of
from mira_batch.core.types import Edit, StopAction
from mira_batch.models.simulated import paint_mark, step_count
from tests.support import ROOT
from tests.unit.models.simulated_calls import a_judge, a_policy, action, an_editor, ask, judge, score

# Step counts


def test_step_counts_are_the_same_in_every_process() -> None:
    counts = [step_count(f"record-{number}", StepCounts()) for number in range(12)]
    assert counts == [2, 1, 1, 5, 1, 4, 2, 1, 5, 2, 3, 3]
    code = (
        "from mira_batch.config.models.simulated import StepCounts\n"
        "from mira_batch.models.simulated import step_count\n"
        "print([step_count(f'record-{number}', StepCounts()) for number in range(12)])"
    )
    there = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str(counts)


@pytest.mark.parametrize("mean", [1.0, 1.5, 2.5, 6.0])
def test_step_counts_have_the_configured_mean_and_a_long_tail(mean: float) -> None:
    counts = [step_count(f"r{number}", StepCounts(mean=mean, max=1000)) for number in range(20_000)]
    assert sum(counts) / len(counts) == pytest.approx(mean, rel=0.03)
    assert min(counts) == 1
    assert mean == 1 or max(counts) > 4 * mean


def test_no_draw_is_above_the_maximum() -> None:
    counts = {step_count(f"r{number}", StepCounts(mean=4, max=3)) for number in range(500)}
    assert counts == {1, 2, 3}


def test_exact_counts_win_over_draw_and_maximum_and_the_first_glob_over_the_next() -> None:
    steps = StepCounts(max=2, exact={"long-1*": 30, "long-*": 20, "none": 0})
    counts = [step_count(name, steps) for name in ("long-12", "long-2", "none", "LONG-1")]
    assert counts[:3] == [30, 20, 0]
    assert counts[3] <= 2


# The policy


def test_the_policy_counts_its_edits_and_stops() -> None:
    policy = a_policy(steps={"exact": {"*": 2}})
    assert action(policy, ask()) == Edit("simulated edit 1 of 2", "0 of 2 edits are done")
    assert action(policy, ask(accepted=(True,))) == Edit("simulated edit 2 of 2", "1 of 2 edits are done")
    assert action(policy, ask(accepted=(True, True))) == StopAction(
        "nothing is missing", "2 of 2 edits are done"
    )


def test_edits_that_were_rolled_back_do_not_count() -> None:
    policy = a_policy(steps={"exact": {"*": 2}})
    assert isinstance(action(policy, ask(accepted=(True, False, False))), Edit)
    assert isinstance(action(policy, ask(accepted=(False, True, True))), StopAction)


# The editor


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (64, 48)])
def test_a_mark_always_shows_and_keeps_mode_and_size(mode: str, size: tuple[int, int]) -> None:
    image = Image.new(mode, size)
    seen = {frame_of(image).digest}
    for seed in range(200):
        marked = paint_mark(image, seed)
        assert (marked.mode, marked.size) == (mode, size)
        seen.add(frame_of(marked).digest)
    assert len(seen) == 201


def test_a_mark_shows_even_where_its_colour_is_already() -> None:
    pixel = Image.new("RGB", (1, 1))
    once = paint_mark(pixel, seed=5)
    assert frame_of(paint_mark(once, seed=5)).digest != frame_of(once).digest


# The judge


def test_scores_follow_from_the_candidate_and_lie_between_low_and_high() -> None:
    frames = [frame_of(Image.new("RGB", (1, 1), (n, 0, 0))) for n in range(200)]
    model = a_judge(low=0.25, high=0.75)
    scores = [score(model, judge(candidate=frame)) for frame in frames]
    assert 0.25 <= min(scores) < 0.3
    assert 0.7 < max(scores) <= 0.75
    assert len(set(scores)) == 200
    assert score(a_judge(low=0.25, high=0.75), judge("other", frames[7])) == scores[7]


def test_low_and_high_may_meet() -> None:
    assert score(a_judge(low=0.5, high=0.5), judge()) == 0.5


def test_a_judge_says_how_unsure_it_is_if_it_is_told_to() -> None:
    frames = [frame_of(Image.new("RGB", (4, 4), (n, 0, 0))) for n in range(200)]
    said = a_judge(entropy=1.5).score([judge(candidate=frame) for frame in frames[:8]])
    doubts = [
        a_judge(entropy=1.5).score([judge(candidate=frame)])[0].validity["entropy"]  # type: ignore[union-attr]
        for frame in frames
    ]
    assert [each.validity["entropy"] for each in said] == doubts[:8]  # type: ignore[union-attr]
    assert 0 < min(doubts) < 0.1 and 1.4 < max(doubts) <= 1.5
    (silent,) = a_judge().score([judge()])
    assert silent.validity == {}  # type: ignore[union-attr]
    assert a_judge(entropy=1.5).identity != a_judge().identity


# Names


def test_the_identity_is_of_what_changes_answers() -> None:
    plain = a_policy().identity
    assert a_policy(max_batch=3, replicas=2, service={"per_item": 0}).identity == plain
    assert a_policy(steps={"mean": 3}).identity != plain
    assert a_policy(faults=[{"records": "*", "does": "nothing"}]).identity != plain
    assert len({plain, an_editor().identity, a_judge().identity}) == 3


def test_the_batch_is_8_or_what_is_configured() -> None:
    assert a_policy().max_batch == 8
    assert an_editor(max_batch=3).max_batch == 3
