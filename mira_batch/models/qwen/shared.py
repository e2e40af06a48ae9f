"""What all ways to run a Qwen-VL have in common: identity, images, tokens never said, faults row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mira_batch.core.answers import Answered, Tokens
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import fingerprint
from mira_batch.core.thoughts import CutOff
from mira_batch.core.types import ErrorKind, Weights
from mira_batch.models.serving import lay_on_white

T = TypeVar("T")
A = TypeVar("A")

_WIDEST = 200
"""The processors refuse images with a longer side of more than so many shorter ones."""


def write_identity(
    made_by: str, config: Any, weights: Weights, adapter: Weights | None, form: str = ""
) -> str:
    """What decides a model's answers. Where the weights came from doesn't count, only what they are.

    Args:
        made_by: our code and the versions of the packages that run the model.
        config: its settings.
        weights: its files.
        adapter: those of its LoRA adapter.
        form: by which words it is asked; empty where somebody else says that.
    """
    settings = {key: value for key, value in config.pixels().items() if key not in ("weights", "adapter")}
    tuned = f" adapter={adapter.identity} scale={config.adapter.scale:g}" if adapter else ""
    asked = f" {form}" if form else ""
    return f"{made_by} weights={weights.identity}{tuned}{asked} settings={fingerprint(settings)}"


def make_opaque(image: Any, failed: ErrorKind = ErrorKind.policy_failed) -> Any:
    """An image on white, in RGB.

    Args:
        image: what is to be shown.
        failed: what one that can't be shown makes of the record.

    Raises:
        RecordError: it is too long and narrow for the model.
    """
    short, long = sorted(image.size)
    if long > _WIDEST * short:
        raise RecordError(
            failed,
            f"the image is {image.size[0]}x{image.size[1]}: the model takes sides of at most {_WIDEST} to 1",
        )
    return lay_on_white(image)


def find_special_tokens(tokenizer: Any, ends: Sequence[int]) -> list[int]:
    """Ids of special tokens that are no part of an answer: all but those that end it."""
    special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted(special - set(ends))


def complete_answer(text: str, in_thought: bool, cut_off: bool, tokens: Tokens | None = None) -> str:
    """A model's words as an answer that stands by itself.

    Args:
        text: what the model wrote.
        in_thought: whether the chat template has opened a thought before it.
        cut_off: whether it ended at the token limit.
        tokens: what the model wrote is made of, where that is asked for.
    """
    whole = f"<think>{text}" if in_thought else text
    if cut_off:
        return CutOff(whole, tokens)
    return whole if tokens is None else Answered(whole, tokens)


def answer_rows(
    rows: Sequence[T | RecordError], answer: Callable[[list[T], list[int]], Sequence[A]]
) -> list[A | Exception]:
    """The answers to all rows that can be asked, in one call; a row that can't has its own error instead.

    Args:
        rows: of a batch.
        answer: gets those rows, and their places among all.
    """
    good = {place: row for place, row in enumerate(rows) if not isinstance(row, RecordError)}
    said = iter(answer(list(good.values()), list(good)) if good else ())
    return [row if isinstance(row, RecordError) else next(said) for row in rows]
