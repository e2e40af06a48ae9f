"""Windows of the vision tower that are attended to at once: the same numbers as one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.models.tiny import policy_of


@pytest.fixture(scope="module", params=["qwen2.5-vl", "qwen3-vl"])
def model(request: pytest.FixtureRequest, tiny_models: Path) -> Any:
    return policy_of(tiny_models / request.param).model


@pytest.mark.parametrize(
    "grids",
    [[(1, 8, 8)], [(1, 8, 8)] * 3, [(1, 14, 22), (1, 2, 30), (1, 14, 22), (1, 18, 6)]],
    ids=["one image", "of one size", "of several sizes, with windows cut off at their edges"],
)
def test_they_are_what_they_are_one_by_one(model: Any, grids: list[tuple[int, int, int]]) -> None:
    from torch.nn.functional import scaled_dot_product_attention

    tower, calls = model.model.visual, 0

    def count(*args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return scaled_dot_product_attention(*args, **kwargs)

    patches = sum(height * width for _, height, width in grids)
    wide = tower.patch_embed.proj.weight[0].numel()
    shown = torch.randn(patches, wide, generator=torch.Generator().manual_seed(0))
    found, made = [], []
    for one_by_one in (False, True):
        attention = tower.config._attn_implementation
        if one_by_one:
            tower.config._attn_implementation = "sdpa"
        calls = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.functional, "scaled_dot_product_attention", count)
            for weight in tower.parameters():
                weight.grad = None
            seen = tower(shown, torch.tensor(grids)).pooler_output
            seen.square().sum().backward()
        tower.config._attn_implementation = attention
        found.append(
            (seen.detach(), [weight.grad for weight in tower.parameters() if weight.grad is not None])
        )
        made.append(calls)
    (seen, gradients), (other, others) = found
    assert torch.allclose(seen, other, rtol=0, atol=1e-6 * float(other.abs().max()))
    assert len(gradients) == len(others) > 10
    for gradient, expected in zip(gradients, others, strict=True):
        assert torch.allclose(gradient, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert made[0] <= made[1]
    if len(grids) > 1:
        assert made[0] < made[1]


def test_eager_attention_stays_as_it_is(tiny_models: Path) -> None:
    eager = policy_of(tiny_models / "qwen2.5-vl", attention="eager").model
    assert eager.model.visual.config._attn_implementation == "eager"
    usual = policy_of(tiny_models / "qwen2.5-vl").model
    assert usual.config.get_text_config()._attn_implementation == "sdpa"
