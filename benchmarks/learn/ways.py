"""Ways to edit that a chain measures, and which are held against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

USUAL, POOR = 0.15, 0.35
"""How often the editor loses an edit: the world's own rate, and that of the second half of the table."""
Looks = Literal["at all", "at blank", "ahead"]


@dataclass(frozen=True)
class Way:
    """One way to edit, measured on held-out tasks."""

    name: str
    title: str
    failures: float
    """How often its editor loses an edit."""
    policy: str
    """Which: `expert`, `none` (the instruction goes to the editor as it is), or a stage that trained one."""
    looks: Looks = "at all"
    """What the policy sees of its edits: all that came of them; nothing, since its current image is blanked;
    or what would have come of them if none were lost: so it makes a plan, which is carried out then."""


WAYS = (
    Way("closed", "SFT, closed loop", USUAL, "sft"),
    Way("plan", "SFT, open-loop plan", USUAL, "sft", "ahead"),
    Way("single", "single shot", USUAL, "none"),
    Way("blank", "SFT, current image blanked", USUAL, "sft", "at blank"),
    Way("expert", "the expert", USUAL, "expert"),
    Way("closed-poor", "SFT, closed loop", POOR, "sft"),
    Way("start-poor", "SFT without failures, before GRPO", POOR, "plain"),
    Way("grpo-poor", "GRPO", POOR, "grpo"),
    Way("expert-poor", "the expert", POOR, "expert"),
)

PAIRS = {
    "closed loop over plan": ("plan", "closed"),
    "seeing over blank": ("blank", "closed"),
    "GRPO over its start": ("start-poor", "grpo-poor"),
}
"""Ways that are held against each other: A, and B, which should be better."""
