"""Demonstrations to samples: each question of the loop with the answer that is right, and why others are
none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mira_batch.config.construct import SamplesConfig, SplitConfig
from mira_batch.construct.demonstration import Demonstration, Fault, Origin, Picture, find_faults
from mira_batch.construct.words import normalise
from mira_batch.core.actions import format_action, parse_action
from mira_batch.core.identity import content_hash
from mira_batch.core.types import Edit, MalformedAction, StopAction

START, CONTINUE, STOP = "start", "continue", "stop"
TRAJECTORY, RECOVERY, HINDSIGHT = "trajectory", "recovery", "hindsight"
STOPPED = "Everything that was asked for is done."
"""The reason of every stop: runs keep the policy's thought, where there is one, and not the reason beside
it."""
IS_WRONG = frozenset({Fault.rejected, Fault.unchanged, Fault.undone, Fault.worse})
"""After these a right step is a recovery."""
Event = tuple[str, dict[str, Any] | None]
"""What became of a question: "sample" and its row, or why there is none."""


@dataclass(frozen=True, slots=True)
class _State:
    """What the policy is shown."""

    current: Picture
    history: Sequence[dict[str, Any]]
    step: int


def cut_samples(
    demonstration: Demonstration, config: SamplesConfig, origin: str = TRAJECTORY
) -> Iterator[Event]:
    """The questions of a trajectory, one for each step and one at its end, and what becomes of each.

    Args:
        demonstration: the trajectory.
        config: which of its steps count as wrong, and whether recoveries are wanted.
        origin: of its samples, but for recoveries.

    Yields:
        ("sample", row of schema `SAMPLES` without its split), or (reason, None).
    """
    faults = find_faults(demonstration, config.worse)
    current: Picture | None = demonstration.original
    history: list[dict[str, Any]] = []
    wrong = False
    for index, (deed, fault) in enumerate(zip(demonstration.deeds, faults, strict=True)):
        if fault is not None:
            yield fault.value, None
        elif current is None:
            yield "no_image", None
        elif wrong and not config.recovery:
            yield "recovery_off", None
        else:
            action = Edit(deed.instruction.strip(), deed.thought)
            state = _State(current, tuple(history), index)
            yield _make(demonstration, state, action, RECOVERY if wrong else origin)
        wrong = fault in IS_WRONG
        history.append({"instruction": deed.instruction, "accepted": deed.accepted})
        if deed.accepted and (current is None or deed.after != current.digest):
            current = deed.picture
    yield _end(demonstration, faults, current, history, origin)


def _end(
    demonstration: Demonstration,
    faults: Sequence[Fault | None],
    current: Picture | None,
    history: Sequence[dict[str, Any]],
    origin: str,
) -> Event:
    """What becomes of the question at the end, whether that was all."""
    last = next(
        (f for f, d in zip(reversed(faults), reversed(demonstration.deeds), strict=True) if d.accepted), None
    )
    if not demonstration.stopped:
        return "unfinished", None
    if last in (Fault.not_in_result, Fault.worse):  # it stopped at an image that is not its result
        return "stop_elsewhere", None
    if current is None:
        return "no_image", None
    action = StopAction(STOPPED, demonstration.final_thought)
    return _make(demonstration, _State(current, tuple(history), len(demonstration.deeds)), action, origin)


def _make(demonstration: Demonstration, state: _State, action: Edit | StopAction, origin: str) -> Event:
    answer = format_action(action)
    read = parse_action(answer)
    edit = action.instruction if isinstance(action, Edit) else None
    if isinstance(read, MalformedAction) or edit != (read.instruction if isinstance(read, Edit) else None):
        return "no_answer", None  # the loop itself would not take it: a turn that asks for nothing, say
    original, current = demonstration.original, state.current
    is_original = current.digest == original.digest
    kind = STOP if edit is None else START if is_original and not state.history else CONTINUE
    source: Origin = demonstration.origin
    return "sample", {
        "sample_id": name_sample(demonstration.instruction, original, current, state.history, edit),
        "kind": kind,
        "origin": origin,
        "instruction": demonstration.instruction,
        "original": {"bytes": original.data, "path": None},
        "current": None if is_original else {"bytes": current.data, "path": None},
        "history": list(state.history),
        "answer": answer,
        "thought": action.thought or None,
        "edit": edit,
        "source_digest": original.digest,
        "current_digest": current.digest,
        "score": demonstration.score,
        "dataset": source.dataset,
        "licence": source.licence,
        "record_id": source.record_id,
        "run": source.run,
        "work_id": source.work_id,
        "step": state.step,
    }


def name_sample(
    instruction: str,
    original: Picture,
    current: Picture,
    history: Sequence[dict[str, Any]],
    edit: str | None,
) -> str:
    """The name of a sample: BLAKE2b, 16 bytes in hex, of the digests of both images' pixels, the instruction,
    the history (each edit, and whether it stood), and the edit or nothing for a stop; texts normalised by
    `words.normalise`. What was thought is no part of it: of samples that differ in that alone one is kept."""
    past = [part for step in history for part in (normalise(step["instruction"]), "01"[step["accepted"]])]
    action = ("stop",) if edit is None else ("edit", normalise(edit))
    head = (original.digest, current.digest, normalise(instruction), str(len(history)))
    return content_hash(*head, *past, *action)


def choose_split(source_digest: str, config: SplitConfig) -> str:
    """train or val: by a hash of the source image's pixels, so that all samples of an image are in the same.

    Args:
        source_digest: of its pixels.
        config: the share of val, and the seed.
    """
    drawn = int(content_hash("split", str(config.seed), source_digest, size=8), 16) / 2**64
    return "val" if drawn < config.val_fraction else "train"
