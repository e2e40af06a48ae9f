"""The loop itself: editing until STOP, malformed answers, going nowhere, failures, seconds."""

from __future__ import annotations

import pytest

from mira_batch.core import identity
from mira_batch.core.errors import EngineDead, RecordError
from mira_batch.core.ports import EditRequest, PolicyRequest
from mira_batch.core.text import MOST_TEXT
from mira_batch.core.thoughts import CutOff
from mira_batch.core.types import (
    ErrorKind,
    Failure,
    Limits,
    Status,
    StopReason,
)
from mira_batch.core.usage import Usage
from tests.support.models.loops import (
    EDITOR,
    JUDGE,
    ORIGINAL,
    POLICY,
    Fakes,
    afters,
    appended,
    by_attempt,
    by_candidate,
    edits,
    failing_at,
    without_io,
)
from tests.support.runs.steplogs import MemoryStepLog

# The plain loop


def test_the_loop_edits_until_the_policy_stops() -> None:
    fakes = Fakes(edits("a", "b"))
    trajectory = fakes.run()
    assert afters(trajectory) == ["oa", "oab"]
    assert trajectory.result.digest == "oab"
    assert (trajectory.status, trajectory.stop_reason) == (Status.ok, StopReason.policy_stop)
    assert trajectory.failure is None
    assert trajectory.final_thought == "looks right"
    assert trajectory.resumed_steps == 0


def test_a_stop_at_once_leaves_the_original() -> None:
    trajectory = Fakes(lambda _: "<stop>nothing to do</stop>").run()
    assert trajectory.steps == ()
    assert trajectory.result is ORIGINAL
    assert trajectory.final_thought == "nothing to do"


def test_the_policy_sees_original_current_and_history() -> None:
    fakes = Fakes(edits("a", "b"))
    trajectory = fakes.run()
    assert [request.current.digest for request in fakes.asked] == ["o", "oa", "oab"]
    assert {request.original.digest for request in fakes.asked} == {"o"}
    assert {request.instruction for request in fakes.asked} == {"make it nicer"}
    steps = tuple(logged.step for logged in trajectory.steps)
    assert [request.history for request in fakes.asked] == [(), steps[:1], steps]


def test_a_step_records_what_was_asked_and_what_came_of_it() -> None:
    step = Fakes(edits("a", "b")).run().steps[1].step
    assert (step.index, step.instruction, step.thought) == (1, "b", "1 done")
    assert step.raw_answer == "<think>1 done</think><edit>b</edit>"
    assert (step.before, step.after) == ("oa", "oab")
    assert (step.accepted, step.score, step.attempt) == (True, None, 0)


def test_seeds_follow_from_work_step_and_attempt() -> None:
    fakes = Fakes(edits("a", "b"))
    trajectory = fakes.run()
    assert [r.seed for r in fakes.asked] == [identity.seed("w1", "policy", step, 0) for step in range(3)]
    assert [r.seed for r in fakes.edited] == [identity.seed("w1", "editor", step, 0) for step in range(2)]
    assert [logged.step.seed for logged in trajectory.steps] == [r.seed for r in fakes.edited]


def test_a_record_that_needs_more_edits_than_it_may_have_is_unfinished() -> None:
    fakes = Fakes(edits("a", "b", "c", "d"))
    trajectory = fakes.run(Limits(max_steps=3))
    assert (trajectory.status, trajectory.stop_reason) == (Status.unfinished, StopReason.max_steps)
    assert trajectory.result.digest == "oabc"
    assert (len(fakes.asked), len(fakes.edited)) == (4, 3), "asked once more, and not edited"
    assert without_io(trajectory.usage).seconds == {"policy": 4.0, "waiting": 2.75, "editor": 6.0}


@pytest.mark.parametrize("needed", [1, 3])
def test_a_record_that_needs_every_edit_it_may_have_is_ok(needed: int) -> None:
    fakes = Fakes(edits(*"abc"[:needed]))
    trajectory = fakes.run(Limits(max_steps=needed))
    assert (trajectory.status, trajectory.stop_reason) == (Status.ok, StopReason.policy_stop)
    assert trajectory.final_thought == "looks right"
    assert len(fakes.asked) == needed + 1


