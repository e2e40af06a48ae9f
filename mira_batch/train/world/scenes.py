"""Scenes of the synthetic world: objects on a grid, as data and as an image, without loss either way.

Every object of a scene looks different, so that a colour and a shape name one. Tiles are drawn by formulas,
not by a library: an image means the same whatever version of Pillow reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

CELL = 16
"""Side of a cell, in pixels."""
MOST_CELLS = 8
"""Longest side of a grid, in cells."""
_COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 205, 40),
    "purple": (140, 60, 170),
    "black": (30, 30, 30),
}
_PAPER = (245, 245, 245)
COLOURS = tuple(_COLOURS)
"""All colours there are; a world has the first of them."""
SHAPES = ("circle", "square", "triangle", "cross")
"""All shapes there are; a world has the first of them."""
SIDES = {"left of": (0, -1), "right of": (0, 1), "above": (-1, 0), "below": (1, 0)}
"""Where a neighbour stands: steps of row and column."""


class Thing(NamedTuple):
    """An object, by what it looks like."""

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class World:
    """What scenes are made of."""

    size: int = 3
    """Cells on each side."""
    colours: int = 4
    """How many of `COLOURS`."""
    shapes: int = 3
    """How many of `SHAPES`."""

    @property
    def things(self) -> tuple[Thing, ...]:
        """All objects that a scene may hold."""
        return tuple(
            Thing(colour, shape) for colour in COLOURS[: self.colours] for shape in SHAPES[: self.shapes]
        )


SMALL = World()
"""3 x 3 cells, 4 colours, 3 shapes: what a model of a million weights learns in minutes."""
LARGE = World(4, 6, 4)
"""4 x 4 cells, 6 colours, 4 shapes."""
WORLDS = {"small": SMALL, "large": LARGE}


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands in each cell."""

    size: int
    """Cells on each side, N."""
    cells: tuple[Thing | None, ...]
    """N x N, row by row."""

    def find(self, thing: Thing) -> int | None:
        """The cell in which a thing stands; None where it doesn't."""
        return self.cells.index(thing) if thing in self.cells else None

    def find_beside(self, cell: int, side: str) -> int | None:
        """The cell on that side of another; None beyond the edge."""
        down, right = SIDES[side]
        row, column = cell // self.size + down, cell % self.size + right
        inside = 0 <= row < self.size and 0 <= column < self.size
        return row * self.size + column if inside else None

    def put(self, cell: int, thing: Thing | None) -> Scene:
        """The scene with something else in one cell."""
        return Scene(self.size, (*self.cells[:cell], thing, *self.cells[cell + 1 :]))


class NoScene(ValueError):
    """An image that the world can't have drawn. The message says why."""


def render(scene: Scene) -> Image.Image:
    """The image of a scene, in RGB."""
    tiles, size = draw_tiles(), scene.size
    grid = np.stack([tiles[thing] for thing in scene.cells]).reshape(size, size, CELL, CELL, 3)
    return Image.fromarray(grid.transpose(0, 2, 1, 3, 4).reshape(size * CELL, size * CELL, 3))


def read_scene(image: Any) -> Scene:
    """The scene that an image shows, by its very pixels.

    Args:
        image: a `PIL.Image.Image`.

    Raises:
        NoScene: the world can't have drawn it.
    """
    width, height = image.size
    size = width // CELL
    if image.mode != "RGB" or width != height or width % CELL or not 2 <= size <= MOST_CELLS:
        raise NoScene(
            f"the image is no scene of the synthetic world: it is {width} x {height} pixels in mode "
            f"{image.mode}, and a scene is square, of 2 to {MOST_CELLS} cells of {CELL} pixels a side, in RGB"
        )
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(size, CELL, size, CELL * 3)
    rows = np.ascontiguousarray(pixels.transpose(0, 2, 1, 3)).reshape(size * size, -1)
    known = _index_tiles()
    cells: list[Thing | None] = []
    for cell, row in enumerate(rows):
        tile = row.tobytes()
        if tile not in known:
            place = f"row {cell // size + 1}, column {cell % size + 1}"
            raise NoScene(f"the image is no scene of the synthetic world: {place} holds none of its objects")
        thing = known[tile]
        if thing is not None and thing in cells:
            raise NoScene(f"the image is no scene of the synthetic world: it holds the {thing} twice")
        cells.append(thing)
    return Scene(size, tuple(cells))


@lru_cache(maxsize=1)
def draw_tiles() -> dict[Thing | None, np.ndarray]:
    """What a cell looks like, (16, 16, 3) bytes, by the object in it; None: an empty one."""
    blank = np.full((CELL, CELL, 3), _PAPER, np.uint8)
    tiles: dict[Thing | None, np.ndarray] = {None: blank}
    masks = _draw_shapes()
    for colour, rgb in _COLOURS.items():
        for shape, mask in masks.items():
            tiles[Thing(colour, shape)] = np.where(mask[:, :, None], np.array(rgb, np.uint8), blank)
    return tiles


def _draw_shapes() -> dict[str, np.ndarray]:
    """(16, 16) true where a shape is."""
    down, right = (axis - (CELL - 1) / 2 for axis in np.mgrid[0:CELL, 0:CELL].astype(float))
    inside = (abs(down) < 6) & (abs(right) < 6)
    return {
        "circle": down**2 + right**2 <= 36,
        "square": inside,
        "triangle": inside & (abs(right) <= (down + 6) / 2),
        "cross": inside & ((abs(down) < 2) | (abs(right) < 2)),
    }


@lru_cache(maxsize=1)
def _index_tiles() -> dict[bytes, Thing | None]:
    return {tile.tobytes(): thing for thing, tile in draw_tiles().items()}
