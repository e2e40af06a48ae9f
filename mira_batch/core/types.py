"""The frozen data that travels between the loop, the models and the store.

Owns the vocabulary: task, frame, edit, step, trajectory and why a record ended. Behaviour lives
elsewhere: the loop in `loop.py`, what a model must offer in `ports.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mira_batch.core.answers import PolicyAnswer
from mira_batch.core.judgement import Judgement
from mira_batch.core.usage import Usage


class Status(StrEnum):
    """How a record came out."""

    ok = "ok"
    """The policy said STOP, or the judge was satisfied; the image is its result."""
    unfinished = "unfinished"
    """A limit or a guard ended the loop before either; the image has the edits made until then."""
    failed = "failed"
    """The loop could not end; the row keeps the best image so far and says what happened."""


class StopReason(StrEnum):
    """Why the loop of a record ended without an error."""

    policy_stop = "policy_stop"
    """The policy said STOP: it sees nothing left to do."""
    judge_satisfied = "judge_satisfied"
    """The judge's score of an accepted image reached `judge.satisfied`."""
    max_steps = "max_steps"
    """`limits.max_steps` edits were made, and the policy asked for one more."""
    new_steps = "new_steps"
    """`limits.new_steps` edits were made after the state that the record began from; nobody was asked whether
    that was all."""
    no_progress = "no_progress"
    """`limits.no_progress` edits in a row left the image as it was."""
    oscillation = "oscillation"
    """The same edit took the same image to the same result a second time: the loop runs in circles."""
    time_limit = "time_limit"
    """The record's steps took `limits.max_seconds_per_record`."""
    laid_down = "laid_down"
    """The edits of its `branch` were carried out, and that asks for nothing more."""


FINISHED = frozenset({StopReason.policy_stop, StopReason.judge_satisfied})
"""By these a record is ok: somebody looked at the image and found the instruction carried out."""
UNFINISHED = frozenset(StopReason) - FINISHED
"""After these nobody has said so: the record is unfinished."""


class RunEnd(StrEnum):
    """Why a run ended although not every record is committed. What is done is kept, and it can go on."""

    interrupted = "interrupted"
    """Ctrl-C, SIGTERM or SIGHUP: a person, a scheduler, or a machine that is reclaimed."""
    deadline = "deadline"
    """`limits.deadline` was reached."""
    too_many_failed = "too_many_failed"
    """More records failed than `limits.max_failed_fraction` allows."""
    max_cost = "max_cost"
    """The run cost `limits.max_cost`."""
    taken_over = "taken_over"
    """Another driver took the run over."""


class ErrorKind(StrEnum):
    """What kind of fault failed a record."""

    image_unreadable = "image_unreadable"
    """The image could not be fetched or decoded, or has a form that can't be edited faithfully."""
    image_too_large = "image_too_large"
    """The image has more bytes or pixels than `input` allows."""
    image_forbidden = "image_forbidden"
    """The image's URI lies outside `input.allow`."""
    state_unusable = "state_unusable"
    """The state that the record is to begin from is not there, or can't be taken as it is."""
    instruction_unclear = "instruction_unclear"
    """The policy cannot understand words of the instruction, or the image has no room for what they ask; the
    message names them."""
    malformed_action = "malformed_action"
    """The policy's answer was neither an edit nor a stop, also when asked again."""
    policy_failed = "policy_failed"
    """The policy raised."""
    editor_failed = "editor_failed"
    """The editor raised."""
    editor_out_of_memory = "editor_out_of_memory"
    """The editor ran out of memory with this record alone in its batch."""
    judge_failed = "judge_failed"
    """The judge raised or gave no score. Never counted as a bad score."""
    judge_refused = "judge_refused"
    """The judge's model refused to look at it, or a filter of its endpoint did. No bad score either."""
    step_timeout = "step_timeout"
    """A model call took longer than its limit, or its process answered nobody for that long."""
    worker_crash = "worker_crash"
    """The worker process died twice at the same step while this record was the only one running."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded image of a trajectory, with the digest of its pixels."""

    pixels: Any
    """The image itself: a `PIL.Image.Image` in mode RGB or RGBA. Never changed in place."""
    digest: str
    """Content hash of mode, size and pixels; see `identity.frame_of`."""
    png: bytes | None = field(default=None, compare=False, repr=False)
    """The same as a PNG of our own writing, once somebody needed it; see `imaging.encode_frame`."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.size


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's files on this node."""

    path: str
    """Directory that holds them."""
    identity: str
    """Names their content: repository and commit, or a digest. The same files have the same identity
    wherever they came from."""


@dataclass(frozen=True, slots=True)
class LaidDown:
    """Edits that a record carries out before anybody is asked for one."""

    edits: tuple[str, ...]
    """In their order; may be empty."""
    first: int
    """Number of the step that the first of them makes."""
    stop: bool
    """Whether the record ends after them, and no policy is asked."""


