"""Models that draw on the images they are given, or on the one they gave before, harm nobody."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from mira_batch import load_config, read_outputs, read_trajectories, run
from mira_batch.core.pixels import read_only_view
from mira_batch.core.ports import EditRequest
from mira_batch.storage.stores.objects import open_store
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import verify_edits


class _Drawing:
    """Draws on the image of the request and returns that."""

    identity = "drawing"
    max_batch = 4

    def bucket(self, request: EditRequest) -> Hashable:
        return None

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[Any]:
        for request in requests:
            ImageDraw.Draw(request.image.pixels).rectangle((0, 0, 3, 3), fill=request.seed & 0xFFFFFF)
            ImageDraw.Draw(request.original.pixels).rectangle((0, 0, 9, 9), fill=0)
        return [request.image.pixels for request in requests]


class _OneCanvas(_Drawing):
    """Returns the same image object each time, with another colour."""

    def __init__(self) -> None:
        self._canvas = Image.new("RGB", (16, 16))
        self.max_batch = 1

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[Any]:
        self._canvas.paste(requests[0].seed & 0xFFFFFF, (0, 0, 16, 16))
        return [self._canvas]


def drawing() -> _Drawing:
    return _Drawing()


def one_canvas() -> _OneCanvas:
    return _OneCanvas()


@pytest.mark.parametrize("factory", ["drawing", "one_canvas"])
def test_images_are_lent_and_taken_over(tmp_path: Path, factory: str) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", 6)
    editor = {"type": "custom", "factory": f"{__name__}:{factory}"}
    policy = {"type": "simulated", "steps": {"exact": {"*": 3}}}
    config = load_config(settings(manifest, tmp_path / "out", policy=policy, editor=editor))
    summary = run(config)
    assert summary.ok == 6 and summary.steps == 18
    verdict = verify_edits(open_store(summary.run, config.storage))
    assert verdict.whole, verdict.problems
    steps = read_trajectories(summary.run).select(["after", "before"]).to_pylist()
    assert len({step["after"] for step in steps}) == 18
    sources = read_outputs(summary.run, ["source_digest"]).column(0).to_pylist()
    assert {step["before"] for step in steps} & set(sources) == set(sources)


def test_a_shared_image_is_its_own_and_free_of_metadata() -> None:
    image = Image.new("RGBA", (4, 2), (10, 20, 30, 40))
    image.info["icc_profile"] = b"some"
    other = read_only_view(image)
    assert other.tobytes() == image.tobytes() and other.size == (4, 2) and other.mode == "RGBA"
    assert other.info == {} and image.info == {"icc_profile": b"some"}
    ImageDraw.Draw(other).point((0, 0), (1, 2, 3, 4))
    other.putpixel((1, 1), (5, 6, 7, 8))
    assert other.getpixel((0, 0)) == (1, 2, 3, 4) and other.getpixel((1, 1)) == (5, 6, 7, 8)
    assert set(image.get_flattened_data()) == {(10, 20, 30, 40)}
