"""What an editor is taught by must be what its pipeline does: the same latents, velocities and times."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mira_batch.core.errors import ConfigError
from mira_batch.models.diffusion.flows import PROMPT, SOURCE, TARGET, find_flow, shift_by_scheduler
from mira_batch.models.diffusion.loading import load_pipeline, load_transformer
from mira_batch.models.diffusion.pipelines.batch import Batch, Settings
from mira_batch.models.diffusion.pipelines.families import find_family, import_pipeline
from mira_batch.models.tiny.diffusion import PIPELINES
from mira_batch.models.torch_support import prepare

pytestmark = pytest.mark.usefixtures("one_thread")
BASE: dict[str, Any] = {"is_distilled": False}
FILLED = ("FluxKontextPipeline", "Flux2KleinPipeline")
"""Whose prompts are filled up to a length."""


def picture(seed: int) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((96, 64), Image.Resampling.NEAREST)


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in PIPELINES), *((name, {"max_sequence_length": 24}) for name in FILLED)],
)
def test_a_family_is_taught_what_its_pipeline_asks(
    folders: dict[str, Path], name: str, options: dict[str, int]
) -> None:
    prepare()
    flow, family = find_flow(name, BASE, options), find_family(name, BASE)
    pipe = load_pipeline(import_pipeline(f"diffusers.{name}"), folders[name], name, "float32")
    pipe.set_progress_bar_config(disable=True)
    if family.prepare:
        family.prepare(pipe)
    asked: list[tuple[Any, Any, Any]] = []

    def note(_: Any, arguments: Any, options: dict[str, Any], answer: Any) -> None:
        asked.append((options["hidden_states"], options["timestep"], answer[0]))

    pipe.transformer.register_forward_hook(note, with_kwargs=True)
    batch = Batch([picture(0)], ["make the car red"], [torch.Generator().manual_seed(3)])
    with torch.no_grad():
        family.call(pipe, batch, Settings(3, 1.0, " ", options))
        parts = flow.encode(pipe, picture(0), picture(1), "make the car red", options)
    assert not options or len(parts[PROMPT]) == 24
    grid = tuple(parts[TARGET].shape[:2])
    assert grid == tuple(parts[SOURCE].shape[:2]) == (4, 6)  # 8 pixels a latent, 2 latents a token
    rows = {part: value[None] for part, value in parts.items()}
    rows["mask"] = torch.ones(rows["prompt"].shape[:2], dtype=torch.long)
    transformer = load_transformer(folders[name], "float32")
    tokens = grid[0] * grid[1]
    for hidden, time, answer in asked:
        assert torch.allclose(hidden[:, tokens:], rows[SOURCE].flatten(1, 2), rtol=0, atol=1e-6)
        with torch.no_grad():
            found = flow.predict(transformer, hidden[:, :tokens], time, rows, grid, 1.0)
        assert torch.allclose(found, answer[:, :tokens], rtol=0, atol=1e-5)
    assert len(asked) == 3 and float(asked[0][2].abs().max()) > 0.1
    if name != "Flux2KleinPipeline":  # whose shift depends on the number of steps
        shift = shift_by_scheduler(flow, pipe.scheduler.config, tokens)
        times = [float(time[0]) for _, time, _ in asked]
        assert times == pytest.approx(
            [shift * t / (1 + (shift - 1) * t) for t in (1, 2 / 3, 1 / 3)], abs=1e-5
        )


def test_a_scheduler_without_dynamic_shift_has_one_factor() -> None:
    flow = find_flow("FluxKontextPipeline", BASE)
    assert shift_by_scheduler(flow, {"use_dynamic_shifting": False, "shift": 3.0}, 99) == 3.0
    assert shift_by_scheduler(flow, {"use_dynamic_shifting": True}, 4096) == pytest.approx(math.exp(1.15))


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_times_are_shifted_as_the_scheduler_shifts_them(kind: str) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind)
    flow = find_flow("FluxKontextPipeline", BASE)
    scheduler.set_timesteps(sigmas=[1.0, 0.5, 0.25], mu=flow.compute_mu(scheduler.config, 1024))
    factor = shift_by_scheduler(flow, scheduler.config, 1024)
    found = [factor * t / (1 + (factor - 1) * t) for t in (1.0, 0.5, 0.25)]
    assert scheduler.sigmas[:3].tolist() == pytest.approx(found, abs=1e-6)


def test_flux_2_is_shifted_by_its_own_fit() -> None:
    flow = find_flow("Flux2KleinPipeline", BASE)
    small, large = (shift_by_scheduler(flow, {"use_dynamic_shifting": True}, n) for n in (1024, 4096))
    assert 1 < small < large


def test_what_cannot_be_taught_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"Step1XEditPipelineV1P2 can't be taught here; these can: Flux2Klein"
    ):
        find_flow("Step1XEditPipelineV1P2", BASE)
    with pytest.raises(ConfigError, match="was distilled to few steps"):
        find_flow("Flux2KleinPipeline", {"is_distilled": True})
    with pytest.raises(ConfigError, match="max_sequence_length: a QwenImageEditPipeline encodes"):
        find_flow("QwenImageEditPipeline", BASE, {"max_sequence_length": 24})
    with pytest.raises(ConfigError, match="is 513, and a FluxKontextPipeline takes 512 at most"):
        find_flow("FluxKontextPipeline", BASE, {"max_sequence_length": 513})
    assert find_flow("Flux2KleinPipeline", BASE, {"max_sequence_length": 513}).longest == 4_096
