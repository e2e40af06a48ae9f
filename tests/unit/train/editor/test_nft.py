"""DiffusionNFT against numbers worked by hand, and against a second derivation without autograd."""

from __future__ import annotations

import copy
from statistics import fmean, pstdev

import pytest
import torch
from torch import Tensor

from mira_batch.train.editor.flow import find_velocity, flow_matching_loss, interpolate
from mira_batch.train.editor.nft import (
    LEAST_WEIGHT,
    blend_weights,
    choose_retention,
    compute_optimality,
    find_implicit_velocities,
    measure_drift,
    measure_image_error,
    nft_loss,
)


def one(value: float) -> Tensor:
    """An image of one token with one channel."""
    return torch.tensor([[[value]]], dtype=torch.float64)


def test_optimality_sets_a_reward_beside_its_group() -> None:
    # Groups (0, 1) and (1, 1): means 0.5 and 1; all rewards' variance 3/16.
    rewards, groups = torch.tensor([0.0, 1.0, 1.0, 1.0]).double(), torch.tensor([7, 7, 3, 3])
    spread = (3 / 16) ** 0.5
    found = compute_optimality(rewards, groups, clip=5.0, least_spread=0.0)
    assert found.tolist() == pytest.approx([0.5 - 0.05 / spread, 0.5 + 0.05 / spread, 0.5, 0.5])


def test_optimality_is_held_within_its_bounds() -> None:
    found = compute_optimality(torch.tensor([0.0, 1.0]), torch.tensor([0, 0]), clip=0.5, least_spread=0.0)
    assert found.tolist() == [0.0, 1.0]
    assert compute_optimality(torch.ones(3), torch.zeros(3).long()).tolist() == [0.5] * 3


def test_optimality_by_plain_python() -> None:
    draw = torch.Generator().manual_seed(1)
    rewards = torch.rand(24, generator=draw, dtype=torch.float64)
    groups = torch.randint(5, (24,), generator=draw)
    found = compute_optimality(rewards, groups, clip=2.0).tolist()
    values, names = rewards.tolist(), groups.tolist()
    for value, name, optimality in zip(values, names, found, strict=True):
        mean = fmean(v for v, n in zip(values, names, strict=True) if n == name)
        advantage = max(-2.0, min(2.0, (value - mean) / (pstdev(values) + 1e-4)))
        assert optimality == pytest.approx(advantage / 4 + 0.5)


def test_the_implicit_velocities_lie_about_the_sampling_policys() -> None:
    positive, negative = find_implicit_velocities(one(3.0), one(1.0), 0.5)
    assert (positive.item(), negative.item()) == (2.0, 0.0)
    positive, negative = find_implicit_velocities(one(3.0), one(1.0), 1.0)
    assert (positive.item(), negative.item()) == (3.0, -1.0)


def test_the_loss_by_hand() -> None:
    # x_0 = 2, e = -2, t = 1/2: x_t = 0, true v = -4. v = -3, v_old = -2, beta = 1: v+ = -3, v- = -1.
    # Images 1.5 and 0.5: errors -0.5 and -1.5; e²/|e| = 0.5 and 1.5. r = 0.8: 0.8 * 0.5 + 0.2 * 1.5 = 0.7.
    image, time = one(2.0), torch.tensor([0.5]).double()
    point = interpolate(image, one(-2.0), time)
    optimality = torch.tensor([0.8]).double()
    loss = nft_loss(one(-3.0), one(-2.0), point, time, image, optimality)
    assert loss.tolist() == pytest.approx([5 * 0.7])
    # beta = 1/2: v+ = -2.5, v- = -1.5; errors 0.75 and 1.25; 0.8 * 0.75 + 0.2 * 1.25 = 0.85.
    loss = nft_loss(one(-3.0), one(-2.0), point, time, image, optimality, beta=0.5, clip=1.0)
    assert loss.tolist() == pytest.approx([2 * 0.85])


def test_the_weight_of_an_error_has_no_gradient_and_a_floor() -> None:
    velocity = one(-3.0).requires_grad_()
    time = torch.tensor([0.5]).double()
    error = measure_image_error(velocity, one(0.0), time, one(2.0))
    error.sum().backward()
    # e = -t v - x_0 = -0.5; d(e² / w)/dv = 2 e (-t) / w with w = 0.5.
    assert velocity.grad is not None and velocity.grad.item() == pytest.approx(1.0)
    exact = measure_image_error(one(-4.0 + 2e-6), one(0.0), time, one(2.0))
    assert exact.item() == pytest.approx(1e-12 / LEAST_WEIGHT, rel=1e-6)