def test_a_policy_that_breaks_when_asked_once_more_fails_the_record() -> None:
    def answer(request: PolicyRequest) -> str:
        return "weather" if request.history else edits("a")(request)

    trajectory = Fakes(answer).run(Limits(max_steps=1))
    assert trajectory.failure is not None and trajectory.failure.kind is ErrorKind.malformed_action
    assert trajectory.result.digest == "oa"


def test_a_judge_that_is_satisfied_by_the_last_edit_spares_the_question() -> None:
    fakes = Fakes(edits("a", "b", "c"), score=by_candidate({"oa": 0.5, "oab": 0.9}))
    trajectory = fakes.run(Limits(max_steps=2, satisfied=0.9))
    assert (trajectory.status, trajectory.stop_reason) == (Status.ok, StopReason.judge_satisfied)
    assert len(fakes.asked) == 2


# Malformed answers


def test_a_malformed_answer_is_asked_for_again_with_the_problem() -> None:
    fakes = Fakes(lambda r: edits("a")(r) if r.attempt == 2 else "<edit>unfinished")
    trajectory = fakes.run(Limits(malformed_retries=2))
    assert trajectory.stop_reason is StopReason.policy_stop
    assert afters(trajectory) == ["oa"]
    first = fakes.asked[:3]
    assert [request.attempt for request in first] == [0, 1, 2]
    assert [bool(request.problem) for request in first] == [False, True, True]
    assert "never closed" in first[1].problem
    assert len({request.seed for request in first}) == 3


def test_an_answer_that_was_cut_off_is_asked_for_again() -> None:
    answers = iter([CutOff("<edit>a</edit> and"), "<edit>b</edit>", "<stop>done</stop>"])
    fakes = Fakes(lambda request: next(answers))
    trajectory = fakes.run(Limits(malformed_retries=1))
    assert [logged.step.instruction for logged in trajectory.steps] == ["b"]
    assert "token limit" in fakes.asked[1].problem


def test_what_a_policy_says_is_kept_in_a_form_that_can_be_written() -> None:
    def answer(request: PolicyRequest) -> str:
        if request.history:
            return "<stop>\ud83d and \udce9</stop>"
        return f"<think>{'x' * 100_000}\ud83d</think><edit>brighten</edit>"

    trajectory = Fakes(answer).run()
    step = trajectory.steps[0].step
    assert step.instruction == "brighten"
    assert len(step.raw_answer) == len(step.thought) == MOST_TEXT
    assert "characters and more left out" in step.thought and step.raw_answer.endswith(
        "<edit>brighten</edit>"
    )
    assert trajectory.final_thought == r"\ud83d and \xe9"
    failed = Fakes(lambda request: "nonsense \ud83d").run(Limits(malformed_retries=0))
    assert failed.failure is not None and r"nonsense \\ud83d" in failed.failure.message


def test_too_many_malformed_answers_fail_the_record_and_keep_its_steps() -> None:
    fakes = Fakes(lambda r: edits("a")(r) if not r.history else "weather")
    trajectory = fakes.run(Limits(malformed_retries=1))
    assert len(fakes.asked) == 3
    assert trajectory.status is Status.failed
    assert trajectory.stop_reason is None
    assert trajectory.failure is not None
    assert trajectory.failure.kind is ErrorKind.malformed_action
    assert "step 1: 2 answers" in trajectory.failure.message
    assert "weather" in trajectory.failure.message
    assert afters(trajectory) == ["oa"]
    assert trajectory.result.digest == "oa"


def test_retries_count_anew_at_each_step() -> None:
    fakes = Fakes(lambda r: edits("a", "b")(r) if r.attempt == 1 else "weather")
    assert fakes.run(Limits(malformed_retries=1)).stop_reason is StopReason.policy_stop
    assert [request.attempt for request in fakes.asked] == [0, 1] * 3


# Going nowhere


def test_two_edits_in_a_row_that_change_nothing_are_no_progress() -> None:
    trajectory = Fakes(edits(*"abcdef"), lambda r: r.image.digest if r.step else appended(r)).run()
    assert (trajectory.status, trajectory.stop_reason) == (Status.unfinished, StopReason.no_progress)
    assert afters(trajectory) == ["oa"] * 3


