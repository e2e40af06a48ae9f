"""What teaching an editor needs to know of its family: how an edit is encoded, once, and how the transformer
is asked for the velocity at a point between the edited image and noise.

Shapes: B edits of a batch, H x W tokens of an image, N = H W, C channels of a token, L tokens of a prompt,
D channels of one. The same numbers as in the family's own pipeline; the tests hold both together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from mira_batch.core.errors import ConfigError
from mira_batch.models.diffusion.pipelines.qwen_edit import (
    PLUS_SEEN_AREA,
    SEEN_AREA,
    choose_seen_size,
    encode_prompts,
)

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

SOURCE, TARGET, PROMPT, POOLED = "source", "target", "prompt", "pooled"
"""Names of the parts of an encoded edit: latents (H, W, C) of both images, prompt (L, D), and pooled (D)."""
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


@dataclass(frozen=True, slots=True)
class Flow:
    """How a family of editors is taught by flow matching."""

    encode_image: Callable[[Any, Image.Image], Tensor]
    """(pipeline, image of the canvas' size) -> its latents."""
    encode_prompt: Callable[[Any, Image.Image, str, Mapping[str, int]], dict[str, Tensor]]
    """(pipeline, source, instruction, options) -> what the transformer is told beside the images."""
    predict: Callable[[Any, Tensor, Tensor, Mapping[str, Tensor], tuple[int, int], float], Tensor]
    """(transformer, points (B, N, C), times (B,), parts (B, ...), (H, W) of the points, guidance) -> the
    velocities (B, N, C)."""
    compute_mu: Callable[[Mapping[str, Any], int], float]
    """(settings of the scheduler, N) -> logarithm of the factor that times are shifted by."""
    targets: tuple[str, ...]
    """Linear layers that a LoRA adapts unless told otherwise, by the last part of their names."""
    rests: bool = False
    """Whether some layers of the transformer have no part in its output."""
    longest: int | None = None
    """The most that `max_sequence_length`, to which prompts are filled up or cut, may be; None: they are as
    long as they are."""

    def encode_question(
        self, pipe: Any, source: Image.Image, instruction: str, options: Mapping[str, int]
    ) -> dict[str, Tensor]:
        """The parts of an edit but for what comes of it.

        Args:
            pipe: the pipeline, of which the transformer is not needed.
            source: of the canvas' size.
            instruction: of the edit.
            options: of the prompt: `max_sequence_length`, or none.
        """
        prompt = self.encode_prompt(pipe, source, instruction, options)
        return {SOURCE: self.encode_image(pipe, source), **prompt}

    def encode(
        self,
        pipe: Any,
        source: Image.Image,
        target: Image.Image,
        instruction: str,
        options: Mapping[str, int],
    ) -> dict[str, Tensor]:
        """The parts of an edit.

        Args:
            pipe, source, instruction, options: as `encode_question` takes them.
            target: what comes of it, of the canvas' size.
        """
        question = self.encode_question(pipe, source, instruction, options)
        return question | {TARGET: self.encode_image(pipe, target)}


def find_flow(
    name: str, index: Mapping[str, Any], options: Mapping[str, int] = {}, force: bool | None = None
) -> Flow:
    """How pipelines of the class `name` are taught, given its `model_index.json`.

    Args:
        name: of the class, without its package.
        index: of the pipeline.
        options: that prompts are encoded with: `max_sequence_length`, or none.
        force: take one that was distilled to few steps, too; None: nobody can ask for that.

    Raises:
        ConfigError: it isn't known, it was distilled to few steps, or it takes no such options.
    """
    known = {
        "FluxKontextPipeline": _KONTEXT,
        "QwenImageEditPipeline": _QWEN_EDIT,
        "QwenImageEditPlusPipeline": _QWEN_EDIT_PLUS,
        "Flux2KleinPipeline": _KLEIN,
    }
    if name not in known:
        raise ConfigError(
            f"editor.pipeline: a {name} can't be taught here; these can: {', '.join(sorted(known))}"
        )
    if index.get("is_distilled") and not force:
        raise ConfigError(
            "editor.weights: this model was distilled to few steps, and flow matching would undo that; take "
            "the base model that it was made from" + (", or set force: true" if force is not None else "")
        )
    flow, length = known[name], options.get("max_sequence_length")
    if length is not None and flow.longest is None:
        raise ConfigError(
            f"editor.max_sequence_length: a {name} encodes a prompt at its own length; leave it out"
        )
    if length is not None and length > (flow.longest or 0):
        # The edit job that is to use what was learned would refuse each record.
        raise ConfigError(
            f"editor.max_sequence_length: is {length}, and a {name} takes {flow.longest} at most"
        )
    return flow


def shift_by_scheduler(flow: Flow, settings: Mapping[str, Any], tokens: int) -> float:
    """The factor by which the family's scheduler shifts times for an image of so many tokens.

    Args:
        flow: the family's.
        settings: `scheduler_config.json`.
        tokens: N.
    """
    if not settings.get("use_dynamic_shifting"):
        return float(settings.get("shift", 1.0))
    mu = flow.compute_mu(settings, tokens)
    # diffusers: sigma' = f / (f + 1 / sigma - 1), and f is mu itself, or by default its exponential
    return mu if settings.get("time_shift_type") == "linear" else math.exp(mu)


def _encode_kontext_image(pipe: Any, image: Image.Image) -> Tensor:
    return _pack(pipe._encode_vae_image(_prepare(pipe, image), None))


def _encode_kontext_prompt(
    pipe: Any, source: Image.Image, instruction: str, options: Mapping[str, int]
) -> dict[str, Tensor]:
    prompt, pooled, _ = pipe.encode_prompt(prompt=[instruction], prompt_2=None, **options)
    return {PROMPT: prompt[0], POOLED: pooled[0]}


def _predict_kontext(
    transformer: Any,
    points: Tensor,
    times: Tensor,
    parts: Mapping[str, Tensor],
    grid: tuple[int, int],
    guidance: float,
) -> Tensor:
    import torch

    source, prompt = parts[SOURCE], parts[PROMPT]
    places = torch.cat([_place(grid, 0, points, 3), _place(source.shape[1:3], 1, points, 3)])
    scale = torch.full_like(times, guidance) if transformer.config.guidance_embeds else None
    found = transformer(
        hidden_states=torch.cat([points, source.flatten(1, 2)], dim=1),
        timestep=times,
        guidance=scale,
        pooled_projections=parts[POOLED],
        encoder_hidden_states=prompt,
        txt_ids=torch.zeros(prompt.shape[1], 3, device=points.device, dtype=points.dtype),
        img_ids=places,
        return_dict=False,
    )[0]
    return found[:, : points.shape[1]]


def _encode_qwen_image(pipe: Any, image: Image.Image) -> Tensor:
    return _pack(pipe._encode_vae_image(_prepare(pipe, image).unsqueeze(2), None)[:, :, 0])


def _encode_qwen_prompt(
    pipe: Any, source: Image.Image, instruction: str, options: Mapping[str, int], *, seen_area: int
) -> dict[str, Tensor]:
    seen = pipe.image_processor.resize(source, *choose_seen_size(source.size, seen_area))
    prompt, _ = encode_prompts(pipe, [instruction], [seen])
    return {PROMPT: prompt[0]}


def _predict_qwen(
    transformer: Any,
    points: Tensor,
    times: Tensor,
    parts: Mapping[str, Tensor],
    grid: tuple[int, int],
    guidance: float,
) -> Tensor:
    import torch

    source, mask = parts[SOURCE], parts["mask"]
    found = transformer(
        hidden_states=torch.cat([points, source.flatten(1, 2)], dim=1),
        timestep=times,
        encoder_hidden_states_mask=None if bool(mask.all()) else mask,
        encoder_hidden_states=parts[PROMPT],
        img_shapes=[[(1, *grid), (1, *source.shape[1:3])]] * len(points),
        return_dict=False,
    )[0]
    return found[:, : points.shape[1]]


def _encode_klein_image(pipe: Any, image: Image.Image) -> Tensor:
    return pipe._encode_vae_image(_prepare(pipe, image), None)[0].permute(1, 2, 0)


def _encode_klein_prompt(
    pipe: Any, source: Image.Image, instruction: str, options: Mapping[str, int]
) -> dict[str, Tensor]:
    prompt, _ = pipe.encode_prompt(prompt=[instruction], **options)
    return {PROMPT: prompt[0]}


def _predict_klein(
    transformer: Any,
    points: Tensor,
    times: Tensor,
    parts: Mapping[str, Tensor],
    grid: tuple[int, int],
    guidance: float,
) -> Tensor:
    import torch

    source, prompt = parts[SOURCE], parts[PROMPT]
    # The time of a first reference is 10 in the pipeline; text is numbered in its last place.
    places = torch.cat([_place(grid, 0, points, 4), _place(source.shape[1:3], 10, points, 4)])
    words = torch.zeros(prompt.shape[1], 4, device=points.device)
    words[:, 3] = torch.arange(prompt.shape[1], device=points.device)
    found = transformer(
        hidden_states=torch.cat([points, source.flatten(1, 2)], dim=1),
        timestep=times,
        guidance=None,
        encoder_hidden_states=prompt,
        txt_ids=words.expand(len(points), -1, -1),
        img_ids=places.expand(len(points), -1, -1),
        return_dict=False,
    )[0]
    return found[:, : points.shape[1]]


def _prepare(pipe: Any, image: Image.Image) -> Tensor:
    """(1, 3, height, width) in [-1, 1], as the VAE takes it."""
    pixels = pipe.image_processor.preprocess(image, image.height, image.width)
    return pixels.to(device=pipe.vae.device, dtype=pipe.vae.dtype)


def _pack(latents_1_C_H_W: Tensor) -> Tensor:
    """Latents (H / 2, W / 2, 4 C): a token is made of 2 x 2 places, channel by channel."""
    _, channels, height, width = latents_1_C_H_W.shape
    cut = latents_1_C_H_W.reshape(channels, height // 2, 2, width // 2, 2)
    return cut.permute(1, 3, 0, 2, 4).reshape(height // 2, width // 2, channels * 4)


def _place(grid: Sequence[int], image: int, like: Tensor, axes: int) -> Tensor:
    """Where each token of an image is: (N, axes). The first axis says of which image, the next two
    its row and column."""
    import torch

    places = torch.zeros(*grid, axes, device=like.device)
    places[..., 0] = image
    places[..., 1] = torch.arange(grid[0], device=like.device)[:, None]
    places[..., 2] = torch.arange(grid[1], device=like.device)
    return places.flatten(0, 1).to(like.dtype)


def _compute_linear_mu(settings: Mapping[str, Any], tokens: int) -> float:
    """FLUX.1's and Qwen-Image's: linear in the number of tokens."""
    few, many = settings.get("base_image_seq_len", 256), settings.get("max_image_seq_len", 4096)
    low, high = settings.get("base_shift", 0.5), settings.get("max_shift", 1.15)
    return low + (tokens - few) * (high - low) / (many - few)


def _compute_klein_mu(settings: Mapping[str, Any], tokens: int) -> float:
    """FLUX.2's own fit, at the fifty steps of its base models."""
    from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

    return compute_empirical_mu(image_seq_len=tokens, num_steps=50)


_KONTEXT = Flow(
    encode_image=_encode_kontext_image,
    encode_prompt=_encode_kontext_prompt,
    predict=_predict_kontext,
    compute_mu=_compute_linear_mu,
    targets=(
        *_ATTENTION,
        "ff.net.0.proj",
        "ff.net.2",
        "ff_context.net.0.proj",
        "ff_context.net.2",
        "proj_mlp",
        "proj_out",
    ),
    longest=512,
)
_QWEN_EDIT = Flow(
    encode_image=_encode_qwen_image,
    encode_prompt=partial(_encode_qwen_prompt, seen_area=SEEN_AREA),
    predict=_predict_qwen,
    compute_mu=_compute_linear_mu,
    targets=(*_ATTENTION, "img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2"),
    rests=True,  # the last block's text is read by nobody
)
_QWEN_EDIT_PLUS = replace(_QWEN_EDIT, encode_prompt=partial(_encode_qwen_prompt, seen_area=PLUS_SEEN_AREA))
_KLEIN = Flow(
    encode_image=_encode_klein_image,
    encode_prompt=_encode_klein_prompt,
    predict=_predict_klein,
    compute_mu=_compute_klein_mu,
    targets=(*_ATTENTION, "linear_in", "linear_out", "to_qkv_mlp_proj", "to_out"),
    longest=4_096,
)
