"""A training by an editor's own samples from its config: its iterations, and what they made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.core.stop_request import StopRequest
from mira_batch.train.iterations import Plan, train_by_iterations
from mira_batch.train.nft.card import write_card
from mira_batch.train.nft.iteration import run_iteration
from mira_batch.train.nft.record import LORA, SETTINGS
from mira_batch.train.nft.update import find_taught
from mira_batch.train.nft.validation import validate


def train(
    config: EditorNftConfig, note: Callable[[str], None], stop: StopRequest | None = None
) -> dict[str, Any]:
    """Teach an editor by its own samples, going on from wherever an earlier call stopped.

    Arguments, result and errors are those of `train_by_iterations`.
    """
    find_taught(config)  # before anything is sampled
    plan: Plan[EditorNftConfig] = Plan(SETTINGS, LORA, None, run_iteration, validate, write_card)
    return train_by_iterations(plan, config, note, stop)
