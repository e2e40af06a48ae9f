"""The loop with a judge: other seeds, roll-back, the best image."""

from __future__ import annotations

from dataclasses import replace

from mira_batch.core import identity
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import JudgeRequest
from mira_batch.core.types import (
    Candidate,
    ErrorKind,
    Failure,
    Limits,
    StopReason,
)
from tests.support.models.loops import (
    TASK,
    Fakes,
    afters,
    by_attempt,
    by_candidate,
    edits,
    unsure,
)


def test_a_judge_sees_original_candidate_and_edit() -> None:
    fakes = Fakes(edits("a"), score=lambda _: 0.5)
    step = fakes.run().steps[0].step
    (request,) = fakes.judged
    assert (request.original.digest, request.candidate.digest, request.edit) == ("o", "oa", "a")
    assert request.instruction == TASK.instruction
    assert (step.score, step.accepted) == (0.5, True)


def test_a_rejected_edit_is_tried_with_another_seed() -> None:
    score = by_candidate({"oa0": 0.5, "oa0b0": 0.4, "oa0b1": 0.6})
    fakes = Fakes(edits("a", "b"), by_attempt, score)
    trajectory = fakes.run(Limits(attempts_per_step=3))
    assert afters(trajectory) == ["oa0", "oa0b1"]
    assert (trajectory.steps[1].step.attempt, trajectory.steps[1].step.accepted) == (1, True)
    assert trajectory.steps[1].step.seed == identity.seed("w1", "editor", 1, 1)
    assert len(fakes.edited) == 3


def test_without_a_judge_there_is_one_attempt() -> None:
    fakes = Fakes(edits("a"))
    fakes.run(Limits(attempts_per_step=5))
    assert len(fakes.edited) == 1


def test_an_edit_that_no_seed_makes_good_is_rolled_back_and_its_best_try_kept() -> None:
    score = by_candidate({"oa0": 0.5, "oa0b0": 0.2, "oa0b1": 0.4, "oa0b2": 0.3, "oa0c0": 0.6})
    fakes = Fakes(edits("a", "b", "c"), by_attempt, score)
    trajectory = fakes.run(Limits(attempts_per_step=3))
    rejected = trajectory.steps[1].step
    assert (rejected.accepted, rejected.attempt, rejected.score, rejected.after) == (False, 1, 0.4, "oa0b1")
    assert trajectory.steps[2].step.before == "oa0"
    assert fakes.asked[2].current.digest == "oa0"
    assert [step.accepted for step in fakes.asked[2].history] == [True, False]
    assert trajectory.result.digest == "oa0c0"


def test_a_candidate_may_be_worse_by_the_tolerance() -> None:
    score = by_candidate({"oa": 0.75, "oab": 0.5, "oabc": 0.1})
    trajectory = Fakes(edits("a", "b", "c"), score=score).run(Limits(tolerance=0.25))
    assert [logged.step.accepted for logged in trajectory.steps] == [True, True, False]


def test_the_result_is_the_accepted_image_that_the_judge_liked_best() -> None:
    score = by_candidate({"oa": 0.5, "oab": 0.9, "oabc": 0.8})
    trajectory = Fakes(edits("a", "b", "c"), score=score).run(Limits(tolerance=0.2))
    assert all(logged.step.accepted for logged in trajectory.steps)
    assert trajectory.result.digest == "oab"


def test_of_images_that_the_judge_likes_equally_the_latest_is_the_result() -> None:
    assert Fakes(edits("a", "b", "c"), score=lambda _: 0.7).run().result.digest == "oabc"


def test_a_rejected_image_is_never_the_result() -> None:
    score = by_candidate({"oa": 0.5, "oab": 0.4})
    assert Fakes(edits("a", "b"), score=score).run(Limits(attempts_per_step=1)).result.digest == "oa"


def test_a_satisfied_judge_ends_the_loop() -> None:
    fakes = Fakes(edits(*"abc"), score=by_candidate({"oa": 0.5, "oab": 0.9}))
    trajectory = fakes.run(Limits(satisfied=0.9))
    assert trajectory.stop_reason is StopReason.judge_satisfied
    assert trajectory.result.digest == "oab"
    assert len(fakes.asked) == 2


def test_a_failing_judge_fails_the_record_and_is_no_bad_score() -> None:
    def score(request: JudgeRequest) -> float:
        if request.edit == "b":
            raise RecordError(ErrorKind.judge_failed, "blind")
        return 0.5

    trajectory = Fakes(edits("a", "b"), score=score).run()
    assert trajectory.failure == Failure(ErrorKind.judge_failed, "blind")
    assert afters(trajectory) == ["oa"]
    assert trajectory.result.digest == "oa"


# Several candidates


def seed(step: int, attempt: int) -> int:
    return identity.seed("w1", "editor", step, attempt)


