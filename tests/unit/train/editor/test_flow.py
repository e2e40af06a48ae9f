"""Flow matching against numbers worked by hand, and against a scheduler of diffusers."""

from __future__ import annotations

import math

import pytest
import torch

from mira_batch.models.tiny.diffusion import build_scheduler
from mira_batch.models.torch_support import prepare
from mira_batch.train.editor.flow import (
    find_velocity,
    flow_matching_loss,
    interpolate,
    map_normal_to_times,
    recover_image,
    shift_times,
)

IMAGE = torch.tensor([[[1.0, 2.0]], [[4.0, 0.0]]])
"""Two images of one token with two channels."""
NOISE = torch.tensor([[[-1.0, 0.0]], [[0.0, 8.0]]])
TIME = torch.tensor([0.25, 0.5])


def test_a_point_lies_on_the_line_between_image_and_noise() -> None:
    # 0.75 * 1 + 0.25 * -1 = 0.5; 0.75 * 2 + 0 = 1.5; the second half-way.
    assert interpolate(IMAGE, NOISE, TIME).tolist() == [[[0.5, 1.5]], [[2.0, 4.0]]]
    ends = torch.tensor([0.0, 1.0])
    assert interpolate(IMAGE, NOISE, ends).tolist() == [[[1.0, 2.0]], [[0.0, 8.0]]]


def test_the_velocity_leads_from_a_point_to_both_ends() -> None:
    velocity = find_velocity(IMAGE, NOISE)
    assert velocity.tolist() == [[[-2.0, -2.0]], [[-4.0, 8.0]]]
    point = interpolate(IMAGE, NOISE, TIME)
    assert torch.equal(recover_image(point, velocity, TIME), IMAGE)
    assert torch.equal(point + (1 - TIME)[:, None, None] * velocity, NOISE)


def test_the_velocity_is_the_derivative_of_the_path() -> None:
    draw = torch.Generator().manual_seed(0)
    image, noise = (torch.randn(3, 4, 2, dtype=torch.float64, generator=draw) for _ in range(2))
    time = torch.rand(3, dtype=torch.float64, generator=draw)
    before, after = (interpolate(image, noise, time + step) for step in (-0.125, 0.125))
    slope = (after - before) / 0.25  # exact, since the path is straight
    assert torch.allclose(slope, find_velocity(image, noise), rtol=0, atol=1e-14)
    point = interpolate(image, noise, time)
    assert torch.allclose(recover_image(point, slope, time), image, rtol=0, atol=1e-14)


def test_logits_of_times_are_normal() -> None:
    normal = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    times = map_normal_to_times(normal, 0.5, 2.0)
    assert times.tolist() == pytest.approx([1 / (1 + math.exp(-x)) for x in (-1.5, 0.5, 4.5)])


def test_times_are_shifted_as_the_scheduler_shifts_them() -> None:
    # s = 3: 3 * 0.25 / (1 + 2 * 0.25) = 0.5.
    times = torch.tensor([0.0, 0.25, 1.0])
    assert shift_times(times, 3.0).tolist() == [0.0, 0.5, 1.0]
    assert torch.equal(shift_times(times, 1.0), times)
    prepare()
    scheduler, mu = build_scheduler(), 0.8
    sigmas = torch.linspace(1, 0.1, 10, dtype=torch.float64)
    scheduler.set_timesteps(sigmas=sigmas.numpy(), mu=mu)
    shifted = shift_times(sigmas, math.exp(mu))
    assert torch.allclose(scheduler.sigmas[:-1].double(), shifted, rtol=0, atol=1e-6)


def test_the_loss_of_each_image_is_the_mean_of_its_squares() -> None:
    predicted = torch.tensor([[[0.0, 0.0]], [[-4.0, 8.0]]], requires_grad=True)
    loss = flow_matching_loss(predicted, find_velocity(IMAGE, NOISE))
    assert loss.tolist() == [4.0, 0.0]  # (2² + 2²) / 2
    loss.sum().backward()
    assert predicted.grad is not None and predicted.grad.tolist() == [[[2.0, 2.0]], [[0.0, 0.0]]]


def test_half_precision_is_squared_in_full() -> None:
    loss = flow_matching_loss(torch.full((1, 1, 1), 300.0).bfloat16(), torch.zeros(1, 1, 1))
    assert loss.dtype == torch.float32 and loss.item() == 300.0**2
