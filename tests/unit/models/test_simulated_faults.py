"""The simulated models: service time and scripted faults.

Faults with `times` are counted per process, so each test that uses them names records of its own.
"""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from mira_batch.core.identity import frame_of
from mira_batch.core.types import MalformedAction, StopAction
from mira_batch.models.simulated import SimulatedEditor
from tests.support import ROOT
from tests.unit.models.simulated_calls import (
    FRAME,
    a_judge,
    a_policy,
    action,
    an_editor,
    ask,
    edit,
    failures,
    judge,
    score,
)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replaces the standard library's sleep; holds what would have been slept."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


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