def test_the_best_of_several_candidates_is_taken_and_all_are_logged() -> None:
    score = by_candidate({"oa0": 0.5, "oa1": 0.7, "oa2": 0.6, "oa1b0": 0.8, "oa1b1": 0.2, "oa1b2": 0.3})
    fakes = Fakes(edits("a", "b"), by_attempt, score)
    trajectory = fakes.run(Limits(attempts_per_step=4, candidates=3))
    first, second = (logged.step for logged in trajectory.steps)
    assert (first.after, first.attempt, first.seed, first.score) == ("oa1", 1, seed(0, 1), 0.7)
    assert trajectory.steps[0].frame.digest == "oa1"
    assert first.candidates == (
        Candidate(seed(0, 0), "oa0", 0.5),
        Candidate(seed(0, 1), "oa1", 0.7),
        Candidate(seed(0, 2), "oa2", 0.6),
    )
    assert (second.after, second.attempt, len(second.candidates)) == ("oa1b0", 0, 3)
    assert all(request.image.digest == "o" for request in fakes.edited[:3]), "each from the same image"
    assert first.usage["editor"] == 3 * 2 and first.usage["judge"] == 3 * 4, "all that was drawn is paid for"


def test_candidates_that_are_all_rejected_are_followed_by_more() -> None:
    score = by_candidate({"oa0": 0.5, "oa1": 0.4, "oa0b0": 0.2, "oa0b1": 0.3, "oa0b2": 0.6})
    trajectory = Fakes(edits("a", "b"), by_attempt, score).run(Limits(attempts_per_step=3, candidates=2))
    assert afters(trajectory) == ["oa0", "oa0b2"]
    assert [len(logged.step.candidates) for logged in trajectory.steps] == [2, 3]


def test_a_further_seed_is_drawn_only_where_the_judge_is_unsure() -> None:
    judge = unsure(
        {
            "oa0": (0.5, 0.3),
            "oa0b0": (0.6, 1.2),
            "oa0b1": (0.55, 0.1),
            "oa0b2": (0.7, 0.2),
            "oa0b2c0": (0.8, 0.5),
        }
    )
    fakes = Fakes(edits("a", "b", "c"), by_attempt, judge)
    trajectory = fakes.run(Limits(attempts_per_step=4, unsure_above=0.5))
    assert afters(trajectory) == ["oa0", "oa0b2", "oa0b2c0"]
    assert [len(logged.step.candidates) for logged in trajectory.steps] == [1, 3, 1]
    assert [each.entropy for each in trajectory.steps[1].step.candidates] == [1.2, 0.1, 0.2]


def test_the_best_so_far_is_kept_when_the_attempts_are_used_up() -> None:
    judge = unsure({"oa0": (0.6, 1.5), "oa1": (0.4, 1.5)})
    step = (
        Fakes(edits("a"), by_attempt, judge).run(Limits(attempts_per_step=2, unsure_above=0.5)).steps[0].step
    )
    assert (step.after, step.attempt, step.score, step.accepted) == ("oa0", 0, 0.6, True)


def test_a_judge_that_doesnt_say_how_unsure_it_is_is_no_sure_one() -> None:
    fakes = Fakes(edits("a"), by_attempt, score=lambda _: 0.6)
    trajectory = fakes.run(Limits(attempts_per_step=2, unsure_above=0.5))
    assert trajectory.failure is not None and trajectory.failure.kind is ErrorKind.judge_failed
    assert "judge.unsure_above needs a judge that says how unsure it is" in trajectory.failure.message


def test_a_satisfied_judge_ends_the_drawing_and_the_loop() -> None:
    fakes = Fakes(edits("a", "b"), by_attempt, by_candidate({"oa0": 0.5, "oa1": 0.9}))
    trajectory = fakes.run(Limits(attempts_per_step=4, candidates=4, satisfied=0.9))
    assert trajectory.stop_reason is StopReason.judge_satisfied and len(fakes.edited) == 2


def test_without_a_judge_nothing_was_judged() -> None:
    trajectory = Fakes(edits("a")).run(Limits(attempts_per_step=4, candidates=4))
    assert trajectory.steps[0].step.candidates == ()


def test_a_single_candidate_is_the_loop_as_it_was() -> None:
    """With the new limits at their defaults a step differs by its list of candidates alone."""
    score = by_candidate({"oa0": 0.5, "oa0b0": 0.2, "oa0b1": 0.4, "oa0b2": 0.3, "oa0c0": 0.6})
    trajectory = Fakes(edits("a", "b", "c"), by_attempt, score).run(Limits(attempts_per_step=3))
    steps = [replace(logged.step, candidates=()) for logged in trajectory.steps]
    assert [(step.attempt, step.accepted, step.score) for step in steps] == [
        (0, True, 0.5),
        (1, False, 0.4),
        (0, True, 0.6),
    ]
    assert [len(logged.step.candidates) for logged in trajectory.steps] == [1, 3, 1]
