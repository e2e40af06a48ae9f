"""A training by an editor's own samples from its config: its iterations, and what they made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.core.stop_request import StopRequest
from mira_batch.runtime.training import run_training
from mira_batch.train.iterations import Course, Plan, train_by_iterations
from mira_batch.train.nft.card import write_card
from mira_batch.train.nft.iteration import run_iteration
from mira_batch.train.nft.record import LORA, SETTINGS, Iteration
from mira_batch.train.nft.update import check_editor
from mira_batch.train.nft.validation import validate


def train(
    config: EditorNftConfig, note: Callable[[str], None], stop: StopRequest | None = None
) -> dict[str, Any]:
    """Teach an editor by its own samples, going on from wherever an earlier call stopped.

    Arguments, result and errors are those of `train_by_iterations`.
    """
    plan: Plan[EditorNftConfig] = Plan(SETTINGS, LORA, "adapter", run_iteration, validate, write_card, _check)
    return train_by_iterations(plan, config, note, stop)


def _check(course: Course[EditorNftConfig]) -> None:
    """Look at the weights where they will learn: the driver may be without them."""
    if Iteration(course.store, 0).read("update") is None:
        config = course.config
        settings = config.model_dump(mode="json", exclude_unset=True)
        run_training(check_editor, settings, config.workers, config.backend, course.note)
