"""What the loop needs from outside, as Protocols. Implement one to bring your own model.

Models are synchronous and take a batch. A `Policy`, `Editor` or `Judge` needs no base class, but this:

    identity     what changes the answers: name, weights' revision, prompt, sampler. Written to every row, and
                 a run that was begun with another one doesn't go on. It does not enter work_id, which is
                 made from the config before any model is loaded.
    max_batch    the most requests one call takes.
    bucket(r)    requests share a batch only if their buckets are equal (the resolution, say). Called on the
                 event loop for each request, so it must be quick.
    propose, apply or score
                 a batch in, one outcome per request out, in order.

**Batches.** A call gets 1 to `max_batch` requests of one bucket. An outcome may be an exception *instance*:
that fails its request alone. Raising fails the whole call; the micro-batcher (`models/serving/microbatch.py`)
then splits the batch to find out which request is to blame. `MemoryError`, or torch's own error for it, makes
later batches of that bucket smaller. A `RecordError` is kept as it is; any other error becomes the role's
(`policy_failed`, say) with its text.

**Threads.** Each copy of a model has a thread of its own, and no other calls it there; `bucket` alone is
called from another. With `replicas` or `devices` there are several copies, each built for itself.

**Randomness.** Draw from a request's `seed` only, with one generator per request. Then an answer depends
neither on its neighbours in the batch nor on whether the run was interrupted.

Models behind an endpoint (`ServedPolicy`, `ServedEditor`, `ServedJudge`) are awaited one request at a time,
many at once, on one event loop. They make no retries of their own: `models/serving/endpoint.py` does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from mira_batch.core.judgement import Axis as Axis
from mira_batch.core.judgement import Judgement
from mira_batch.core.types import EditTask, Frame, LoggedStep, Step
from mira_batch.core.usage import Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """Ask for the next action on one record.

    Images are read-only: whoever draws on their pixels draws on a copy.
    """

    record_id: str
    """The user's own name for the record, for messages. An answer must not depend on it."""
    instruction: str
    """The complex instruction, whole, as the user wrote it: untrusted text."""
    original: Frame
    """The image as it was given."""
    current: Frame
    """The image the next edit will start from; `original` itself before the first one."""
    history: tuple[Step, ...]
    """Edits so far, oldest first; those with `accepted=False` were rolled back."""
    seed: int
    """For whatever is drawn: 63 bits, a function of the record, the step and the attempt."""
    attempt: int = 0
    """0, or how often this answer was malformed before."""
    problem: str = ""
    """Why the last answer was malformed; empty on the first attempt."""


@dataclass(frozen=True, slots=True)
class EditRequest:
    """Carry out one atomic edit on `image`. Images are read-only, as in `PolicyRequest`."""

    record_id: str
    instruction: str
    """The atomic edit, in the policy's words."""
    image: Frame
    """What to edit: `original`, or what an earlier edit of this editor gave."""
    original: Frame
    """The image as it was given: it decides the size of the whole trajectory, say."""
    seed: int
    """For whatever is drawn: 63 bits, a function of the record, the step and the attempt."""
    step: int
    """Which edit of the trajectory, from 0."""


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """Score how well `candidate` fulfils the complex instruction, seen against `original`.

    Images are read-only, as in `PolicyRequest`.
    """

    record_id: str
    instruction: str
    """The complex instruction, whole, as the user wrote it: untrusted text."""
    original: Frame
    candidate: Frame
    """The image to score. In the loop it may have a part of the edits only."""
    edit: str
    """The atomic edit that gave the candidate."""
    metadata: Mapping[str, object] = field(default_factory=dict)
    """The record's other columns; a judge that is told to finds the kind of its task there."""
    draw: int = 0
    """Which asking of the same question, from 0. Whoever draws must draw each anew: an evaluation asks some
    again, and an answer that was drawn alike would say nothing of how far the judge can be relied on."""


class Policy(Protocol):
    """Names the next atomic edit, or stops. What holds for all models is in the module's docstring.

    One that is asked in words may say which, as `prompt_version`, a text. One that can tell the tokens of its
    answers has `log_tokens`, False until it is set: from then on each answer comes with them.
    """

    @property
    def identity(self) -> str:
        """What changes the answers; not empty, and the same for every copy of the model."""
        ...

    @property
    def max_batch(self) -> int:
        """The most requests in one call, 1 or more. The config's own `max_batch` goes before it."""
        ...

    def bucket(self, request: PolicyRequest) -> Hashable:
        """What requests must have in common to share a batch; None where any may."""
        ...

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        """B requests -> B answers in order, each a text in the format of `core/actions.py` or an exception;
        of one that reached its token limit a `core.thoughts.CutOff`. A text in any other form is malformed:
        the loop asks again and says why, in `problem`. Once `log_tokens` is set, each is a
        `core.answers.Answered`.
        """
        ...


