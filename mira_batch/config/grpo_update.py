"""How a policy is updated by rewarded rollouts: the loss, the optimiser, and what is seen to before."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mira_batch.config.base import Strict


class GrpoLossConfig(Strict):
    """The loss, as `train/losses.py` computes it."""

    level: Literal["token", "sequence"] = "token"
    """What a ratio is of: a token (GRPO, DAPO), or an answer as a whole (GSPO)."""
    normalisation: Literal["grpo", "dapo", "dr_grpo"] = "dapo"
    """What it is the mean over: answers, each the mean of its tokens; all tokens alike; or answers, each the
    sum of its tokens over `edit.policy.max_tokens`."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """How far below 1 a ratio may count. For sequences 3e-4 is usual."""
    clip_high: float = Field(default=0.28, gt=0)
    """How far above 1 a ratio may count. For sequences 4e-4 is usual."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Weight of the divergence from the reference, which is what the training began with: `model.adapter`,
    or the model without an adapter. 0 computes none."""
    advantage: Literal["group", "batch", "none"] = "group"
    """What a reward's distance from its group's mean is divided by: the group's spread, that of all rewards
    of the iteration, or nothing."""
    negative_weight: float = Field(default=1.0, ge=0, le=1, exclude_if=lambda weight: weight == 1)
    """Factor of the advantages below 0. Less than 1 holds a policy together that would come apart: what did
    worse is made less likely, and what becomes likelier for it nobody has judged."""


class GrpoOptimizerConfig(Strict):
    """AdamW. Its state goes on from one iteration to the next."""

    learning_rate: float = Field(default=1e-5, gt=0, le=1)
    """The step. For LoRA 1e-5 is a careful start, and above 1e-4 policies have been destroyed."""
    schedule: Literal["constant", "linear"] = "constant"
    """Whether the step shrinks from iteration to iteration, to 0 after the last. Then `iterations` can't be
    changed later."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decoupled decay of weights."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the mean of gradients."""
    beta2: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the mean of their squares."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""


class AgreementConfig(Strict):
    """How far the log-probabilities of trainer and rollout may differ before the first step. Beyond that they
    are of two models, or of two prompts, and the iteration stops."""

    answers: int = Field(default=256, ge=1)
    """So many answers are looked at, or all where there are fewer."""
    mean: float = Field(default=0.02, gt=0)
    """Largest mean of |difference| over tokens, in nats. In float32 on one machine 1e-5 is usual."""
    most: float = Field(default=1.0, gt=0)
    """Largest |difference| of any token. bfloat16 differs by tenths at unlikely tokens."""
