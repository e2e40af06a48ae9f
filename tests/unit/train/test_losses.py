"""Losses against numbers worked by hand, and gradients against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mira_batch.train.losses import (
    IGNORED,
    Level,
    Normalisation,
    clip_surrogate,
    measure_kl,
    measure_ratio,
    normalise_loss,
    policy_loss,
    token_logprobs,
)

MASK = torch.tensor([[1, 1], [1, 0]], dtype=torch.bool)
"""Two answers, of two tokens and of one."""


def test_the_log_probability_of_a_token_is_read_from_the_place_before_it() -> None:
    # Three places, two words. Logits (0, ln 3): p = (1/4, 3/4). Logits (0, 0): p = (1/2, 1/2).
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0], [9.0, 9.0]]])
    logprobs, mask = token_logprobs(logits, torch.tensor([[IGNORED, 1, 0]]))
    assert logprobs.tolist()[0] == pytest.approx([math.log(3 / 4), math.log(1 / 2)])
    assert mask.tolist() == [[True, True]]


def test_what_is_ignored_has_no_log_probability() -> None:
    logprobs, mask = token_logprobs(torch.zeros(1, 3, 2), torch.tensor([[IGNORED, IGNORED, 1]]))
    assert mask.tolist() == [[False, True]]
    assert logprobs.tolist()[0] == pytest.approx([0.0, math.log(1 / 2)])


def test_logits_in_bfloat16_are_summed_in_float32() -> None:
    logits = torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.randint(50, (2, 4), generator=torch.Generator().manual_seed(1))
    logprobs, _ = token_logprobs(logits, labels)
    assert logprobs.dtype is torch.float32
    assert torch.allclose(logprobs, token_logprobs(logits.float(), labels)[0])


def test_ratios_of_tokens() -> None:
    new, old = (
        torch.log(torch.tensor([[0.2, 0.9], [0.4, 0.5]])),
        torch.log(torch.tensor([[0.1, 0.6], [0.5, 0.1]])),
    )
    # 0.2 / 0.1 = 2; 0.9 / 0.6 = 1.5; 0.4 / 0.5 = 0.8; the last token does not count: 1.
    ratio = measure_ratio(new, old, MASK, "token")
    assert ratio.flatten().tolist() == pytest.approx([2.0, 1.5, 0.8, 1.0])


def test_the_ratio_of_a_sequence_is_the_geometric_mean() -> None:
    new, old = (
        torch.log(torch.tensor([[0.2, 0.9], [0.4, 0.5]])),
        torch.log(torch.tensor([[0.1, 0.6], [0.5, 0.1]])),
    )
    # sqrt(2 * 1.5) = sqrt(3) for both tokens; 0.8 alone.
    ratio = measure_ratio(new, old, MASK, "sequence")
    assert ratio.flatten().tolist() == pytest.approx([math.sqrt(3), math.sqrt(3), 0.8, 0.8])


def test_the_clip_is_asymmetric_and_holds_back_only_what_gains() -> None:
    ratio = torch.tensor([[1.5, 1.5, 0.5, 0.5, 1.1]])
    advantage = torch.tensor([[2.0, -2.0, 2.0, -2.0, 2.0]])
    losses, held = clip_surrogate(ratio, advantage, low=0.2, high=0.28)
    # min(1.5 * 2, 1.28 * 2) = 2.56       held
    # min(1.5 * -2, 1.28 * -2) = -3       free: what is bad and got likelier is pushed back
    # min(0.5 * 2, 0.8 * 2) = 1           free
    # min(0.5 * -2, 0.8 * -2) = -1.6      held
    # min(1.1 * 2, 1.1 * 2) = 2.2         free: within the bounds
    assert losses.tolist()[0] == pytest.approx([-2.56, 3.0, -1.0, 1.6, -2.2])
    assert held.tolist() == [[True, False, False, True, False]]


def test_k3_of_the_reference() -> None:
    new, reference = torch.log(torch.tensor([[0.5, 0.2]])), torch.log(torch.tensor([[0.25, 0.2]]))
    # 0.25 / 0.5 = 0.5: 0.5 - ln 0.5 - 1 = -0.5 + 0.693147; equal ones: 0.
    assert measure_kl(new, reference).tolist()[0] == pytest.approx([math.log(2) - 0.5, 0.0])


@pytest.mark.parametrize(
    ("by", "constant", "loss"),
    [
        ("grpo", None, ((2 + 4) / 2 + 6) / 2),  # the mean of two means: (3 + 6) / 2
        ("dapo", None, (2 + 4 + 6) / 3),  # three tokens, whoever they are of
        ("dr_grpo", 10, (2 + 4 + 6) / (2 * 10)),  # two sequences of at most ten tokens
    ],
)
def test_normalisations(by: Normalisation, constant: float | None, loss: float) -> None:
    losses = torch.tensor([[2.0, 4.0], [6.0, 999.0]])
    assert float(normalise_loss(losses, MASK, by, constant=constant)) == pytest.approx(loss)


@pytest.mark.parametrize("by", ["grpo", "dapo", "dr_grpo"])
def test_parts_of_a_batch_add_up_to_it(by: Normalisation) -> None:
    losses = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(5) < torch.tensor([[1], [5], [2], [4], [3], [5]])
    constant = 8.0 if by == "dr_grpo" else None
    whole = normalise_loss(losses, mask, by, constant=constant)
    parts = [
        normalise_loss(losses[part], mask[part], by, constant=constant, tokens=float(mask.sum()), sequences=6)
        for part in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]
    assert float(sum(parts)) == pytest.approx(float(whole))


def test_a_constant_is_dr_grpos_alone() -> None:
    losses = torch.ones(2, 2)
    with pytest.raises(ValueError, match="dr_grpo, which needs it"):
        normalise_loss(losses, MASK, "dr_grpo")
    with pytest.raises(ValueError, match="normalisation is dapo, constant 3"):
        normalise_loss(losses, MASK, "dapo", constant=3)


def test_the_whole_by_hand() -> None:
    new, old = (
        torch.log(torch.tensor([[0.2, 0.9], [0.4, 0.5]])),
        torch.log(torch.tensor([[0.1, 0.6], [0.5, 0.1]])),
    )
    found = policy_loss(
        new,
        old,
        torch.tensor([1.0, -1.0]),
        MASK,
        reference_B_T=old,
        kl_weight=0.5,
    )
    # Ratios 2, 1.5 | 0.8; clipped at 1.28 and 0.8: -1.28, -1.28 | 0.8
    # k3: 1/2 - ln(1/2) - 1 = 0.193147; 1/1.5 - ln(1/1.5) - 1 = 0.072132; 1/0.8 - ln(1/0.8) - 1 = 0.026856
    kl = 0.193147 + 0.072132 + 0.026856
    assert float(found.loss) == pytest.approx((-1.28 - 1.28 + 0.8 + 0.5 * kl) / 3, abs=1e-5)
    assert found.kl == pytest.approx(kl / 3, abs=1e-5)
    assert found.ratio == pytest.approx((2 + 1.5 + 0.8) / 3)
    assert found.clipped == pytest.approx(2 / 3)


def test_what_did_worse_may_count_for_less() -> None:
    new, old = (
        torch.log(torch.tensor([[0.2, 0.9], [0.4, 0.5]])),
        torch.log(torch.tensor([[0.1, 0.6], [0.5, 0.1]])),
    )

    def find(advantages: Tensor, weight: float) -> float:
        return float(policy_loss(new, old, advantages, MASK, negative_weight=weight).loss)

    # As by hand above, without the divergence; the answer below the mean counts a quarter, or not at all.
    assert find(torch.tensor([1.0, -1.0]), 1.0) == pytest.approx((-1.28 - 1.28 + 0.8) / 3)
    assert find(torch.tensor([1.0, -1.0]), 0.25) == pytest.approx((-1.28 - 1.28 + 0.2) / 3)
    assert find(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), 0.0) == pytest.approx((-1.28 - 1.28) / 3)
    assert find(torch.tensor([1.0, 1.0]), 0.25) == find(torch.tensor([1.0, 1.0]), 1.0)


def test_a_reference_and_its_weight_come_together() -> None:
    zeros = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="kl_weight"):
        policy_loss(zeros, zeros, torch.ones(2), MASK, kl_weight=0.1)
    with pytest.raises(ValueError, match="kl_weight"):
        policy_loss(zeros, zeros, torch.ones(2), MASK, reference_B_T=zeros)


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("by", ["grpo", "dapo", "dr_grpo"])
def test_gradients_are_those_of_finite_differences(level: Level, by: Normalisation) -> None:
    draw = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 6, 5, generator=draw, dtype=torch.float64)
    labels = torch.randint(5, (3, 6), generator=draw)
    labels[:, :2] = IGNORED
    labels[1, 4:] = IGNORED
    old, reference = (
        token_logprobs(logits + 0.3 * torch.randn(3, 6, 5, generator=draw, dtype=torch.float64), labels)[0]
        for _ in range(2)
    )
    advantages = torch.tensor([1.0, -0.5, 0.7], dtype=torch.float64)

    def measure(logits: Tensor) -> Tensor:
        logprobs, mask = token_logprobs(logits, labels)
        constant = 7.0 if by == "dr_grpo" else None
        return policy_loss(
            logprobs, old, advantages, mask, low=0.1, high=0.15, level=level, by=by, constant=constant,
            reference_B_T=reference, kl_weight=0.2,
        ).loss  # fmt: skip

    assert torch.autograd.gradcheck(measure, logits.requires_grad_(), eps=1e-6, atol=1e-7)
