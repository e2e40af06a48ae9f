"""THE loop: perceive, reason, act, until STOP (MIRA, arXiv 2511.21087).

Owns the life of one record. It knows nothing of batches, threads, stores or Ray: models are awaited
one request at a time through `Models`, and each step goes into a `StepLog` before the next begins. To
the published loop it adds a step cap, a history, an optional judge that picks and rejects edits
(`acceptance.py`), and two guards against going nowhere (docs/adr/0003).
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from mira_batch.core import identity
from mira_batch.core.acceptance import find_best, is_accepted, wants_another
from mira_batch.core.actions import parse_action
from mira_batch.core.answers import PolicyAnswer, Tokens
from mira_batch.core.errors import RecordError
from mira_batch.core.ports import EditRequest, JudgeRequest, Models, PolicyRequest, StepLog, Timed
from mira_batch.core.text import clean_text
from mira_batch.core.types import (
    Candidate,
    Edit,
    EditTask,
    ErrorKind,
    Failure,
    Frame,
    Keep,
    Limits,
    LoggedStep,
    MalformedAction,
    Step,
    StopAction,
    StopReason,
    Trajectory,
)
from mira_batch.core.usage import Usage

T = TypeVar("T")
_NOTHING_MORE = Keep()


async def run_record(
    task: EditTask, original: Frame, models: Models, log: StepLog, limits: Limits, keep: Keep = _NOTHING_MORE
) -> Trajectory:
    """Run one record to its end, going on from whatever `log` holds of it.

    Never raises for a fault of the record: a `RecordError` from a model ends the trajectory as failed,
    with its steps and best image kept. Other errors (the store, a dead engine) propagate.

    Args:
        task: the record.
        original: its image, decoded.
        models: the models, awaited one request at a time.
        log: the step log of the record's shard.
        limits: what bounds the loop.
        keep: what is kept beside the steps.
    """
    run = _Run(task, original, models, limits, keep)
    for logged in await log.load(task):
        run.take(logged)
    resumed = len(run.steps)
    reason: StopReason | None = None
    failure: Failure | None = None
    try:
        while (reason := run.find_end()) is None:
            action, answer = run.find_laid_down(), ""
            if action is None:
                action, answer = await run.ask()
                if isinstance(action, StopAction):
                    reason, run.final_thought = StopReason.policy_stop, action.thought or action.reason
                    break
                if len(run.steps) >= limits.max_steps:  # only now is it known that the edits are not all
                    reason = StopReason.max_steps
                    break
            logged = await run.carry_out(action, answer)
            written = time.perf_counter()
            run.take(await log.append(task, logged))
            run.usage += Usage.of(io=time.perf_counter() - written)
    except RecordError as error:
        failure = error.failure
    return Trajectory(
        steps=tuple(run.steps),
        result=run.result(),
        stop_reason=reason if failure is None else None,
        failure=failure,
        usage=run.usage + run.pending,
        final_thought=run.final_thought,
        resumed_steps=resumed,
        last_answers=tuple(run.answers),
    )


@dataclass
class _Run:
    """A record while it runs: its steps so far, and what follows from them."""

    task: EditTask
    original: Frame
    models: Models
    limits: Limits
    keep: Keep
    steps: list[LoggedStep] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    pending: Usage = field(default_factory=Usage)
    """What models took since the last whole step."""
    answers: list[PolicyAnswer] = field(default_factory=list)
    """What the policy answered since then, where that is kept."""
    final_thought: str = ""

    @property
    def current(self) -> Frame:
        """The image the next edit starts from."""
        return next((s.frame for s in reversed(self.steps) if s.step.accepted), self.original)

    @property
    def score(self) -> float:
        """The judge's score of `current`; the untouched original counts 0."""
        scores = [s.step.score or 0.0 for s in self.steps if s.step.accepted]
        return scores[-1] if scores else 0.0

    def take(self, logged: LoggedStep) -> None:
        self.steps.append(logged)
        self.usage += logged.step.usage

    async def call(self, role: str, call: Awaitable[Timed[T]]) -> T:
        """A model's answer. Its time and price are noted for the step that it is part of; where it fails, its
        price."""
        try:
            timed = await call
        except RecordError as error:
            self.pending += Usage.paid(role, error.cost)
            raise
        self.pending += timed.usage
        return timed.value

    def find_end(self) -> StopReason | None:
        """Why no further step should be made, from the steps alone (so a resumed record agrees)."""
        steps = [s.step for s in self.steps]
        if self.find_laid_down() is not None:
            return self._find_late()
        if (laid_down := self.task.laid_down) is not None and laid_down.stop:
            return StopReason.laid_down
        satisfied = self.limits.satisfied
        if steps and satisfied is not None and steps[-1].accepted and self.score >= satisfied:
            return StopReason.judge_satisfied
        idle = self.limits.no_progress
        if idle is not None and len(steps) >= idle and all(s.before == s.after for s in steps[-idle:]):
            return StopReason.no_progress
        if _is_circle(steps):
            return StopReason.oscillation
        if (late := self._find_late()) is not None:
            return late
        if self.limits.end_after is not None and len(steps) >= self.limits.end_after:
            return StopReason.new_steps
        return None

    def _find_late(self) -> StopReason | None:
        most = self.limits.max_seconds
        is_late = most is not None and sum(s.step.usage.total for s in self.steps) >= most
        return StopReason.time_limit if is_late else None

    def find_laid_down(self) -> Edit | None:
        """The next of the edits that the record begins with; None where all are made."""
        laid_down = self.task.laid_down
        rest = () if laid_down is None else laid_down.edits[len(self.steps) - laid_down.first :]
        return Edit(rest[0]) if rest else None

    async def ask(self) -> tuple[Edit | StopAction, str]:
        """The policy's next action and its raw text; a malformed answer is asked for again."""
        problem, answer, step = "", "", len(self.steps)
        for attempt in range(self.limits.malformed_retries + 1):
            request = PolicyRequest(
                self.task.record_id,
                self.task.instruction,
                self.original,
                self.current,
                tuple(s.step for s in self.steps),
                identity.seed(self.task.seed_source, "policy", step, attempt),
                attempt,
                problem,
            )
            answer = await self.call("policy", self.models.propose(request))
            action, tokens = parse_action(answer), getattr(answer, "tokens", None)
            answer = clean_text(answer)  # what was parsed is whole; what is kept can be written down
            if self.keep.answers:
                self.answers.append(_note_answer(request, action, answer, tokens))
            if not isinstance(action, MalformedAction):
                return action, answer
            problem = action.problem
        tries = self.limits.malformed_retries + 1
        raise RecordError(
            ErrorKind.malformed_action,
            f"step {step}: {tries} answers in a row were malformed; the last: {problem}: {answer[:200]!r}",
        )

    async def carry_out(self, edit: Edit, answer: str) -> LoggedStep:
        """Make the edit. With a judge, draw seed after seed as long as `wants_another`; take the best."""
        drawn: list[Candidate] = []
        frames: list[Frame] = []
        while not drawn or wants_another(drawn, self.score, self.limits):
            candidate, frame = await self._draw(edit, len(drawn))
            drawn.append(candidate)
            frames.append(frame)
        attempt = find_best(drawn)
        best = drawn[attempt]
        step = Step(
            len(self.steps),
            edit.thought,
            edit.instruction,
            answer,
            best.seed,
            attempt,
            self.current.digest,
            best.after,
            is_accepted(best.score, self.score, self.limits),
            best.score,
            self.pending,
            tuple(drawn) if self.models.score else (),
            tuple(self.answers),
        )
        self.pending, self.answers = Usage(), []
        others = {frame.digest: frame for frame in frames if frame.digest != best.after}
        return LoggedStep(step, frames[attempt], tuple(others.values()) if self.keep.candidates else ())

    async def _draw(self, edit: Edit, attempt: int) -> tuple[Candidate, Frame]:
        """Make the edit with one seed, and have it judged."""
        task, index = self.task, len(self.steps)
        seed = identity.seed(task.seed_source, "editor", index, attempt)
        request = EditRequest(task.record_id, edit.instruction, self.current, self.original, seed, index)
        frame = await self.call("editor", self.models.edit(request))
        if self.models.score is None:
            return Candidate(seed, frame.digest, None), frame
        metadata = json.loads(task.metadata or "{}")
        asked = JudgeRequest(
            task.record_id, task.instruction, self.original, frame, edit.instruction, metadata
        )
        judgement = await self.call("judge", self.models.score(asked))
        entropy = judgement.validity.get("entropy")
        if entropy is None and self.limits.unsure_above is not None:
            raise RecordError(
                ErrorKind.judge_failed,
                "judge.unsure_above needs a judge that says how unsure it is, by `entropy` in its validity, "
                "and this one doesn't; leave it out, or take score_logit",
            )
        said = judgement if self.keep.candidates else None
        return Candidate(seed, frame.digest, judgement.score, entropy, said), frame

    def result(self) -> Frame:
        """The current image, or with a judge the accepted one it liked best; of equals the latest,
        which has most of the instruction done."""
        accepted = [s for s in self.steps if s.step.accepted]
        if self.models.score is None or not accepted:
            return self.current
        return max(reversed(accepted), key=lambda s: s.step.score or 0.0).frame


def _note_answer(
    request: PolicyRequest, action: Edit | StopAction | MalformedAction, text: str, tokens: Tokens | None
) -> PolicyAnswer:
    """An answer as it is logged.

    Raises:
        RecordError: it came without its tokens.
    """
    if tokens is None:
        words = "output.tokens: the policy's answer came without its tokens"
        raise RecordError(ErrorKind.policy_failed, words)
    match action:
        case MalformedAction():
            kind, problem = "malformed", action.problem
        case StopAction():
            kind, problem = "stop", ""
        case Edit():
            kind, problem = "edit", ""
    step = len(request.history)
    return PolicyAnswer(step, request.attempt, kind, text, problem, request.seed, tokens.ids, tokens.logprobs)


def _is_circle(steps: Sequence[Step]) -> bool:
    """Whether the last step repeats an earlier one: same image, same edit, same other result.

    An image that merely comes back is no proof: undoing a wrong edit brings one back on purpose.
    """
    if not steps or steps[-1].before == steps[-1].after:
        return False
    last = (steps[-1].before, steps[-1].instruction, steps[-1].after)
    return any((s.before, s.instruction, s.after) == last for s in steps[:-1])
