"""How well a pipeline carries out the world's atomic edits, by the pixels that it draws.

A pipeline never draws the world's very bytes, so here a cell shows the object whose tile is nearest, and none
where no tile is near: such a cell is unreadable, and never counts as right.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from PIL import Image

from mira_batch.train.world.editor_model import WORDS
from mira_batch.train.world.editor_pairs import Pair, draw_pair
from mira_batch.train.world.edits import say_edit
from mira_batch.train.world.scenes import CELL, SMALL, Thing, World, draw_tiles, render
from mira_batch.train.world.tasks import Split

UNREADABLE = "unreadable"
"""What a cell shows that shows nothing of the world."""
Seen = Thing | None | str
"""What a cell shows: an object, None where it is empty, or `UNREADABLE`."""
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


def read_nearest(image: Image.Image, world: World = SMALL) -> tuple[Seen, ...]:
    """What each cell of an image shows, row by row.

    A cell shows the object whose tile differs least from it, as the root of the mean square over its values;
    and nothing of the world where that is half of the least difference between two tiles, or more. So what is
    read is the only tile that is so near.

    Args:
        image: of the size of the world's scenes, in RGB.
        world: whose objects are looked for.

    Raises:
        ValueError: it has another size or mode.
    """
    side = world.size * CELL
    if image.size != (side, side) or image.mode != "RGB":
        raise ValueError(f"an image of {image.size} in {image.mode} is no scene of {side} x {side} in RGB")
    things, tiles, limit = _stack_tiles(world)
    pixels = np.asarray(image, np.float32).reshape(world.size, CELL, world.size, CELL * 3)
    cells = pixels.transpose(0, 2, 1, 3).reshape(world.size**2, 1, -1)
    apart = np.sqrt(((cells - tiles) ** 2).mean(-1))
    nearest = apart.argmin(1)
    return tuple(
        things[best] if apart[cell, best] < limit else UNREADABLE for cell, best in enumerate(nearest)
    )


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
    seen: list[tuple[Seen, ...]] = []
    for start in range(0, count, _BATCH):
        part = pairs[start : start + _BATCH]
        images = edit_scenes(pipeline, part, steps=steps, seed=seed + start)
        seen += [read_nearest(image, world) for image in images]
    return score_cells(pairs, seen)


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


def score_cells(pairs: Sequence[Pair], seen: Sequence[tuple[Seen, ...]]) -> EditorScore:
    """How right what cells show is.

    Args:
        pairs: what was asked for.
        seen: what each cell shows afterwards, as `read_nearest` gives it.
    """
    kinds: dict[str, list[bool]] = {}
    made = spoilt = others = unreadable = 0
    for pair, cells in zip(pairs, seen, strict=True):
        right = [now == wanted for now, wanted in zip(cells, pair.target.cells, strict=True)]
        kinds.setdefault(type(pair.edit).__name__, []).append(all(right))
        made += right[pair.cell]
        spoilt += len(right) - sum(right) - (not right[pair.cell])
        others += len(right) - 1
        unreadable += cells.count(UNREADABLE)
    count = len(pairs)
    return EditorScore(
        pairs=count,
        success=sum(map(sum, kinds.values())) / count,
        by_kind={kind: sum(solved) / len(solved) for kind, solved in sorted(kinds.items())},
        made=made / count,
        collateral=spoilt / others,
        unreadable=unreadable / (others + count),
    )


@lru_cache(maxsize=4)
def _stack_tiles(world: World) -> tuple[tuple[Thing | None, ...], np.ndarray, float]:
    """Objects, their tiles (T, 16 * 16 * 3), and the half of the least distance between two of these."""
    things = (None, *world.things)
    drawn = draw_tiles()
    tiles = np.stack([drawn[thing] for thing in things]).reshape(len(things), -1).astype(np.float32)
    least = min(np.sqrt(((one - other) ** 2).mean()) for one, other in combinations(tiles, 2))
    return things, tiles, float(least) / 2
