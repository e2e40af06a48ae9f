"""What both ways to run a Qwen-VL policy have in common: identity, images, tokens never said, faults row by
row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mira_batch.core.errors import RecordError
from mira_batch.core.identity import fingerprint
from mira_batch.core.prompt import PROMPT_VERSION
from mira_batch.core.thoughts import CutOff
from mira_batch.core.types import ErrorKind, Weights
from mira_batch.models.serving import lay_on_white

T = TypeVar("T")

_WIDEST = 200
"""The processors refuse images with a longer side of more than so many shorter ones."""


def write_identity(made_by: str, config: Any, weights: Weights, adapter: Weights | None) -> str:
    """What decides a policy's answers. Where the weights came from doesn't count, only what they are.
    `made_by` names our code and the versions of the packages that run the model."""
    settings = {key: value for key, value in config.pixels().items() if key not in ("weights", "adapter")}
    tuned = f" adapter={adapter.identity} scale={config.adapter.scale:g}" if adapter else ""
    return f"{made_by} weights={weights.identity}{tuned} {PROMPT_VERSION} settings={fingerprint(settings)}"


def make_opaque(image: Any) -> Any:
    """An image on white, in RGB.

    Raises:
        RecordError: it is too long and narrow for the model.
    """
    short, long = sorted(image.size)
    if long > _WIDEST * short:
        raise RecordError(
            ErrorKind.policy_failed,
            f"the image is {image.size[0]}x{image.size[1]}: the model takes sides of at most {_WIDEST} to 1",
        )
    return lay_on_white(image)


def find_special_tokens(tokenizer: Any, ends: Sequence[int]) -> list[int]:
    """Ids of special tokens that are no part of an answer: all but those that end it."""
    special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted(special - set(ends))


def complete_answer(text: str, in_thought: bool, cut_off: bool) -> str:
    """A model's words as an answer that stands by itself.

    Args:
        text: what the model wrote.
        in_thought: whether the chat template has opened a thought before it.
        cut_off: whether it ended at the token limit.
    """
    whole = f"<think>{text}" if in_thought else text
    return CutOff(whole) if cut_off else whole


def answer_rows(
    rows: Sequence[T | RecordError], answer: Callable[[list[T], list[int]], Sequence[str]]
) -> list[str | Exception]:
    """The texts of all rows that can be asked, in one call; a row that can't has its own error instead.

    `answer` gets those rows, and their places among all.
    """
    answers: list[str | Exception] = [row if isinstance(row, RecordError) else "" for row in rows]
    good = {place: row for place, row in enumerate(rows) if not isinstance(row, RecordError)}
    if good:
        for place, text in zip(good, answer(list(good.values()), list(good)), strict=True):
            answers[place] = text
    return answers
