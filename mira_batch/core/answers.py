"""What a policy answered: its text, and where it is asked for the tokens that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one answer, as the model drew them."""

    ids: tuple[int, ...] | None
    """In the model's own vocabulary, the token that ends the answer included; None where an endpoint doesn't
    say."""
    logprobs: tuple[float, ...]
    """Of each token the natural logarithm of its probability after all before it: log-softmax over the whole
    vocabulary of the logits as the model gave them, in float32. Neither temperature, top-k and top-p nor the
    tokens that are never said count in it."""


class Answered(str):
    """A model's text together with its tokens. A model may return it in place of a plain text."""

    tokens: Tokens | None
    """None where the model doesn't say."""

    def __new__(cls, text: str = "", tokens: Tokens | None = None) -> Self:
        """
        Args:
            text: what the model wrote.
            tokens: what it is made of.
        """
        self = super().__new__(cls, text)
        self.tokens = tokens
        return self


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """An answer of the policy as it is logged for those who train it."""

    step: int
    """The step that it was asked for, from 0."""
    attempt: int
    """0, or how many answers before it were malformed."""
    kind: str
    """edit, stop or malformed."""
    text: str
    """As the model wrote it, cleaned so that it can be written down."""
    problem: str
    """Why it is malformed; else empty."""
    seed: int
    tokens: tuple[int, ...] | None
    """As in `Tokens`."""
    logprobs: tuple[float, ...]
    """As in `Tokens`, one for each."""
