"""Scenes as images and back, and images that are no scene."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from PIL import Image

from mira_batch.core.identity import frame_of
from mira_batch.train.world.scenes import LARGE, SMALL, NoScene, Scene, Thing, draw_tiles, read_scene, render
from tests.unit.train.world.strategies import scenes

RED = Thing("red", "circle")


@given(scenes())
def test_a_scene_is_read_back_from_its_image(scene: Scene) -> None:
    assert read_scene(render(scene)) == scene


def test_the_pixels_of_a_scene_are_the_same_for_ever() -> None:
    """Else scenes of earlier runs could be read no more."""
    digest = frame_of(render(Scene(5, (*[thing for thing in draw_tiles() if thing], None)))).digest
    assert digest == "d36fb4abc8109235df1ffc3e60993b9f"


def test_no_two_objects_look_alike() -> None:
    tiles = [tile.tobytes() for tile in draw_tiles().values()]
    assert len({*tiles}) == len(tiles) == 25
    assert (len(SMALL.things), len(LARGE.things)) == (12, 24)


def test_neighbours_end_at_the_edge() -> None:
    scene = Scene(3, (None,) * 9)
    assert [scene.find_beside(4, side) for side in ("left of", "right of", "above", "below")] == [3, 5, 1, 7]
    assert [scene.find_beside(2, side) for side in ("right of", "above", "left of")] == [None, None, 1]
    assert [scene.find_beside(6, side) for side in ("left of", "below", "above")] == [None, None, 3]


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (Image.new("RGB", (640, 480)), "640 x 480"),
        (Image.new("RGBA", (48, 48)), "mode RGBA"),
        (Image.new("RGB", (16, 16)), "2 to 8 cells"),
        (Image.new("RGB", (48, 48), "pink"), "row 1, column 1 holds none"),
    ],
)
def test_an_image_that_is_no_scene_is_refused(image: Image.Image, says: str) -> None:
    with pytest.raises(NoScene, match=says):
        read_scene(image)


def test_one_wrong_pixel_is_noticed() -> None:
    pixels = np.array(render(Scene(3, (None,) * 5 + (RED,) + (None,) * 3)))
    pixels[20, 40] += 1
    with pytest.raises(NoScene, match="row 2, column 3"):
        read_scene(Image.fromarray(pixels))


def test_two_objects_of_one_name_are_refused() -> None:
    with pytest.raises(NoScene, match="the red circle twice"):
        read_scene(render(Scene(2, (RED, None, None, RED))))
