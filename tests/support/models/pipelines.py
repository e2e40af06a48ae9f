"""Editors over the tiny pipelines of `make_tiny`, and requests for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mira_batch.config.models.local import DiffusersConfig
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest
from mira_batch.core.types import Weights
from mira_batch.models.diffusion.editor import DiffusersEditor


def config(folders: dict[str, Path], name: str = "FluxKontextPipeline", **settings: Any) -> DiffusersConfig:
    settings = {"dtype": "float32", "steps": 8, "area": 4096, "guidance": 1.0} | settings
    return DiffusersConfig(
        type="diffusers", pipeline=f"diffusers.{name}", weights=str(folders[name]), **settings
    )


def build(folders: dict[str, Path], name: str = "FluxKontextPipeline", **settings: Any) -> DiffusersEditor:
    return DiffusersEditor(config(folders, name, **settings), Weights(str(folders[name]), name), "cpu")


def request(number: int) -> EditRequest:
    """An edit of blocks of colour, others for each number."""
    blocks = np.random.default_rng(number).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    image = frame_of(Image.fromarray(blocks).resize((64, 64), Image.Resampling.NEAREST))
    return EditRequest(f"r{number}", f"turn number {number} blue", image, image, number, 0)


def apart(one: Any, other: Any) -> int:
    """The largest difference of two images, in grey levels."""
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())
