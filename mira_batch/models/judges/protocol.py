"""What every protocol of judging is: questions made of a request, and a verdict of the answers.

A protocol calls no model. So the same one is asked in the worker and behind an endpoint, and its arithmetic
is tested by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from mira_batch.config.models.judges import JudgeSamplingConfig
from mira_batch.core.identity import content_hash, frame_of, seed
from mira_batch.core.ports import JudgeRequest
from mira_batch.core.prompt import escape_special_tokens, quote
from mira_batch.core.questions import Answer, Question
from mira_batch.core.types import Frame
from mira_batch.models.serving import lay_on_white

Q = TypeVar("Q", contravariant=True)
R = TypeVar("R", covariant=True)

GREEDY = JudgeSamplingConfig(temperature=0.0, max_tokens=1024)
"""How answers are drawn where a protocol doesn't say: the likeliest token each time."""


class JudgeProtocol(Protocol[Q, R]):
    """Makes questions of a request, and a verdict of the answers."""

    name: str
    """Name, version and every setting by which two scores don't compare: the digest of the prompts, the
    resize rule, passes, averaging. Written to each verdict."""
    sampling: JudgeSamplingConfig
    """How answers are drawn, unless the backend's config says otherwise."""
    choices: tuple[str, ...]
    """What its questions are a choice of; empty where they ask for words."""

    def ask(self, request: Q) -> Sequence[Question]:
        """The questions of one request, in the order in which `read` gets their answers.

        Raises:
            RecordError: this record can't be asked about.
        """
        ...

    def read(self, request: Q, answers: Sequence[Answer]) -> R:
        """The verdict.

        Raises:
            Unreadable: an answer doesn't hold what was asked for.
            RecordError: the answers add up to no verdict.
        """
        ...


def draw_seed(request: JudgeRequest) -> int:
    """The seed of a request's questions: the same instruction and images are asked about alike, but for
    another draw.

    Args:
        request: what is judged.
    """
    shown = content_hash(request.instruction, request.original.digest, request.candidate.digest)
    return seed(shown, "judge", 0, request.draw)


def show_candidate(request: JudgeRequest, resize: str) -> Frame:
    """The candidate as it is shown.

    Args:
        request: what is judged.
        resize: to_source gives it the size of the original, by PIL's bicubic filter; none leaves it.
    """
    candidate, size = request.candidate, request.original.size
    if resize == "none" or candidate.size == size:
        return candidate
    from PIL.Image import Resampling

    return frame_of(lay_on_white(candidate.pixels).resize(size, Resampling.BICUBIC))


def fill(template: str, texts: Mapping[str, str], ours: bool) -> str:
    """A prompt with a user's texts in it. All go in at once, so that none is taken for a place of another.

    Args:
        template: with placeholders where texts go.
        texts: by placeholder, untrusted.
        ours: whether the words are our own: then a text can't close a tag. In a published prompt it stands as
            it is, but for the special tokens of models.
    """
    shown = {place: quote(text) if ours else escape_special_tokens(text) for place, text in texts.items()}
    return re.sub("|".join(map(re.escape, shown)), lambda found: shown[found[0]], template)


def name_prompts(protocol: str, digest: str | None) -> str:
    """How a protocol is called: by its own name with the user's copy of its file, else as our form of it.

    Args:
        protocol: its own name.
        digest: of the user's copy; None where the words are ours.
    """
    return f"{protocol}-form/1" if digest is None else f"{protocol}/{digest}"
