"""Reads scenes from images that the world has not drawn itself: those of an editor that learns to draw."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from mira_batch.train.world.scenes import CELL, SMALL, NoScene, Scene, Thing, World, draw_tiles

UNREADABLE = Thing("unreadable", "cell")
"""What stands in a cell that shows nothing of the world: no object of any world, so it is never right."""


def read_nearest(image: Any, world: World = SMALL) -> Scene:
    """The scene that an image shows, or nearly shows.

    In a cell stands the object whose tile differs least from it, by the root of the mean squared difference
    of all values; and `UNREADABLE` where that is half of the least difference between two tiles, or more. So
    what is read is the only object that is so near. It may stand in several cells.

    Args:
        image: a `PIL.Image.Image`.
        world: whose objects are looked for.

    Raises:
        NoScene: it has another size or mode than the world's images.
    """
    side = world.size * CELL
    if image.size != (side, side) or image.mode != "RGB":
        width, height = image.size
        raise NoScene(
            f"the image is no scene of the synthetic world: it is {width} x {height} pixels in mode "
            f"{image.mode}, and a scene is {side} x {side} in RGB"
        )
    things, tiles, limit = _stack_tiles(world)
    pixels = np.asarray(image, np.float32).reshape(world.size, CELL, world.size, CELL * 3)
    cells = pixels.transpose(0, 2, 1, 3).reshape(world.size**2, 1, -1)
    apart = np.sqrt(((cells - tiles) ** 2).mean(-1))
    read = (
        things[best] if apart[cell, best] < limit else UNREADABLE for cell, best in enumerate(apart.argmin(1))
    )
    return Scene(world.size, tuple(read))


@lru_cache(maxsize=4)
def _stack_tiles(world: World) -> tuple[tuple[Thing | None, ...], np.ndarray, float]:
    """Objects, their tiles (T, 16 * 16 * 3), and the half of the least difference between two of these."""
    things = (None, *world.things)
    drawn = draw_tiles()
    tiles = np.stack([drawn[thing] for thing in things]).reshape(len(things), -1).astype(np.float32)
    least = min(np.sqrt(((one - other) ** 2).mean()) for one, other in combinations(tiles, 2))
    return things, tiles, float(least) / 2
