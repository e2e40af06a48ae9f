"""Flow matching: pure functions of tensors, without any state.

An editor's transformer predicts a velocity, from an image to noise, at a point between both. Time t is the
share of noise: 0 is the image, 1 is noise.
Letters of shapes: B images of a batch, N tokens of an image's latents, C channels of a token.

Sources, each named at what is taken from it:

    RF        arXiv 2209.03003 (rectified flow): the straight path and its velocity
    SD3       arXiv 2403.03206, sections 3.1 and 5.3.2: logit-normal times, and their shift by resolution
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def interpolate(image_B_N_C: Tensor, noise_B_N_C: Tensor, time_B: Tensor) -> Tensor:
    """The point of the straight path at a time: x_t = (1 - t) x_0 + t e (RF).

    Args:
        image_B_N_C: latents x_0.
        noise_B_N_C: standard normal, e.
        time_B: in [0, 1].

    Returns:
        (B, N, C), in the number format of the image.
    """
    time = _spread(time_B, image_B_N_C)
    return (1 - time) * image_B_N_C + time * noise_B_N_C


def find_velocity(image_B_N_C: Tensor, noise_B_N_C: Tensor) -> Tensor:
    """What the transformer has to predict: the derivative of the path, v = e - x_0 (RF).

    Args:
        image_B_N_C: latents x_0.
        noise_B_N_C: standard normal, e.
    """
    return noise_B_N_C - image_B_N_C


def recover_image(point_B_N_C: Tensor, velocity_B_N_C: Tensor, time_B: Tensor) -> Tensor:
    """The image that a velocity points to: x_0 = x_t - t v, which follows from both functions above.

    Args:
        point_B_N_C: x_t.
        velocity_B_N_C: v, true or predicted.
        time_B: t.
    """
    return point_B_N_C - _spread(time_B, point_B_N_C) * velocity_B_N_C


def map_normal_to_times(normal_B: Tensor, mean: float, deviation: float) -> Tensor:
    """Times whose logit is normal: t = sigmoid(mean + deviation u) (SD3, section 3.1).

    Args:
        normal_B: standard normal, u.
        mean: of the logit. Above 0 there is more noise.
        deviation: of the logit.

    Returns:
        (B,) in (0, 1).
    """
    return (mean + deviation * normal_B).sigmoid()


def shift_times(time_B: Tensor, factor: float) -> Tensor:
    """Times moved towards noise: t' = s t / (1 + (s - 1) t) (SD3, section 5.3.2).

    What a scheduler calls mu, its `use_dynamic_shifting`, is the logarithm of the factor s.

    Args:
        time_B: in [0, 1].
        factor: s; 1 changes nothing.

    Returns:
        (B,) in [0, 1]; 0 and 1 stay.
    """
    return factor * time_B / (1 + (factor - 1) * time_B)


def flow_matching_loss(predicted_B_N_C: Tensor, velocity_B_N_C: Tensor) -> Tensor:
    """Squared error of the velocity of each image, the mean over its tokens and channels (RF).

    Args:
        predicted_B_N_C: what the transformer predicts, with gradient.
        velocity_B_N_C: that of `find_velocity`.

    Returns:
        (B,), in float32 at least.
    """
    predicted, wanted = (
        each.float() if each.element_size() < 4 else each for each in (predicted_B_N_C, velocity_B_N_C)
    )
    return (predicted - wanted).square().mean(dim=(1, 2))


def _spread(time_B: Tensor, like_B_N_C: Tensor) -> Tensor:
    return time_B.to(like_B_N_C.dtype)[:, None, None]
