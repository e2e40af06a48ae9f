"""Which pairs make up which batch: pairs of one canvas, in an order that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.core.errors import ConfigError
from mira_batch.train.editor.encode import EncodedPair


def plan_order(config: EditorSftConfig, pairs: Sequence[EncodedPair]) -> np.ndarray:
    """The places of pairs in the order in which they are learned from, all epochs of them.

    Each batch is of one canvas. What does not fill a batch in one epoch waits for the next; only whole steps
    are made, so at the very end some pairs are left over.

    Args:
        config: of the training.
        pairs: that are learned from.

    Returns:
        (steps x accumulate x workers.num x batch,) places; each `batch` of them have one canvas.

    Raises:
        ConfigError: there are not enough for one step.
    """
    each = config.accumulate * config.workers.num
    found: list[np.ndarray] = []
    for batches in _draw_epochs(config, pairs):
        found.extend(batches)
        if config.max_steps and len(found) >= config.max_steps * each:
            break
    steps = min(len(found) // each, config.max_steps or len(found))
    if not steps:
        raise ConfigError(
            f"data.manifest: {len(pairs):,} pairs, in batches of one canvas over all epochs, don't make one "
            f"step of {config.step_samples} (batch x accumulate x workers.num); lower these, or raise epochs"
        )
    return np.concatenate(found[: steps * each])


def _draw_epochs(config: EditorSftConfig, pairs: Sequence[EncodedPair]) -> Iterator[list[np.ndarray]]:
    """The batches of each epoch; without end where `max_steps` says when it is over."""
    waiting: dict[tuple[int, int], list[int]] = {}
    epoch = 0
    while config.epochs is None or epoch < config.epochs:
        draw = np.random.Generator(np.random.PCG64([config.seed, epoch]))
        batches = []
        for place in draw.permutation(len(pairs)).tolist():
            held = waiting.setdefault(pairs[place].canvas, [])
            held.append(place)
            if len(held) == config.batch:
                batches.append(np.array(held, dtype=np.int64))
                held.clear()
        yield [batches[number] for number in draw.permutation(len(batches))]
        epoch += 1
