"""An image is encoded once, whoever wants it as PNG."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from mira_batch import run
from mira_batch.config.load import load_config
from mira_batch.core.ports import EditRequest
from mira_batch.imaging import encode_png, png
from tests.support.runs.catalogue import copy_sample, settings


class RestoringEditor:
    """Draws a dot for each step, and gives a result back at the size it has already."""

    identity = "restoring"
    max_batch = 4

    def bucket(self, request: EditRequest) -> Hashable:
        return None

    def apply(self, requests: Sequence[EditRequest]) -> list[Image.Image]:
        made = [request.image.pixels.copy() for request in requests]
        for request, image in zip(requests, made, strict=True):
            image.putpixel((request.step, 0), (255, 0, 0))
        return made

    def restore(self, image: Image.Image, original: Image.Image) -> Image.Image:
        return image.resize(original.size)


def make_editor() -> RestoringEditor:
    return RestoringEditor()


def test_a_result_that_was_logged_is_not_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def note(image: Image.Image) -> bytes:
        made.append(image)
        return encode_png(image)

    monkeypatch.setattr(png, "encode_png", note)
    config = settings(
        copy_sample(tmp_path / "sample"),
        tmp_path / "out",
        policy={"type": "simulated"},
        editor={"type": "custom", "factory": f"{__name__}:make_editor"},
    )
    config["output"]["step_images"] = "drop"
    summary = run(load_config(config))
    assert summary.ok == summary.planned and 0 < summary.steps == len(made)
