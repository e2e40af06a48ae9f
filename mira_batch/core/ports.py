"""What the loop needs from outside, as Protocols. Implement one to bring your own model.

Models are synchronous and take a batch: they run in a thread of their own, fed by
`models/serving/microbatch.py`. A batch answers in order, one outcome per request. An outcome may be an
exception *instance*: that fails its request alone. Raising fails the whole call; the micro-batcher then
splits the batch to find out which request is to blame.

    identity     what changes the pixels: name, weights' revision, prompt, sampler. Written to every row, and
                 a run that was begun with another one doesn't go on. It does not enter work_id, which is
                 made from the config before any model is loaded.
    max_batch    the most requests one call takes.
    bucket(r)    requests share a batch only if their buckets are equal (the resolution, say).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from mira_batch.core.types import EditTask, Frame, LoggedStep, Step
from mira_batch.core.usage import Usage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """Ask for the next action on one record."""

    record_id: str
    instruction: str
    """The complex instruction, whole."""
    original: Frame
    current: Frame
    history: tuple[Step, ...]
    """Edits so far, oldest first; those with `accepted=False` were rolled back."""
    seed: int
    attempt: int = 0
    """0, or how often this answer was malformed before."""
    problem: str = ""
    """Why the last answer was malformed; empty on the first attempt."""


@dataclass(frozen=True, slots=True)
class EditRequest:
    """Carry out one atomic edit on `image`."""

    record_id: str
    instruction: str
    """The atomic edit."""
    image: Frame
    original: Frame
    seed: int
    step: int


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """Score how well `candidate` fulfils the complex instruction, seen against `original`."""

    record_id: str
    instruction: str
    original: Frame
    candidate: Frame
    edit: str
    """The atomic edit that gave the candidate."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judge's verdict."""

    score: float
    """In [0, 1]; 1 is a faithful and clean result."""
    reason: str = ""


class Policy(Protocol):
    """Names the next atomic edit, or stops. Answers in the format of `core/actions.py`."""

    @property
    def identity(self) -> str: ...
    @property
    def max_batch(self) -> int: ...
    def bucket(self, request: PolicyRequest) -> Hashable: ...
    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]: ...


class Editor(Protocol):
    """Carries out one atomic edit. Returns a `PIL.Image.Image` (RGB or RGBA) per request.

    An editor that works at a size of its own may also have `restore(image, original)`, both PIL images: it
    is called once, with the result of a trajectory, and returns it at the size that the user expects. Between
    the steps images stay as the editor made them, so that nothing is resampled again and again.
    """

    @property
    def identity(self) -> str: ...
    @property
    def max_batch(self) -> int: ...
    def bucket(self, request: EditRequest) -> Hashable: ...
    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]: ...


class Judge(Protocol):
    """Scores candidates while the loop runs."""

    @property
    def identity(self) -> str: ...
    @property
    def max_batch(self) -> int: ...
    def bucket(self, request: JudgeRequest) -> Hashable: ...
    def score(self, requests: Sequence[JudgeRequest]) -> Sequence[Judgement | Exception]: ...


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
    """A policy behind an endpoint: awaited one by one; `models/serving/endpoint.py` runs several at once."""

    @property
    def identity(self) -> str: ...
    async def propose(self, request: PolicyRequest) -> Priced[str]: ...
    async def close(self) -> None: ...


class ServedEditor(Protocol):
    """An editor behind an endpoint. Its value is a `PIL.Image.Image`."""

    @property
    def identity(self) -> str: ...
    async def apply(self, request: EditRequest) -> Priced[object]: ...
    async def close(self) -> None: ...


class StepLog(Protocol):
    """The append-only history of the records of one shard."""

    async def load(self, task: EditTask) -> tuple[LoggedStep, ...]:
        """The whole steps logged so far, in order from step 0; empty for a fresh record."""
        ...

    async def append(self, task: EditTask, logged: LoggedStep) -> LoggedStep:
        """Log a step and return the one that stands.

        A record has one history: where another worker logged this step first, its step is returned
        and ours is forgotten.
        """
        ...


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """A model's outcome with what it took of this record's time, and what an endpoint charged."""

    value: T
    usage: Usage


@dataclass(frozen=True, slots=True)
class Models:
    """The models as the loop calls them: one request at a time, awaited; batching is behind it."""

    propose: Callable[[PolicyRequest], Awaitable[Timed[str]]]
    edit: Callable[[EditRequest], Awaitable[Timed[Frame]]]
    score: Callable[[JudgeRequest], Awaitable[Timed[Judgement]]] | None = None
