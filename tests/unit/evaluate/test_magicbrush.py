"""MagicBrush's measures against torch's, by which the owners' script takes them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError, Outcome
from mira_batch.evaluate.benchmarks.magicbrush import (
    L1,
    L2,
    MULTI,
    SINGLE,
    MagicBrushItem,
    aggregate_magicbrush,
    measure_distances,
)
from tests.support.models.tiny import noise


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("size", [(20, 12), (31, 17)])
def test_distances_are_those_of_torchs_losses(size: tuple[int, int], mode: str) -> None:
    import torch

    result, target = noise(*size, seed=1, mode=mode).pixels, noise(20, 12, seed=2).pixels
    found = measure_distances(result, target)
    one, other = (
        torch.tensor(np.asarray(image)).float() / 255
        for image in (result.convert("RGB").resize(target.size), target)
    )
    assert found[L1] == pytest.approx(torch.nn.L1Loss()(one, other).item(), rel=1e-5)
    assert found[L2] == pytest.approx(torch.nn.MSELoss()(one, other).item(), rel=1e-5)


def test_black_and_white_are_as_far_apart_as_can_be() -> None:
    black, white = Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), "white")
    assert measure_distances(black, white) == {L1: 1.0, L2: 1.0}
    assert measure_distances(white, white) == {L1: 0.0, L2: 0.0}
    assert measure_distances(Image.new("RGB", (4, 4), (51, 0, 0)), black)[L2] == pytest.approx(0.04 / 3)


def test_means_are_of_each_setting_and_count_what_is_missing() -> None:
    items = [
        MagicBrushItem("a", SINGLE, Outcome.judged, {L1: 0.2}),
        MagicBrushItem("b", SINGLE, Outcome.judged, {L1: 0.4}),
        MagicBrushItem("c", SINGLE, Outcome.missing, {}),
        MagicBrushItem("a", MULTI, Outcome.judged, {L1: 0.2}),
    ]
    found = aggregate_magicbrush(items, [L1])
    assert found[SINGLE][L1].value == pytest.approx(0.3) and found[SINGLE][L1].missing == 1
    assert found[MULTI][L1].value == 0.2 and found[MULTI][L1].complete and not found[SINGLE][L1].complete
    with pytest.raises(BenchmarkError, match="come more than once"):
        aggregate_magicbrush([items[0], items[0]], [L1])
