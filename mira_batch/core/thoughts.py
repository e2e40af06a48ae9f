"""Where a model's thoughts end and its answer begins.

Models think aloud before they answer: between tags of their own, or in a thought that the chat template has
opened already, so that only its end is in the text. What a thought weighs and drops must never be taken for
the answer, and neither what is left of an answer that was cut off. Policies (`actions.py`) and judges
(`judge_prompt.py`) are read alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mira_batch.core.answers import Answered

THOUGHT = "<think/>"
"""Stands in `Aloud.answer` where a thought stood."""

_NAMES = (
    r"(?:(?:ant)?think|thought|reason|reflect|scratchpad|deliberat|ponder|consider|analys)[\w-]*|"
    r"plan|planning|draft|cot|chain_of_thought|(?:inner_|internal_)?monologue"
)
_TAG = re.compile(
    # Full-width brackets too, and those of Kimi-VL (◁think▷) and Magistral ([THINK]). Nothing here goes back
    # over what it has read: a model caught in repetition fills a long answer with beginnings of tags.
    rf"[<＜◁]\s*+(?P<closes>/?)\s*+(?:\w+:)?(?:{_NAMES})(?=[\s/>＞▷])(?P<more>[^<>＜＞◁▷]*+)[>＞▷]"
    r"|\[(?P<closes_too>/?)think\]",
    re.IGNORECASE | re.ASCII,
)


class CutOff(Answered):
    """A model's text that ended at its token limit, not by itself: whatever it says, it is no answer.

    A model returns it in place of a plain text.
    """


@dataclass(frozen=True, slots=True)
class Aloud:
    """A model's text, taken apart."""

    thoughts: tuple[str, ...]
    """What stands inside thoughts, in order, tags in it included."""
    answer: str
    """All the rest, with `THOUGHT` in place of each thought."""
    unclosed: bool
    """Whether a thought is opened that never ends: then nothing after it is an answer."""


def cut_thoughts(text: str) -> Aloud:
    """Take a text apart into thoughts and answer.

    All that stands before the end of a thought which the text doesn't begin is that thought. Thoughts may lie
    in each other, whatever their tags are called; an outer one ends when each inner one has.

    Args:
        text: what a model wrote, of any form.
    """
    thoughts: list[slice] = []
    rest: list[str] = []
    depth = begin = end = 0
    for tag in _TAG.finditer(text):
        if not _closes(tag):
            if (tag["more"] or "").rstrip().endswith("/"):
                continue  # an empty one, `<think/>`
            if depth == 0:
                rest.append(text[end : tag.start()])
                begin = tag.end()
            depth += 1
        elif depth > 1:
            depth -= 1
        else:
            if depth == 0:  # the chat template has opened it
                thoughts, rest, begin = [], [], 0
            thoughts.append(slice(begin, tag.start()))
            rest.append(THOUGHT)
            depth, end = 0, tag.end()
    if depth == 0:
        rest.append(text[end:])
    return Aloud(tuple(text[thought] for thought in thoughts), "".join(rest), depth > 0)


def ends_in_thought(prompt: str) -> bool:
    """Whether a prompt ends with a thought just opened, so that what the model writes begins inside it.

    Args:
        prompt: what a model is given, as its chat template writes it.
    """
    tags = list(_TAG.finditer(prompt))
    if not tags or prompt[tags[-1].end() :].strip():
        return False
    return not _closes(tags[-1])


def _closes(tag: re.Match[str]) -> bool:
    return bool(tag["closes"] or tag["closes_too"])
