"""A training by rollouts from its config: its iterations, and what they made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mira_batch.config.grpo import GrpoConfig
from mira_batch.core.stop_request import StopRequest
from mira_batch.train.grpo.card import write_card
from mira_batch.train.grpo.iteration import run_iteration
from mira_batch.train.grpo.record import SETTINGS
from mira_batch.train.grpo.validation import validate
from mira_batch.train.iterations import Plan, train_by_iterations


def train(config: GrpoConfig, note: Callable[[str], None], stop: StopRequest | None = None) -> dict[str, Any]:
    """Train a policy by its own rollouts, going on from wherever an earlier call stopped.

    Arguments, result and errors are those of `train_by_iterations`.
    """
    plan: Plan[GrpoConfig] = Plan(SETTINGS, "adapter", "model.adapter", run_iteration, validate, write_card)
    return train_by_iterations(plan, config, note, stop)
