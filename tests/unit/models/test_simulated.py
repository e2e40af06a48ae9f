"""The simulated models: step counts, marks, scores, service time and scripted faults.

Faults with `times` are counted per process, so each test that uses them names records of its own.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from PIL import Image

from mira_batch.config.models.simulated import (
    SimulatedEditorConfig,
    SimulatedJudgeConfig,
    SimulatedPolicyConfig,
    StepCounts,
)
from mira_batch.core.actions import parse_action
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import Edit, MalformedAction, Step, StopAction
from mira_batch.models.simulated import (
    SimulatedEditor,
    SimulatedJudge,
    SimulatedPolicy,
    paint_mark,
    step_count,
)
from tests.support import ROOT

FRAME = frame_of(Image.new("RGB", (16, 12), (40, 50, 60)))


def a_policy(**settings: Any) -> SimulatedPolicy:
    return SimulatedPolicy(SimulatedPolicyConfig.model_validate({"type": "simulated"} | settings))


def an_editor(*faults: dict[str, Any], **settings: Any) -> SimulatedEditor:
    config = {"type": "simulated", "faults": faults} | settings
    return SimulatedEditor(SimulatedEditorConfig.model_validate(config))


def a_judge(**settings: Any) -> SimulatedJudge:
    return SimulatedJudge(SimulatedJudgeConfig.model_validate({"type": "simulated"} | settings))


def ask(record: str = "r", accepted: tuple[bool, ...] = ()) -> PolicyRequest:
    history = tuple(Step(i, "", "", "", 0, 0, "a", "b", accepted=one) for i, one in enumerate(accepted))
    return PolicyRequest(record, "make it nicer", FRAME, FRAME, history, seed=1)


def edit(record: str = "r", step: int = 0, seed: int = 1) -> EditRequest:
    return EditRequest(record, "simulated edit 1 of 2", FRAME, FRAME, seed, step)


def judge(record: str = "r", candidate: Any = FRAME) -> JudgeRequest:
    return JudgeRequest(record, "make it nicer", FRAME, candidate, "simulated edit 1 of 2")


def action(policy: SimulatedPolicy, request: PolicyRequest) -> Edit | StopAction | MalformedAction:
    (answer,) = policy.propose([request])
    assert isinstance(answer, str)
    return parse_action(answer)


def score(model: SimulatedJudge, request: JudgeRequest) -> float:
    (judgement,) = model.score([request])
    assert isinstance(judgement, Judgement)
    return judgement.score


def failures(answers: Any) -> list[bool]:
    return [isinstance(answer, RuntimeError) for answer in answers]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replaces the standard library's sleep; holds what would have been slept."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


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


# Time


def test_a_call_takes_its_service_time_once(slept: list[float]) -> None:
    editor = an_editor(service={"seconds": 2, "per_item": 0.25, "load": 7})
    assert slept == [7]
    editor.apply([edit()] * 3)
    editor.apply([edit()])
    assert slept == [7, 2.75, 2.25]


def test_without_a_service_time_nothing_is_slept(slept: list[float]) -> None:
    a_policy().propose([ask()] * 2)
    a_judge().score([judge()])
    assert slept == []


def test_a_hang_holds_up_the_whole_call_and_then_answers(slept: list[float]) -> None:
    editor = an_editor({"records": "slow", "does": "hang", "hang_seconds": 50}, service={"seconds": 1})
    answers = editor.apply([edit("r"), edit("slow"), edit("slow")])
    assert slept == [50, 1]
    assert failures(answers) == [False] * 3


# Faults


def test_a_raise_fails_its_request_alone() -> None:
    fault = {"records": "bad-*", "does": "raise"}
    editor = an_editor(fault)
    answers = editor.apply([edit("r"), edit("bad-1", step=3), edit("bad-2")])
    assert failures(answers) == [False, True, True]
    assert str(answers[1]) == "scripted failure of bad-1 at step 3"
    assert failures(a_policy(faults=[fault]).propose([ask("bad-1"), ask()])) == [True, False]
    assert failures(a_judge(faults=[fault]).score([judge("bad-1"), judge()])) == [True, False]


def test_a_fault_may_name_its_step() -> None:
    fault = {"records": "*", "does": "raise", "step": 1}
    assert failures(an_editor(fault).apply([edit(step=n) for n in range(3)])) == [False, True, False]
    histories = [(), (False,), (True, True)]
    answers = a_policy(faults=[fault]).propose([ask(accepted=history) for history in histories])
    assert failures(answers) == [False, True, False]


def test_malformed_is_an_answer_of_the_policy_and_an_error_of_the_others() -> None:
    fault = {"records": "*", "does": "malformed"}
    assert isinstance(action(a_policy(faults=[fault]), ask()), MalformedAction)
    assert failures(an_editor(fault).apply([edit()])) == [True]
    assert failures(a_judge(faults=[fault]).score([judge()])) == [True]


def test_nothing_is_done_by_each_in_its_own_way() -> None:
    fault = {"records": "*", "does": "nothing"}
    assert isinstance(action(a_policy(faults=[fault], steps={"exact": {"*": 5}}), ask()), StopAction)
    (image,) = an_editor(fault).apply([edit()])
    assert frame_of(image).digest == FRAME.digest
    assert score(a_judge(faults=[fault], low=0.125), judge()) == 0.125


def test_out_of_memory_fails_the_whole_call_above_its_batch() -> None:
    editor = an_editor({"records": "big", "does": "out_of_memory", "above_batch": 2})
    with pytest.raises(MemoryError):
        editor.apply([edit("r"), edit("big"), edit("r")])
    assert failures(editor.apply([edit("r"), edit("big")])) == [False, False]
    assert failures(editor.apply([edit("r")] * 3)) == [False] * 3


def test_the_first_fault_that_matches_happens() -> None:
    editor = an_editor({"records": "a*", "does": "nothing"}, {"records": "*", "does": "raise"})
    assert failures(editor.apply([edit("ab"), edit("b")])) == [False, True]


def test_times_count_requests_of_all_replicas_in_the_process() -> None:
    fault = {"records": "times-a-*", "does": "raise", "times": 3}
    first, second = an_editor(fault), an_editor(fault)
    assert failures(first.apply([edit("times-a-1"), edit("times-a-2")])) == [True, True]
    assert failures(second.apply([edit("times-a-1"), edit("times-a-1")])) == [True, False]
    assert failures(first.apply([edit("times-a-1")])) == [False]
    assert failures(a_policy(faults=[fault]).propose([ask("times-a-1")])) == [True]  # counted by itself


def test_a_used_up_fault_makes_room_for_the_next() -> None:
    once = {"records": "times-b", "does": "raise", "times": 1}
    editor = an_editor(once, {"records": "times-b", "does": "nothing"})
    answers = editor.apply([edit("times-b"), edit("times-b")])
    assert failures(answers) == [True, False]
    assert frame_of(answers[1]).digest == FRAME.digest


def test_a_hang_that_comes_due_within_a_call_waits_for_the_next(slept: list[float]) -> None:
    once = {"records": "times-e", "does": "raise", "times": 1}
    editor = an_editor(once, {"records": "times-e", "does": "hang", "hang_seconds": 9})
    assert failures(editor.apply([edit("times-e"), edit("times-e")])) == [True, False]
    assert slept == []
    assert failures(editor.apply([edit("times-e")])) == [False]
    assert slept == [9]


def test_a_call_that_raises_uses_up_no_fault_of_a_single_request() -> None:
    editor = an_editor(
        {"records": "times-c", "does": "raise", "times": 1},
        {"records": "times-big", "does": "out_of_memory", "times": 1},
    )
    batch = [edit("times-c"), edit("times-big"), edit("times-big")]
    with pytest.raises(MemoryError):
        editor.apply(batch)
    assert failures(editor.apply(batch)) == [True, False, False]


def test_times_hold_among_threads() -> None:
    editors = [an_editor({"records": "times-d", "does": "raise", "times": 50}) for _ in range(8)]
    failed: list[bool] = []

    def work(editor: SimulatedEditor) -> None:
        for _ in range(25):
            failed.extend(failures(editor.apply([edit("times-d")])))

    threads = [threading.Thread(target=work, args=(editor,)) for editor in editors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(failed), sum(failed)) == (200, 50)


def test_exit_ends_the_process_at_once() -> None:
    code = (
        "from mira_batch.config.models.simulated import SimulatedPolicyConfig\n"
        "from mira_batch.models.simulated import SimulatedPolicy\n"
        "from mira_batch.core.ports import PolicyRequest\n"
        "fault = {'records': 'r', 'does': 'exit'}\n"
        "policy = SimulatedPolicy(SimulatedPolicyConfig(type='simulated', faults=[fault]))\n"
        "try:\n"
        "    policy.propose([PolicyRequest('r', '', None, None, (), 0)])\n"
        "finally:\n"
        "    print('still here')\n"
    )
    there = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (there.returncode, there.stdout, there.stderr) == (1, "", "")


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