@dataclass(frozen=True, slots=True)
class EditTask:
    """One record to run: what to edit is fetched separately, since images are large."""

    record_id: str
    """The user's own name for the record. Never used as a path."""
    work_id: str
    """Content hash of all that decides the result; names the record's state."""
    instruction: str
    """The complex instruction: one or several edits as a person writes them."""
    metadata: str = "{}"
    """The record's other columns as a JSON object. Only a judge that is told to looks at them."""
    laid_down: LaidDown | None = None
    """Edits that it begins with; None: its policy names all."""
    given_seed_source: str | None = None
    """What its draws are seeded from in place of its work_id."""

    @property
    def seed_source(self) -> str:
        """What its draws are seeded from."""
        return self.given_seed_source or self.work_id


@dataclass(frozen=True, slots=True)
class Edit:
    """The policy's action: carry out one atomic edit."""

    instruction: str
    thought: str = ""


@dataclass(frozen=True, slots=True)
class StopAction:
    """The policy's action: the image is done."""

    reason: str = ""
    thought: str = ""


@dataclass(frozen=True, slots=True)
class MalformedAction:
    """An answer that is neither an edit nor a stop."""

    problem: str
    """What is wrong with it, in words a policy can act on when it is asked again."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image that was drawn for a step, and what the judge said of it."""

    seed: int
    after: str
    """Its digest."""
    score: float | None
    """The judge's, in [0, 1]; None without a judge."""
    entropy: float | None = None
    """How unsure the judge was, in nats; None where it doesn't say."""
    judgement: Judgement | None = None
    """All that it said; None where that is not kept."""


@dataclass(frozen=True, slots=True)
class Step:
    """One edit of a trajectory, as it is logged."""

    index: int
    """0 for the first edit."""
    thought: str
    instruction: str
    """The atomic edit the policy named."""
    raw_answer: str
    """The policy's text, unparsed."""
    seed: int
    attempt: int
    """Which try of this step gave its image (only a judge asks for a second)."""
    before: str
    """Digest of the image the edit was applied to."""
    after: str
    """Digest of the image it gave."""
    accepted: bool = True
    """False when the judge rolled the step back: the next step starts from `before` again."""
    score: float | None = None
    """The judge's score of the image, in [0, 1]; None without a judge."""
    usage: Usage = field(default_factory=Usage)
    """What it took of the models' and the record's time, and what endpoints charged."""
    candidates: tuple[Candidate, ...] = ()
    """All images that were drawn for it and judged, by attempt; empty without a judge, and in logs of earlier
    releases."""
    answers: tuple[PolicyAnswer, ...] = ()
    """What the policy answered for it, malformed answers included; empty where that is not kept."""


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """A step together with the image it gave."""

    step: Step
    frame: Frame
    rejected: tuple[Frame, ...] = ()
    """Images of candidates that were not taken, each once; empty where they are not kept."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a record failed."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class Trajectory:
    """All that a record's loop did, and how it ended."""

    steps: tuple[LoggedStep, ...]
    result: Frame
    """The final image; of a failed record, the best so far (at worst the original)."""
    stop_reason: StopReason | None
    """None exactly when `failure` is set."""
    failure: Failure | None
    """Why it failed; None where it ended well."""
    usage: Usage
    """What it took in all, steps restored from a log included."""
    final_thought: str = ""
    """The policy's words when it stopped."""
    resumed_steps: int = 0
    """How many of the steps came from the log of an earlier attempt."""
    restored: bool = False
    """Whether `result` is the last image at the size the user expects, rather than that image itself."""
    last_answers: tuple[PolicyAnswer, ...] = ()
    """What the policy answered after the last step: STOP, say. Empty where that is not kept."""

    @property
    def status(self) -> Status:
        """failed where there is a `failure`; else ok or unfinished, by the stop reason."""
        if self.failure:
            return Status.failed
        return Status.ok if self.stop_reason in FINISHED else Status.unfinished


@dataclass(frozen=True, slots=True)
class Keep:
    """What a loop keeps beside its steps."""

    answers: bool = False
    """All answers of the policy, with their tokens."""
    candidates: bool = False
    """All that the judge said of each candidate, and the images of those that were not taken."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a record's loop."""

    max_steps: int = 8
    """Edits that are made at most. After the last the policy is asked once more, whether that was all."""
    malformed_retries: int = 2
    """How often a policy is asked again after a malformed answer."""
    attempts_per_step: int = 1
    """Most seeds tried per step, before a rejected edit is rolled back. Needs a judge."""
    candidates: int = 1
    """Fewest seeds tried per step, of which the judge's best is taken, unless one satisfies it."""
    unsure_above: float | None = None
    """A further seed is tried where the best so far is accepted with an entropy above this, in nats."""
    tolerance: float = 0.0
    """A candidate is accepted when its score is above 0 and at least the current image's less this."""
    satisfied: float | None = None
    """The loop ends when an accepted image scores at least this."""
    no_progress: int | None = 2
    """The loop ends when so many edits in a row left the image as it was; None: never for that."""
    max_seconds: float | None = None
    """No further step is begun once the steps made took so long, waiting included."""
    end_after: int | None = None
    """The loop ends after so many edits, and the policy is not asked whether that was all."""
