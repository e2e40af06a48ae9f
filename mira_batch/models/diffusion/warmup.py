"""The first call of a loaded pipeline: what is wrong with it is said once, before any record has failed.

A kernel that fails at its first call, activations that have no room, weights that overflow: nothing of that
shows while weights are loaded, and each would fail every record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from mira_batch.config.models.local import DiffusersConfig
from mira_batch.core.errors import ConfigError, MiraError, describe
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest
from mira_batch.models.serving import is_out_of_memory

STEPS = 2
"""Denoising steps: a cache makes the second of the first. Nor would one do without a cache: a schedule with a
`shift_terminal`, as Qwen-Image's, is stretched by the distance of its ends, which would be nought."""


def make_probe(area: int) -> EditRequest:
    """A request for an edit of a square image of about `area` pixels."""
    side = round(math.sqrt(area))
    image = frame_of(Image.linear_gradient("L").resize((side, side)).convert("RGB"))
    return EditRequest("warm-up", "make the sky blue", image, image, seed=0, step=0)


def check_call(
    edit: Callable[[], Any], finite: Sequence[bool], config: DiffusersConfig, device: str, ways_out: str
) -> None:
    """Make the first call. This is the boundary of what it may raise.

    Args:
        edit: makes the call.
        finite: says afterwards, of each row that left the VAE, whether its pixels were numbers.
        ways_out: what to change where there is no room.

    Raises:
        ConfigError: it failed, or gave no image of numbers; names what to change.
    """
    try:
        edit()
    except MiraError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise ConfigError(
                f"editor.weights: beside them {device} has no room for one edit of {config.area:,} pixels: "
                f"{error}; lower editor.area, or {ways_out}"
            ) from error
        raise ConfigError(
            f"editor.pipeline: the first call of {config.pipeline} on {device} failed: {describe(error)}; "
            f"{_name_suspects(config)}"
        ) from error
    if not all(finite):
        raise ConfigError(
            f"editor.dtype: in {config.dtype} the image is not a number (NaN); "
            + (
                "the weights are damaged, or editor.scheduler or editor.steps don't fit them"
                if config.dtype == "float32"
                else "take bfloat16 or float32"
                if config.dtype == "float16"
                else "take float32, or see whether editor.scheduler and editor.steps fit the weights"
            )
        )


def _name_suspects(config: DiffusersConfig) -> str:
    """The options that reach into the call, if any are set."""
    speed = config.speed.model_dump(exclude_defaults=True)
    fields = [f"editor.speed.{name}" for name in speed]
    fields += [f"editor.{name}" for name in ("options", "scheduler", "loras") if getattr(config, name)]
    if config.offload != "none":
        fields.append("editor.offload")
    if not fields:
        return "see whether torch and diffusers were made for this GPU and these weights"
    return f"try it without {' and '.join(fields)}"
