"""How well a pipeline carries out the world's atomic edits, by the pixels that it draws.

A pipeline never draws the world's very bytes, so its images are read by `nearest.py`: a cell that shows
nothing of the world never counts as right.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mira_batch.train.world.editor_model import WORDS
from mira_batch.train.world.editor_pairs import Pair, draw_pair
from mira_batch.train.world.edits import say_edit
from mira_batch.train.world.nearest import UNREADABLE, read_nearest
from mira_batch.train.world.scenes import CELL, SMALL, Scene, World, render
from mira_batch.train.world.tasks import Split

_BATCH = 64


@dataclass(frozen=True, slots=True)
class EditorScore:
    """How a pipeline did, over all pairs together."""

    pairs: int
    success: float
    """Share of the pairs after which the whole scene is what was asked for."""
    by_kind: dict[str, float]
    """The same by the edit's kind: Add, Recolour, Remove."""
    made: float
    """Share of the cells that had to change, one a pair, that show what was asked for."""
    collateral: float
    """Share of all other cells that don't show what they showed."""
    unreadable: float
    """Share of all cells that show nothing of the world; they are part of what is wrong above."""


def measure_editor(
    pipeline: Any,
    world: World = SMALL,
    split: Split = "val",
    count: int = 128,
    *,
    steps: int = 4,
    seed: int = 0,
) -> EditorScore:
    """How well a pipeline edits scenes of a part.

    Args:
        pipeline: a `FluxKontextPipeline`.
        world: what scenes are made of.
        split: from which part the sources are drawn.
        count: how many pairs.
        steps: of denoising.
        seed: draws the pairs, and the noise of each.
    """
    rng = random.Random(f"world-editor-score/1 {split} {seed}")
    pairs = [draw_pair(rng, world, split) for _ in range(count)]
    seen: list[Scene] = []
    for start in range(0, count, _BATCH):
        part = pairs[start : start + _BATCH]
        images = edit_scenes(pipeline, part, steps=steps, seed=seed + start)
        seen += [read_nearest(image, world) for image in images]
    return score_scenes(pairs, seen)


def edit_scenes(pipeline: Any, pairs: Sequence[Pair], *, steps: int, seed: int) -> list[Image.Image]:
    """What a pipeline makes of each pair's source and edit.

    Args:
        pipeline: a `FluxKontextPipeline`.
        pairs: of one size.
        steps: of denoising.
        seed: of the first; the next have those that follow.
    """
    import torch

    side = pairs[0].source.size * CELL
    with torch.inference_mode():
        return pipeline(
            image=[render(pair.source) for pair in pairs],
            prompt=[say_edit(pair.edit) for pair in pairs],
            generator=[torch.Generator("cpu").manual_seed(seed + number) for number in range(len(pairs))],
            height=side,
            width=side,
            max_area=side * side,
            _auto_resize=False,
            max_sequence_length=WORDS,
            num_inference_steps=steps,
        ).images


def score_scenes(pairs: Sequence[Pair], seen: Sequence[Scene]) -> EditorScore:
    """How right scenes are.

    Args:
        pairs: what was asked for.
        seen: what is there afterwards, as `read_nearest` gives it.
    """
    kinds: dict[str, list[bool]] = {}
    made = spoilt = others = unreadable = 0
    for pair, scene in zip(pairs, seen, strict=True):
        right = [now == wanted for now, wanted in zip(scene.cells, pair.target.cells, strict=True)]
        kinds.setdefault(type(pair.edit).__name__, []).append(all(right))
        made += right[pair.cell]
        spoilt += len(right) - sum(right) - (not right[pair.cell])
        others += len(right) - 1
        unreadable += scene.cells.count(UNREADABLE)
    count = len(pairs)
    return EditorScore(
        pairs=count,
        success=sum(map(sum, kinds.values())) / count,
        by_kind={kind: sum(solved) / len(solved) for kind, solved in sorted(kinds.items())},
        made=made / count,
        collateral=spoilt / others,
        unreadable=unreadable / (others + count),
    )
