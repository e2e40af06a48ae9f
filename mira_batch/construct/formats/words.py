"""Samples put into words, as the policy will be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mira_batch.construct.words import normalise
from mira_batch.core.identity import content_hash
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import PromptForm, build_prompt
from mira_batch.core.types import Frame, Step

Row = Mapping[str, Any]
"""A sample, of schema `SAMPLES`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question in words."""

    system: str
    parts: tuple[str | None, ...]
    """The user's turn in order: texts, and None where an image is shown."""
    images: tuple[bytes, ...]
    """The images, encoded, in the order in which they are shown."""

    def flatten(self, mark: str = "<image>") -> str:
        """The user's turn as one text, with a mark for each image. A mark that stands in the words themselves
        is broken by a blank, so that it passes for none."""
        broken = f"{mark[:1]} {mark[1:]}"
        return "".join(mark if part is None else part.replace(mark, broken) for part in self.parts)


def ask(row: Row, form: PromptForm) -> Asked:
    """The question of a sample, by `core.prompt.build_prompt`.

    Args:
        row: the sample.
        form: how much the policy is told.
    """
    original = Frame(row["original"]["bytes"], row["source_digest"])
    current = original if row["current"] is None else Frame(row["current"]["bytes"], row["current_digest"])
    history = tuple(
        Step(index, "", step["instruction"], "", 0, 0, "", "", step["accepted"])
        for index, step in enumerate(row["history"])
    )
    request = PolicyRequest(row["record_id"] or "", row["instruction"], original, current, history, seed=0)
    prompt = build_prompt(request, form=form)
    parts = tuple(part if isinstance(part, str) else None for part in prompt.parts)
    return Asked(prompt.system, parts, tuple(frame.pixels for frame in prompt.frames))


def name_state(row: Row) -> str:
    """What the policy is asked about, under one name: both images, the instruction and the history.

    Args:
        row: a sample; its images are not looked at.
    """
    past = [
        part for step in row["history"] for part in (normalise(step["instruction"]), "01"[step["accepted"]])
    ]
    head = (
        row["source_digest"],
        row["current_digest"],
        normalise(row["instruction"]),
        str(len(row["history"])),
    )
    return content_hash(*head, *past)
