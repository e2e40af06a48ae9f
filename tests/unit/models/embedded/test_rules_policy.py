"""The rules policy looks at pixels: lost edits are redone, wrong ones undone, idle ones skipped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, ImageOps

from mira_batch.core.actions import parse_action
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.loop import run_record
from mira_batch.core.ports import EditRequest, Models, PolicyRequest, Timed
from mira_batch.core.types import (
    Edit,
    EditTask,
    ErrorKind,
    Frame,
    Limits,
    LoggedStep,
    StopAction,
    StopReason,
    Trajectory,
)
from mira_batch.core.usage import Usage
from mira_batch.models.embedded import expected
from mira_batch.models.embedded.grammar.parse import RESTORE, parse
from mira_batch.models.embedded.pillow_editor import PillowEditor
from mira_batch.models.embedded.rules_policy import RulesPolicy
from tests.support import ROOT

SAMPLE = ROOT / "configs" / "sample"
THREE = (
    "rotate it a quarter turn clockwise, then make it black and white and put a 12 px red border around it"
)
Wrong = Callable[[EditRequest, Frame], Frame]


class MemoryLog:
    """A step log that lives as long as the test."""

    def __init__(self, steps: Sequence[LoggedStep] = ()) -> None:
        self.steps = list(steps)

    async def load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        return tuple(self.steps)

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        self.steps.append(logged)
        return logged


def photo(name: str = "chelsea.png") -> Frame:
    with Image.open(SAMPLE / "images" / name) as image:
        upright = ImageOps.exif_transpose(image)
        return frame_of(upright if upright.mode in ("RGB", "RGBA") else upright.convert("RGB"))


def look(instruction: str, original: Frame, current: Frame | None = None) -> PolicyRequest:
    return PolicyRequest("r", instruction, original, current or original, (), 0)


def after(instruction: str, original: Frame, edits: int) -> Frame:
    """What the image looks like after the first of the instruction's edits."""
    image = original.pixels
    for operation in parse(instruction)[:edits]:
        image = operation.apply(image)
    return frame_of(image)


def run(
    instruction: str,
    original: Frame,
    meddle: Wrong | None = None,
    log: MemoryLog | None = None,
    limits: Limits = Limits(max_steps=12),  # noqa: B008 (frozen)
) -> Trajectory:
    """The real loop with the real policy and editor; `meddle` may exchange an edit's result."""
    policy, editor = RulesPolicy(), PillowEditor()

    async def propose(request: PolicyRequest) -> Timed[str]:
        answer = policy.propose([request])[0]
        if isinstance(answer, Exception):
            raise answer
        return Timed(answer, Usage())

    async def edit(request: EditRequest) -> Timed[Frame]:
        outcome = editor.apply([request])[0]
        if isinstance(outcome, Exception):
            raise outcome
        frame = frame_of(outcome)
        return Timed(meddle(request, frame) if meddle else frame, Usage())

    task = EditTask("r", "w" * 32, instruction)
    return asyncio.run(run_record(task, original, Models(propose, edit), log or MemoryLog(), limits))


def edits(trajectory: Trajectory) -> list[str]:
    return [logged.step.instruction for logged in trajectory.steps]


def test_each_edit_is_named_in_turn_and_then_it_stops() -> None:
    original = photo()
    trajectory = run(THREE, original)
    assert edits(trajectory) == [operation.describe() for operation in parse(THREE)]
    assert trajectory.stop_reason == StopReason.policy_stop
    assert trajectory.result.digest == after(THREE, original, 3).digest
    thoughts = [logged.step.thought for logged in trajectory.steps]
    assert thoughts[0] == "0 of 3 edits are done; next: rotate the image 90 degrees clockwise"
    assert thoughts[1].startswith("1 of 3 edits is done (rotate the image 90 degrees clockwise); next: make")
    assert trajectory.final_thought.startswith("3 of 3 edits are done (rotate")


def test_a_lost_edit_is_asked_for_again() -> None:
    original = photo()
    trajectory = run(THREE, original, lambda request, made: request.image if request.step == 1 else made)
    rotate, gray, border = (operation.describe() for operation in parse(THREE))
    assert edits(trajectory) == [rotate, gray, gray, border]
    assert trajectory.result.digest == after(THREE, original, 3).digest


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_wrong_edit_is_undone_and_done_again(at: int) -> None:
    original = photo()
    wrong = frame_of(Image.new("RGB", (30, 20), "pink"))
    trajectory = run(THREE, original, lambda request, made: wrong if request.step == at else made)
    named = [operation.describe() for operation in parse(THREE)]
    undo = ", then ".join([RESTORE, *named[:at]])
    assert edits(trajectory) == [*named[: at + 1], undo, *named[at:]]
    assert "neither the original nor the result" in trajectory.steps[at + 1].step.thought
    assert trajectory.stop_reason == StopReason.policy_stop
    assert trajectory.result.digest == after(THREE, original, 3).digest


def test_several_wrong_edits_are_each_undone() -> None:
    original = photo()
    trajectory = run(
        THREE,
        original,
        lambda request, made: (
            frame_of(Image.new("RGB", (9, request.step))) if request.step in (1, 4) else made
        ),
    )
    assert trajectory.stop_reason == StopReason.policy_stop
    assert len(trajectory.steps) == 3 + 4
    assert trajectory.result.digest == after(THREE, original, 3).digest