@pytest.mark.parametrize("beta", [0.3, 1.0, 2.0])
def test_the_loss_and_its_gradient_by_another_way(beta: float) -> None:
    """In velocities rather than images: x_0^± - x_0 = -t (v^± - u), with the true velocity u."""
    draw = torch.Generator().manual_seed(2)
    image, noise, old, new = (torch.randn(6, 5, 3, generator=draw).double() for _ in range(4))
    time, optimality = (torch.rand(6, generator=draw).double() for _ in range(2))
    point, true = interpolate(image, noise, time), find_velocity(image, noise)
    learning = new.clone().requires_grad_()
    loss = nft_loss(learning, old, point, time, image, optimality, beta=beta, clip=3.0)
    loss.sum().backward()
    wanted, gradient = torch.zeros(6).double(), torch.zeros_like(new)
    for row in range(6):
        t, r = time[row].item(), optimality[row].item()
        for sign, share in ((1, r), (-1, 1 - r)):
            miss = old[row] - true[row] + sign * beta * (new[row] - old[row])
            weight = t * miss.abs().mean()
            wanted[row] += 3.0 / beta * share * t**2 * miss.square().mean() / weight
            gradient[row] += 3.0 * share * sign * t**2 * 2 * miss / (miss.numel() * weight)
    assert torch.allclose(loss, wanted, rtol=1e-12, atol=0)
    assert learning.grad is not None and torch.allclose(learning.grad, gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("optimality", "nearer"), [(1.0, True), (0.0, False)])
def test_good_samples_draw_and_bad_ones_push(optimality: float, nearer: bool) -> None:
    image, time = one(1.0), torch.tensor([0.7]).double()
    point, true = interpolate(image, one(0.2), time), find_velocity(image, one(0.2))
    learning = one(0.0).requires_grad_()
    nft_loss(learning, one(0.0), point, time, image, torch.tensor([optimality]).double()).sum().backward()
    assert learning.grad is not None
    after = (learning - 0.01 * learning.grad.sign()).detach()
    assert ((after - true).abs() < (learning.detach() - true).abs()).item() is nearer


def test_nothing_is_learned_from_a_sample_of_the_groups_mean_by_the_policy_that_drew_it() -> None:
    learning = one(0.4).requires_grad_()
    time = torch.tensor([0.7]).double()
    nft_loss(learning, one(0.4), one(0.1), time, one(1.0), torch.tensor([0.5]).double()).sum().backward()
    assert learning.grad is not None and learning.grad.item() == 0.0


def test_the_drift_is_the_distance_from_the_reference() -> None:
    learning = torch.tensor([[[1.0, 2.0]]], requires_grad=True)
    assert measure_drift(learning, torch.tensor([[[0.0, 4.0]]])).tolist() == [2.5]


def test_the_sampling_policy_follows_at_once_and_later_slowly() -> None:
    assert [choose_retention(n) for n in (0, 100, 500, 9000)] == [0.0, 0.1, 0.5, 0.5]
    kept = {"a": torch.tensor([1.0, 3.0])}
    blend_weights(kept, {"a": torch.tensor([5.0, 3.0])}, 0.25)
    assert kept["a"].tolist() == [4.0, 3.0]
    with pytest.raises(ValueError, match="other names: a, b"):
        blend_weights(kept, {"b": torch.tensor([1.0])}, 0.5)
    assert kept["a"].tolist() == [4.0, 3.0]


def test_a_moving_average_is_the_weighted_sum_of_all_weights() -> None:
    values = [1.0, 4.0, 2.0, 7.0]
    kept = {"a": torch.tensor([values[0]]).double()}
    for value in values[1:]:
        blend_weights(kept, {"a": torch.tensor([value]).double()}, 0.9)
    wanted = 0.9**3 * 1 + 0.1 * (0.9**2 * 4 + 0.9 * 2 + 7)
    assert kept["a"].item() == pytest.approx(wanted)


def test_a_policy_that_learns_by_its_samples_draws_what_is_rewarded() -> None:
    """A small flow of one number, of which larger is better: groups of samples, optimality, the loss, and the
    sampling policy that follows, as an iteration has them."""
    torch.manual_seed(0)
    learning = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    optimizer = torch.optim.Adam(learning.parameters(), 1e-2)

    def predict(model: torch.nn.Module, point: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return model(torch.cat([point.flatten(1), time[:, None]], 1))[:, None, :]

    def step(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def draw(model: torch.nn.Module, count: int) -> torch.Tensor:
        image = torch.randn(count, 1, 1)
        for number in range(6):
            image = image - predict(model, image, torch.full((count,), 1 - number / 6)) / 6
        return image

    for _ in range(150):
        image, noise, time = 0.5 * torch.randn(64, 1, 1), torch.randn(64, 1, 1), torch.rand(64)
        predicted = predict(learning, interpolate(image, noise, time), time)
        step(flow_matching_loss(predicted, find_velocity(image, noise)).mean())
    sampling = copy.deepcopy(learning)
    before = draw(sampling, 500).mean()
    for iteration in range(8):
        image = draw(sampling, 96)
        optimality = compute_optimality(image.flatten(), torch.arange(96) // 12)
        for _ in range(2):
            noise, time = torch.randn(96, 1, 1), torch.rand(96)
            point = interpolate(image, noise, time)
            old = predict(sampling, point, time).detach()
            step(nft_loss(predict(learning, point, time), old, point, time, image, optimality).mean())
        kept = dict(sampling.named_parameters())
        with torch.no_grad():
            blend_weights(kept, dict(learning.named_parameters()), choose_retention(iteration))
    assert draw(sampling, 500).mean() > before + 0.5
