"""DiffusionNFT: pure functions of tensors, without any state.

An editor is made better by its own samples. Noise is added to each as in flow matching, and the velocity that
is predicted there is drawn towards good samples and away from bad ones, measured against the policy that
sampled them.
Letters of shapes: B samples of a batch, N tokens of an image's latents, C channels of a token.

Sources, each named at what is taken from it:

    NFT       arXiv 2509.16117 (DiffusionNFT): optimality, implicit velocities, loss, soft update
    Edit-R1   arXiv 2510.16888 (UniWorld-V2): the same for editors, with its settings as defaults here
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mira_batch.train.editor.flow import recover_image

if TYPE_CHECKING:
    from torch import Tensor

LEAST_WEIGHT = 1e-5
"""Below it the adaptive weight does not fall, so that a perfect prediction has a finite loss (Edit-R1)."""


def compute_optimality(
    rewards_B: Tensor, groups_B: Tensor, clip: float = 5.0, least_spread: float = 1e-4
) -> Tensor:
    """How likely each sample is one of the good ones, from its reward beside its group's (NFT, Edit-R1).

    A = (r - mean of the group) / (spread of all rewards + least_spread), held within [-clip, clip], and the
    optimality is 1/2 + A / (2 clip). The spread is the root of the rewards' variance over the batch, without
    Bessel's correction.

    Args:
        rewards_B: of all samples of an update.
        groups_B: integers; samples of one image and instruction have the same.
        clip: of the advantage, in spreads. Smaller makes more of small differences.
        least_spread: added, so that equal rewards are no division by zero.

    Returns:
        (B,) in [0, 1], without gradient; 1/2 where a reward is its group's mean.
    """
    import torch

    rewards = rewards_B.detach().double()
    _, place_B = groups_B.unique(return_inverse=True)
    counts = torch.bincount(place_B)
    means = torch.zeros_like(counts, dtype=rewards.dtype).index_add(0, place_B, rewards) / counts
    advantage = (rewards - means[place_B]) / (rewards.std(correction=0) + least_spread)
    return (0.5 + advantage.clamp(-clip, clip) / (2 * clip)).to(rewards_B.dtype)


def find_implicit_velocities(
    learning_B_N_C: Tensor, sampling_B_N_C: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """The velocities of the implicit positive and of the implicit negative policy (NFT).

    v+ = (1 - beta) v_old + beta v and v- = (1 + beta) v_old - beta v: their mean is the sampling policy's.

    Args:
        learning_B_N_C: v, with gradient.
        sampling_B_N_C: v_old.
        beta: how far both are from the sampling policy. At 1 the positive one is the policy that learns.
    """
    step = beta * (learning_B_N_C - sampling_B_N_C)
    return sampling_B_N_C + step, sampling_B_N_C - step


def measure_image_error(
    velocity_B_N_C: Tensor, point_B_N_C: Tensor, time_B: Tensor, image_B_N_C: Tensor
) -> Tensor:
    """Squared error of the image that a velocity points to, over its own mean absolute error (NFT, adaptive
    weighting): times that are hard count as much as easy ones.

    Args:
        velocity_B_N_C: v+ or v-, with gradient.
        point_B_N_C: x_t.
        time_B: t.
        image_B_N_C: x_0, the sample.

    Returns:
        (B,); the weight has no gradient, and is `LEAST_WEIGHT` at least.
    """
    error = recover_image(point_B_N_C, velocity_B_N_C, time_B) - image_B_N_C
    weight_B = error.detach().abs().double().mean(dim=(1, 2)).clamp_min(LEAST_WEIGHT)
    return (error.double().square().mean(dim=(1, 2)) / weight_B).to(error.dtype)


def nft_loss(
    learning_B_N_C: Tensor,
    sampling_B_N_C: Tensor,
    point_B_N_C: Tensor,
    time_B: Tensor,
    image_B_N_C: Tensor,
    optimality_B: Tensor,
    beta: float = 1.0,
    clip: float = 5.0,
) -> Tensor:
    """The loss of each sample (NFT, with the factors of Edit-R1): clip / beta times
    r E(v+) + (1 - r) E(v-), where E is `measure_image_error` and r the optimality.

    The factors undo what optimality and the implicit velocities divide by, so that a learning rate means the
    same whatever beta and clip are.

    Args:
        learning_B_N_C: v, with gradient.
        sampling_B_N_C: v_old, of the policy that sampled.
        point_B_N_C: x_t, of the sample with noise.
        time_B: t.
        image_B_N_C: x_0, the sample.
        optimality_B: of `compute_optimality`, with the same clip.
        beta: of `find_implicit_velocities`.
        clip: of the advantage.

    Returns:
        (B,)
    """
    positive, negative = find_implicit_velocities(learning_B_N_C, sampling_B_N_C.detach(), beta)
    errors = [measure_image_error(each, point_B_N_C, time_B, image_B_N_C) for each in (positive, negative)]
    return clip / beta * (optimality_B * errors[0] + (1 - optimality_B) * errors[1])


def measure_drift(learning_B_N_C: Tensor, reference_B_N_C: Tensor) -> Tensor:
    """Squared distance of the velocity from the reference's, for a pull back to it (Edit-R1).

    Args:
        learning_B_N_C: v, with gradient.
        reference_B_N_C: that of the model before any update.

    Returns:
        (B,)
    """
    return (learning_B_N_C - reference_B_N_C.detach()).square().mean(dim=(1, 2))


def choose_retention(update: int, slope: float = 0.001, most: float = 0.5) -> float:
    """The share of its old weights that the sampling policy keeps at an update: it follows at once in the
    beginning, and more slowly later (NFT, soft update; settings of Edit-R1).

    Args:
        update: which, from 0.
        slope: of the share, an update.
        most: where it ends.
    """
    return min(slope * update, most)


def blend_weights(kept: Mapping[str, Tensor], new: Mapping[str, Tensor], retention: float) -> None:
    """Move weights towards new ones in place: kept <- retention kept + (1 - retention) new.

    With `choose_retention` this is the soft update of the sampling policy, with a constant a moving average
    of weights (EMA).

    Args:
        kept: weights by name; they change.
        new: weights of the same names and shapes.
        retention: in [0, 1].

    Raises:
        ValueError: the names differ; nothing is changed.
    """
    import torch

    if kept.keys() != new.keys():
        raise ValueError(f"weights of other names: {', '.join(sorted(kept.keys() ^ new.keys())[:3])}")
    with torch.no_grad():
        for name, weight in kept.items():
            weight.mul_(retention).add_(new[name].to(weight.dtype), alpha=1 - retention)
