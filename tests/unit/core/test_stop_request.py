"""A stop request that is asked for from several places at once."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd


def test_the_first_reason_stands() -> None:
    stop = StopRequest()
    assert (stop.asked, stop.end, stop.words) == (False, None, "")
    stop.ask(RunEnd.deadline, "it is late")
    stop.ask(RunEnd.interrupted, "Ctrl-C")
    assert (stop.asked, stop.end, stop.words) == (True, RunEnd.deadline, "it is late")


@pytest.mark.parametrize("line", range(1, 5))
def test_a_signal_in_the_middle_of_asking_mixes_nothing_up(line: int) -> None:
    """Another asks just before this line of `ask` runs, as a signal handler or a thread may."""
    stop, seen = StopRequest(), 0

    def watch(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == line:
                sys.settrace(None)
                stop.ask(RunEnd.interrupted, "Ctrl-C")
        return watch

    before = sys.gettrace()
    sys.settrace(lambda frame, event, arg: watch if frame.f_code is StopRequest.ask.__code__ else None)
    try:
        stop.ask(RunEnd.deadline, "it is late")
    finally:
        sys.settrace(before)
    assert (stop.end, stop.words) in [(RunEnd.interrupted, "Ctrl-C"), (RunEnd.deadline, "it is late")]


def test_a_part_has_reasons_of_its_own_and_those_of_the_whole() -> None:
    """A run inside a training: its own limits end it alone, and a signal ends both."""
    whole = StopRequest()
    part, next_part = whole.nest(), whole.nest()
    part.ask(RunEnd.max_cost, "it has cost $2")
    assert (part.asked, part.end, part.words) == (True, RunEnd.max_cost, "it has cost $2")
    assert not whole.asked and not next_part.asked
    with next_part.heeding():
        assert whole.heeded and next_part.heeded and not part.heeded
        whole.interrupt("Ctrl-C")
    assert not whole.heeded
    assert (next_part.end, next_part.words) == (RunEnd.interrupted, "Ctrl-C")
    assert part.end == RunEnd.max_cost, "the first reason stands"