class Editor(Protocol):
    """Carries out one atomic edit. What holds for all models is in the module's docstring.

    An editor that works at a size of its own may also have `restore(image, original)`, both PIL images:
    called once, from any thread, it returns the result of a trajectory at the size that the user expects.
    Between the steps images stay as the editor made them: nothing is resampled again and again.
    `source_type`, one of IPTC's names or None, says how what it edited is marked; without it: generative.
    """

    @property
    def identity(self) -> str:
        """What changes the pixels; not empty, and the same for every copy of the model."""
        ...

    @property
    def max_batch(self) -> int:
        """The most requests in one call, 1 or more. The config's own `max_batch` goes before it."""
        ...

    def bucket(self, request: EditRequest) -> Hashable:
        """What requests must have in common to share a batch: the size of the image, say."""
        ...

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        """B requests -> B images in order, each a `PIL.Image.Image` or an exception.

        RGB or RGBA; other modes are converted. The image of the request itself means that nothing changed.
        """
        ...


class Judge(Protocol):
    """Scores candidates. What holds for all models is in the module's docstring.

    A judge's fault fails the record (`judge_failed`) and is never a low score: it returns an exception.
    """

    @property
    def identity(self) -> str:
        """What changes the scores; not empty, and the same for every copy of the model."""
        ...

    @property
    def max_batch(self) -> int:
        """The most requests in one call, 1 or more. The config's own `max_batch` goes before it."""
        ...

    def bucket(self, request: JudgeRequest) -> Hashable:
        """What requests must have in common to share a batch; None where any may."""
        ...

    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]:
        """B requests -> B judgements in order, each a `Judgement` (or any object with a `score`) or an
        exception."""
        ...


@dataclass(frozen=True, slots=True)
class Priced(Generic[T]):
    """What one call of an endpoint was answered, and what it was charged.

    An answer that is of no use raises, and what it was charged travels as `cost` of the error. Unknown, and
    counted nowhere, is what an endpoint charges for a call whose answer never came whole: one that timed out
    or whose connection broke.
    """

    value: T
    cost: float = 0.0
    """US dollars of this call alone; those of tries before it are added by `models/serving/endpoint.py`."""


class ServedPolicy(Protocol):
    """A policy behind an endpoint. Built, awaited and closed on one event loop, with many calls at once."""

    @property
    def identity(self) -> str:
        """What changes the answers, as far as the endpoint's name and settings tell."""
        ...

    async def propose(self, request: PolicyRequest) -> Priced[str]:
        """The text of one answer, in the format of `core/actions.py`. Makes one call, without retries.

        Raises:
            EndpointFault: the call failed; its meaning decides what follows (`models/serving/faults.py`).
            RecordError: the endpoint refuses this request, or its answer is of no use.
        """
        ...

    async def close(self) -> None:
        """Close the connections. No call is in flight any more."""
        ...


class ServedEditor(Protocol):
    """An editor behind an endpoint. As `ServedPolicy`; it may have what an `Editor` may."""

    @property
    def identity(self) -> str:
        """What changes the pixels: endpoint, model and settings."""
        ...

    async def apply(self, request: EditRequest) -> Priced[object]:
        """One edited image, a `PIL.Image.Image`. Makes one call, and raises as `ServedPolicy.propose`."""
        ...

    async def close(self) -> None:
        """Close the connections. No call is in flight any more."""
        ...


class ServedJudge(Protocol):
    """A judge behind an endpoint. As `ServedPolicy`."""

    @property
    def identity(self) -> str:
        """What changes the score: endpoint, model, settings and prompt."""
        ...

    async def score(self, request: JudgeRequest) -> Priced[Judgement]:
        """One judgement. Makes one call, and raises as `ServedPolicy.propose`; an answer that holds no score
        is a `RecordError` of kind judge_failed."""
        ...

    async def close(self) -> None:
        """Close the connections. No call is in flight any more."""
        ...


class StepLog(Protocol):
    """The append-only history of the records of one shard. Awaited on the event loop, for many records at
    once, but for one record one call after another.

    Raises:
        StoreError: the store failed beyond its retries; it ends the run, to be resumed.
    """

    async def load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        """The whole steps logged so far, in order from step 0; empty for a fresh record."""
        ...

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        """Log a step and return the one that stands. It is durable when this returns.

        A record has one history: where another worker logged this step first, its step is returned
        and ours is forgotten.
        """
        ...


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """A model's outcome with what it took of this record's time, and what an endpoint charged."""

    value: T
    usage: Usage
    """Seconds under the role's name (this record's share of the call) and `waiting`; US dollars as `cost`."""


@dataclass(frozen=True, slots=True)
class Models:
    """The models as the loop calls them: one request at a time, awaited; batching is behind it.

    Each raises `RecordError` where the record is to fail, and any other error where the run or the process
    can't go on.
    """

    propose: Callable[[PolicyRequest], Awaitable[Timed[str]]]
    """The policy's answer as text; the loop parses it."""
    edit: Callable[[EditRequest], Awaitable[Timed[Frame]]]
    """The edited image, in RGB or RGBA, with its digest."""
    score: Callable[[JudgeRequest], Awaitable[Timed[Judgement]]] | None = None
    """The judge's verdict; None without a judge: then every edit is accepted."""
