"""MagicBrush's measures: how far a result is from the image that people accepted.

    L1 = mean |a - b|, L2 = mean (a - b)^2    over pixels and channels in [0, 1], at the target's size

By evaluation/image_eval.py of OSU-NLP-Group/MagicBrush, whose L2 is a mean square, not its root. Single-turn
(its all-turn) is over every turn, each begun from the image that people accepted before it; multi-turn (its
final-turn) is over sessions, of each the last turn of a chain that goes on from its own results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mira_batch.evaluate.benchmarks.aggregate import Aggregate, Outcome, count_outcomes, refuse_twice

SINGLE, MULTI = "single-turn", "multi-turn"
L1, L2 = "L1", "L2"


@dataclass(frozen=True, slots=True)
class MagicBrushItem:
    """A turn of single-turn, or a session of multi-turn, and its measures."""

    key: str
    setting: str
    outcome: Outcome
    values: Mapping[str, float]
    """By measure; empty unless judged."""


def measure_distances(result: Image.Image, target: Image.Image) -> dict[str, float]:
    """L1 and L2 of a result.

    Args:
        result: as it is; brought to the target's size (bicubic) first.
        target: the image that people accepted.

    Returns:
        Both in [0, 1], 0 for the same image. Transparency is left out.
    """
    shown = result.convert("RGB")
    if shown.size != target.size:
        shown = shown.resize(target.size, Image.Resampling.BICUBIC)
    apart = (np.asarray(shown, np.float64) - np.asarray(target.convert("RGB"), np.float64)) / 255
    return {L1: float(np.abs(apart).mean()), L2: float(np.square(apart).mean())}


def aggregate_magicbrush(
    items: Sequence[MagicBrushItem], measures: Sequence[str]
) -> dict[str, dict[str, Aggregate]]:
    """Plain means over the items of each setting.

    Args:
        items: all of the benchmark, whatever became of them.
        measures: which.

    Returns:
        By setting and measure.

    Raises:
        BenchmarkError: an item comes twice, or lacks a measure.
    """
    refuse_twice((item.setting, item.key) for item in items)
    return {
        setting: {name: _average([i for i in items if i.setting == setting], name) for name in measures}
        for setting in (SINGLE, MULTI)
    }


def _average(items: Sequence[MagicBrushItem], name: str) -> Aggregate:
    judged = [item for item in items if item.outcome is Outcome.judged]
    return count_outcomes(items, [item.values[name] for item in judged])