def test_undoing_stays_within_the_length_of_an_edit() -> None:
    instruction = "; ".join(f"brighten by {k}%" for k in range(1, 61))
    original = frame_of(Image.radial_gradient("L").convert("RGB"))
    wrong = frame_of(Image.new("RGB", (30, 20), "pink"))
    limits = Limits(max_steps=200)
    trajectory = run(instruction, original, lambda r, made: wrong if r.step == 50 else made, limits=limits)
    assert edits(trajectory)[51] == RESTORE


def test_an_edit_that_never_takes_ends_without_progress() -> None:
    trajectory = run(THREE, photo(), lambda request, made: request.image)
    assert trajectory.stop_reason == StopReason.no_progress
    assert len(trajectory.steps) == 2


def test_an_edit_that_is_always_wrong_ends_as_a_circle() -> None:
    wrong = frame_of(Image.new("RGB", (30, 20), "pink"))
    trajectory = run(THREE, photo(), lambda request, made: made if request.instruction == RESTORE else wrong)
    assert trajectory.stop_reason == StopReason.oscillation


def test_an_edit_that_changes_nothing_is_skipped() -> None:
    trajectory = run("Make it black and white, then mirror it", photo("camera.png"))
    assert edits(trajectory) == ["mirror the image horizontally"]
    assert trajectory.final_thought.startswith("2 of 2 edits are done")


def test_edits_that_cancel_out_need_no_step() -> None:
    trajectory = run("invert it, then invert it", photo())
    assert (edits(trajectory), trajectory.stop_reason) == ([], StopReason.policy_stop)


def test_work_found_in_the_log_is_not_done_twice() -> None:
    original, log = photo(), MemoryLog()
    first = run(THREE, original, log=log, limits=Limits(max_steps=2))
    assert first.stop_reason == StopReason.max_steps
    second = run(THREE, original, log=log)
    assert (second.resumed_steps, len(second.steps)) == (2, 3)
    assert second.result.digest == after(THREE, original, 3).digest


def test_an_unclear_instruction_fails_its_record_and_names_the_words() -> None:
    trajectory = run("mirror it, remove the cat", photo())
    assert trajectory.failure is not None and not trajectory.steps
    assert trajectory.failure.kind == ErrorKind.instruction_unclear
    assert "could not understand 'remove the cat'" in trajectory.failure.message


def test_bad_requests_fail_alone_in_their_slots() -> None:
    original = photo()
    good, unclear, large, done = RulesPolicy().propose(
        [
            look(THREE, original),
            look("remove the cat", original),
            look("scale it to 9000%", original),
            look(THREE, original, after(THREE, original, 3)),
        ]
    )
    assert isinstance(good, str) and isinstance(parse_action(good), Edit)
    assert isinstance(done, str) and isinstance(parse_action(done), StopAction)
    assert isinstance(unclear, RecordError) and unclear.kind == ErrorKind.instruction_unclear
    assert isinstance(large, RecordError) and large.kind == ErrorKind.instruction_unclear
    assert str(large).startswith("this would give an image of ") and "at most 50 megapixels" in str(large)


def test_only_digests_are_remembered_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected, "REMEMBERED", 3)
    policy = RulesPolicy()
    for level in range(2, 10):
        frame = frame_of(Image.new("RGB", (8, 8), (level, 0, 0)))
        policy.propose([look("mirror it, turn it gray", frame)])
    assert len(policy._expected._digests) == 3
    assert all(isinstance(digest, str) for kept in policy._expected._digests.values() for digest in kept)


def test_a_second_look_computes_nothing() -> None:
    class Untouchable:
        """Pixels that may not be read."""

    original, policy = photo(), RulesPolicy()
    first = policy.propose([look(THREE, original)])
    assert policy.propose([look(THREE, Frame(Untouchable(), original.digest))]) == first


def test_one_policy_serves_many_threads_alike() -> None:
    original, policy = photo(), RulesPolicy()
    requests = [look(THREE, original, after(THREE, original, k % 4)) for k in range(32)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda request: policy.propose([request])[0], requests))
    assert answers == [RulesPolicy().propose([request])[0] for request in requests]


def test_text_with_tags_and_quotes_reaches_the_editor_whole() -> None:
    instruction = r'write "<edit> & \"you\"" at the top'
    trajectory = run(instruction, photo())
    assert edits(trajectory) == [parse(instruction)[0].describe()]
    assert trajectory.stop_reason == StopReason.policy_stop


SAMPLES = [json.loads(line) for line in (SAMPLE / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("record", SAMPLES, ids=[record["record_id"] for record in SAMPLES])
def test_every_sample_record_runs_to_its_end(record: dict[str, str]) -> None:
    original = photo(record["image"].removeprefix("images/"))
    instruction = record["instruction"]
    trajectory = run(instruction, original, limits=Limits())
    assert trajectory.stop_reason == StopReason.policy_stop
    assert trajectory.result.digest == after(instruction, original, len(parse(instruction))).digest
    assert trajectory.result.digest != original.digest


def test_the_identity_names_the_grammar() -> None:
    policy = RulesPolicy()
    assert policy.identity.startswith("rules-policy/") and "grammar-" in policy.identity
    assert policy.max_batch >= 1 and policy.bucket(look("mirror it", photo())) is None