def test_an_edit_that_changes_nothing_now_and_then_is_progress() -> None:
    trajectory = Fakes(edits(*"abcd"), lambda r: r.image.digest if r.step % 2 else appended(r)).run()
    assert trajectory.stop_reason is StopReason.policy_stop
    assert afters(trajectory) == ["oa", "oa", "oac", "oac"]


@pytest.mark.parametrize(("allowed", "made"), [(1, 2), (2, 3), (3, 4)])
def test_how_many_edits_in_a_row_may_change_nothing_is_a_limit(allowed: int, made: int) -> None:
    fakes = Fakes(edits(*"abcdef"), lambda r: r.image.digest if r.step else appended(r))
    trajectory = fakes.run(Limits(no_progress=allowed))
    assert (trajectory.status, trajectory.stop_reason) == (Status.unfinished, StopReason.no_progress)
    assert (len(trajectory.steps), len(fakes.asked)) == (made, made)


def test_without_that_limit_a_record_goes_on_until_the_policy_stops() -> None:
    trajectory = Fakes(edits(*"abcdef"), lambda r: r.image.digest).run(Limits(no_progress=None))
    assert (trajectory.status, trajectory.stop_reason) == (Status.ok, StopReason.policy_stop)
    assert afters(trajectory) == ["o"] * 6


def test_an_undo_is_no_oscillation() -> None:
    trajectory = Fakes(
        edits("a", "undo", "b"), lambda r: "o" if r.instruction == "undo" else appended(r)
    ).run()
    assert trajectory.stop_reason is StopReason.policy_stop
    assert afters(trajectory) == ["oa", "o", "ob"]


def test_the_same_edit_from_the_same_image_to_the_same_result_is_oscillation() -> None:
    trajectory = Fakes(
        edits("a", "undo", "a", "undo", "a"), lambda r: "o" if r.instruction == "undo" else appended(r)
    ).run()
    assert (trajectory.status, trajectory.stop_reason) == (Status.unfinished, StopReason.oscillation)
    assert afters(trajectory) == ["oa", "o", "oa"]


def test_the_same_edit_with_another_result_is_no_oscillation() -> None:
    def undo_or_step(request: EditRequest) -> str:
        return "o" if request.instruction == "undo" else f"{appended(request)}{request.step}"

    trajectory = Fakes(edits("a", "undo", "a"), undo_or_step).run()
    assert trajectory.stop_reason is StopReason.policy_stop
    assert afters(trajectory) == ["oa0", "o", "oa2"]


def test_another_edit_with_the_same_result_is_no_oscillation() -> None:
    trajectory = Fakes(edits("a", "undo", "b", "c"), lambda r: "o" if r.instruction == "undo" else "x").run()
    assert trajectory.stop_reason is StopReason.policy_stop
    assert afters(trajectory) == ["x", "o", "x", "x"]


def test_the_same_edit_on_another_image_is_no_oscillation() -> None:
    assert Fakes(edits("a", "a", "a")).run().stop_reason is StopReason.policy_stop


# Failures


@pytest.mark.parametrize(("step", "best"), [(0, "o"), (2, "oab")])
def test_a_failing_editor_fails_the_record_and_keeps_the_best_image(step: int, best: str) -> None:
    broken = failing_at(step, RecordError(ErrorKind.editor_failed, "no brush"))
    trajectory = Fakes(edits(*"abcd"), broken).run()
    assert trajectory.failure == Failure(ErrorKind.editor_failed, "no brush")
    assert (trajectory.status, trajectory.stop_reason) == (Status.failed, None)
    assert len(trajectory.steps) == step
    assert trajectory.result.digest == best


def test_a_failed_record_with_a_judge_keeps_what_the_judge_liked_best() -> None:
    broken = failing_at(2, RecordError(ErrorKind.editor_failed, "no brush"))
    score = by_candidate({"oa": 0.9, "oab": 0.8})
    assert Fakes(edits(*"abc"), broken, score).run(Limits(tolerance=0.5)).result.digest == "oa"


