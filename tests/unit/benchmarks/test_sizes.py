"""What trainings take on GPUs: counts worked by hand, and that the guide shows what is printed."""

from __future__ import annotations

import pytest

from benchmarks import sizes
from mira_batch.config.train import LoraTuning
from tests.support import ROOT


def test_weights_are_those_of_the_published_models() -> None:
    counts = sizes.count_weights(LoraTuning(r=64))
    # r x (in + out): q and o 3584 + 3584; k and v 3584 + 512; gate, up and down 3584 + 18944; 28 layers
    assert counts.lora == 28 * 64 * (2 * 7_168 + 2 * 4_096 + 3 * 22_528)
    assert counts.policy == 8_292_166_656  # as the model's index says: 16,584,333,312 bytes in bfloat16
    assert counts.embeddings == 152_064 * 3_584
    assert counts.denoiser == pytest.approx(11.9e9, rel=0.01)
    memory = sizes.estimate_memory(counts, 1_000, 2)
    assert memory["adapter"] == pytest.approx(16 * counts.lora / 1e9)
    assert memory["kept inputs"] == pytest.approx(2 * 2 * 1_000 * 3_584 * 28 / 1e9)

    # Of the 7,615,616,512 weights beside the tower's 16 bytes each, of the tower's 4.
    shared = sizes.estimate_sharded(counts, 1_000, 1, 4)
    assert shared["weights, gradients, means"] == pytest.approx((16 * 7.615616512 + 4 * 0.676550144) / 4)
    # Head and table, 152,064 x 3,584 each, by 8 bytes; a layer by 10, a 28th of the rest but the last norm.
    outer = 2 * 152_064 * 3_584
    layer = (7_615_616_512 - outer - 3_584) // 28
    assert shared["gathered"] == pytest.approx((8 * outer + 10 * layer) / 1e9, rel=1e-5)
    assert "weights" not in shared and shared["logits"] == sizes.estimate_memory(counts, 1_000, 1)["logits"]


def test_arithmetic_by_hand() -> None:
    # A step at 512 x 512: 2 x 1024 + 512 tokens through 57 blocks of 12 x 3072^2 weights, and attention.
    once = 2 * 57 * 12 * 3_072**2 * 2_560 + 4 * 57 * 3_072 * 2_560**2
    assert sizes.edit(2, 512**2) == pytest.approx(2 * once)
    assert sizes.count_question(602_112) == 2 * 768 + 600


def test_the_guide_shows_what_is_printed() -> None:
    guide = " ".join((ROOT / "docs/learning.md").read_text().split())
    for part in sizes.describe().split("\n\n"):
        assert " ".join(part.split()) in guide
