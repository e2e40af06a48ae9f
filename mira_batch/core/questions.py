"""What a vision-language model is asked by a judge, and what it answers: in words, or by the probabilities
of single tokens.

A judge's protocol (`models/judges/`) makes questions of a request and a verdict of the answers. A model that
answers them is a backend of it: in the worker (`models/qwen/`) or behind an endpoint (`models/remote/`). It
knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mira_batch.core.ports import Priced
from mira_batch.core.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Question:
    """One turn of a user: text and images. It needs no system text."""

    prompt: Prompt
    """What is shown and told, in order."""
    seed: int
    """For whatever is drawn."""
    choices: tuple[str, ...] = ()
    """Texts of one token each: how likely is each as the first token of the answer? Empty asks for words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to a `Question`."""

    text: str
    """Its words; a `core.thoughts.CutOff` where they are not whole. For a question of choices whatever is
    known of its first token, for messages."""
    logprobs: Mapping[str, float] = field(default_factory=dict)
    """Natural logarithm of the probability of each choice, over the whole vocabulary. An endpoint tells of
    the likeliest tokens alone; a choice that is not among them is left out."""
    unseen: float = 0.0
    """The most probability that all choices left out can have together."""


class VisionLanguageModel(Protocol):
    """Answers questions in the worker. What holds for all models is in the docstring of `core/ports.py`."""

    @property
    def identity(self) -> str:
        """What changes the answers: weights, sampling, sizes."""
        ...

    @property
    def max_batch(self) -> int:
        """The most questions in one call."""
        ...

    def bucket(self, question: Question) -> Hashable:
        """What questions must have in common to share a batch."""
        ...

    def answer(self, questions: Sequence[Question]) -> Sequence[Answer | Exception]:
        """B questions -> B answers in order, each an `Answer` or an exception."""
        ...


class ServedVisionLanguageModel(Protocol):
    """Answers questions behind an endpoint. As `core.ports.ServedPolicy`."""

    @property
    def identity(self) -> str:
        """What changes the answers: endpoint, model, sampling, sizes."""
        ...

    async def answer(self, question: Question) -> Priced[Answer]:
        """One answer. Makes one call, and raises as `core.ports.ServedPolicy.propose`."""
        ...

    async def close(self) -> None:
        """Close the connections. No call is in flight any more."""
        ...
