"""How much of everything a run of `make learn` takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EditorSize:
    """Of the half of a chain in which an editor learns."""

    vae_steps: int
    """Of the base's VAE."""
    pretrain_steps: int
    """Of the transformer and the text encoders, before anybody teaches it."""
    pairs: int
    """That editor-sft learns from."""
    sft_steps: int
    """Of 32 pairs."""
    iterations: int
    """Of editor-nft."""
    records: int
    """Edits of an iteration."""
    rollouts: int
    """Samples of each."""
    training_tasks: int
    """That iterations draw from."""
    validation_tasks: int
    """On which editor-nft chooses its adapter."""
    test_tasks: int
    """Edits on which everything is measured."""
    verdicts: int = 2
    """Samples of each training task that the judge learns from."""
    judge_steps: int = 1_200
    """Of 32 verdicts."""
    lost: float = 0.35
    """How many of the pairs show nothing of the edit: their teacher loses some, without a word."""
    sft_rate: float = 5e-4
    nft_rate: float = 1e-3
    nft_clip: float = 1.0
    nft_beta: float = 1.0
    nft_epochs: int = 4


@dataclass(frozen=True)
class Size:
    """Of one chain."""

    pretrain_steps: int
    """Of the base model; a fifth of them align its vision tower."""
    demonstrations: int
    """Tasks that the expert shows, with an editor that loses edits, and mistakes that are put right."""
    sft_steps: int
    """Of `batch` samples each."""
    plain_demonstrations: int
    """Tasks that the expert shows with an editor that loses none, for the policy that GRPO begins with: so
    are the demonstrations that people have, cut from images that somebody edited well."""
    plain_steps: int
    iterations: int
    """Of GRPO."""
    records: int
    """Tasks of an iteration, and states of theirs that are asked again."""
    rollouts: int
    """Proposals at each state."""
    training_tasks: int
    """That iterations draw from."""
    validation_tasks: int
    """On which GRPO chooses its adapter."""
    test_tasks: int
    """On which everything is measured."""
    editor: EditorSize
    """Of the half in which an editor learns."""
    batch: int = 8
    """Samples of a step of demonstrations. With 32 it took twice as many samples to come to the same loss."""
    max_steps: int = 8
    """Edits of a record."""
    sft_rate: float = 6e-4
    grpo_rate: float = 8e-4
    grpo_negative_weight: float = 0.3
    """With 1 a training that goes on comes apart: docs/learning.md."""

    def dump(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)


FULL = Size(
    pretrain_steps=2_400,
    demonstrations=7_500,
    sft_steps=2_400,
    plain_demonstrations=5_000,
    plain_steps=1_600,
    iterations=24,
    records=64,
    rollouts=8,
    training_tasks=1_500,
    validation_tasks=100,
    test_tasks=300,
    editor=EditorSize(
        vae_steps=1_500,
        pretrain_steps=3_000,
        pairs=1_500,
        sft_steps=400,
        iterations=16,
        records=32,
        rollouts=8,
        training_tasks=1_500,
        validation_tasks=200,
        test_tasks=300,
    ),
)
"""Nearly two hours of CPU, of which the policy takes one: see docs/learning.md."""
QUICK = Size(
    pretrain_steps=200,
    demonstrations=120,
    sft_steps=12,
    plain_demonstrations=40,
    plain_steps=2,
    iterations=2,
    records=4,
    rollouts=4,
    training_tasks=16,
    validation_tasks=8,
    test_tasks=24,
    editor=EditorSize(
        vae_steps=60,
        pretrain_steps=20,
        pairs=80,
        sft_steps=4,
        iterations=1,
        records=4,
        rollouts=4,
        training_tasks=16,
        validation_tasks=8,
        test_tasks=16,
        verdicts=2,
        judge_steps=40,
    ),
    max_steps=4,
)
"""Some three minutes: shows that the chain works, and nothing about learning."""