@pytest.mark.parametrize("error", [EngineDead("sticky"), OSError("store gone")])
def test_what_is_no_fault_of_the_record_propagates(error: Exception) -> None:
    with pytest.raises(type(error)):
        Fakes(edits("a"), failing_at(0, error)).run()


# Seconds


def test_seconds_of_the_steps_and_of_the_rest_add_up() -> None:
    fakes = Fakes(edits("a", "b"), score=lambda _: 0.5)
    trajectory = fakes.run()
    assert trajectory.steps[0].step.usage == POLICY + EDITOR + JUDGE
    expected = Usage()
    for _ in range(2):
        expected += POLICY + EDITOR + JUDGE
    assert without_io(trajectory.usage) == expected + POLICY  # the last answer was the stop


def test_a_step_carries_the_seconds_of_its_retries() -> None:
    scores = {"oa0": 0.5, "oa0b0": 0.1, "oa0b1": 0.6}
    fakes = Fakes(
        lambda r: edits("a", "b")(r) if r.attempt or not r.history else "weather",
        by_attempt,
        by_candidate(scores),
    )
    second = fakes.run(Limits(attempts_per_step=2)).steps[1].step
    assert second.usage == POLICY + POLICY + EDITOR + JUDGE + EDITOR + JUDGE


def test_a_failed_record_counts_the_seconds_of_its_unfinished_step() -> None:
    broken = failing_at(1, RecordError(ErrorKind.editor_failed, "no brush"))
    trajectory = Fakes(edits("a", "b"), broken).run()
    assert without_io(trajectory.usage) == POLICY + EDITOR + POLICY


# The limit of time: each step of the fakes takes POLICY and EDITOR, 3.75 s with the waiting

STEP = POLICY.total + EDITOR.total


@pytest.mark.parametrize(
    ("most", "steps"),
    [(0.01, 1), (STEP, 1), (STEP + 0.01, 2), (2 * STEP, 2), (3 * STEP, 3)],
)
def test_no_step_is_begun_once_the_steps_took_the_limit(most: float, steps: int) -> None:
    fakes = Fakes(edits("a", "b", "c", "d"))
    trajectory = fakes.run(Limits(max_seconds=most))
    assert (trajectory.status, trajectory.stop_reason) == (Status.unfinished, StopReason.time_limit)
    assert len(trajectory.steps) == steps == len(fakes.asked), "the policy isn't asked once more for nothing"
    assert trajectory.result.digest == "oabcd"[: steps + 1], "the image it has is kept"


@pytest.mark.parametrize("most", [None, 4 * STEP + 0.01])
def test_a_record_within_its_time_ends_by_itself(most: float | None) -> None:
    trajectory = Fakes(edits("a", "b", "c", "d")).run(Limits(max_seconds=most))
    assert trajectory.stop_reason is StopReason.policy_stop and len(trajectory.steps) == 4


def test_the_time_of_tries_that_the_judge_refused_counts() -> None:
    """A step is as long as all its tries: here two of the editor and the judge each."""
    most = POLICY.total + 2 * (EDITOR.total + JUDGE.total)
    fakes = Fakes(edits("a", "b"), score=lambda _: -1.0)
    trajectory = fakes.run(Limits(attempts_per_step=2, max_seconds=most))
    assert trajectory.stop_reason is StopReason.time_limit and len(trajectory.steps) == 1


def test_a_resumed_record_ends_at_the_same_step() -> None:
    limits, log = Limits(max_seconds=2 * STEP), MemoryStepLog()
    first = Fakes(edits("a", "b", "c"), edit=failing_at(1, EngineDead("gone")))
    with pytest.raises(EngineDead):
        first.run(limits, log)
    resumed = Fakes(edits("a", "b", "c")).run(limits, log)
    assert resumed.resumed_steps == 1 and len(resumed.steps) == 2
    assert resumed.stop_reason is StopReason.time_limit
    again = Fakes(edits("a", "b", "c"))
    trajectory = again.run(limits, log)
    assert trajectory.stop_reason is StopReason.time_limit and again.asked == []
