"""Attention of the vision tower, many windows at a time.

A tower attends within an image, and in most layers within windows of it. With `sdpa` transformers (5.23.0)
makes a call for each of these, in a loop: for an image of 1024 x 576 a Qwen2.5-VL makes over 1,200, and for a
batch of images as many times that. What is of one length needs no loop, and an image has windows of four
lengths at most: within it, at its right edge, at its lower edge, and in the corner.

Shapes: H heads, S patches of a whole batch, D width of a head; W windows of one length L.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_NAME = "sdpa_windows_as_flash"
"""What transformers knows it by. To those that have "flash" in their name it gives whole batches, with the
bounds of the windows in them."""


def batch_windows(model: Any) -> None:
    """Have the vision tower of a model attend by `attend_windows`.

    Args:
        model: a Qwen-VL of transformers that attends by `sdpa`.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, attend_windows)
    model.set_attn_implementation({"vision_config": _NAME})


def attend_windows(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None = None,
    *,
    scaling: float,
    dropout: float,
    cu_seq_lens_q: Tensor,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention of each window by itself, a call for each length of windows.

    Args:
        module: the layer, which isn't needed.
        query: (1, H, S, D).
        key: (1, H, S, D).
        value: (1, H, S, D).
        attention_mask: there is none: a patch sees all of its window.
        scaling: of the products.
        dropout: share of the weights that are dropped.
        cu_seq_lens_q: where windows begin, and S; (windows + 1,), rising.
        kwargs: what other attentions are told.

    Returns:
        (1, S, H, D), and no weights.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    bounds = cu_seq_lens_q.tolist()
    starts = defaultdict(list)
    for start, end in zip(bounds, bounds[1:], strict=False):
        starts[end - start].append(start)

    def attend(*states_H_S_D: Tensor, length: int) -> Tensor:
        windows_W_H_L_D = (each.unflatten(1, (-1, length)).transpose(0, 1) for each in states_H_S_D)
        found_W_H_L_D = scaled_dot_product_attention(*windows_W_H_L_D, dropout_p=dropout, scale=scaling)
        return found_W_H_L_D.transpose(1, 2).flatten(0, 1)

    states_H_S_D = (query[0], key[0], value[0])
    if len(starts) == 1:
        return attend(*states_H_S_D, length=next(iter(starts))).unsqueeze(0), None
    places, parts = [], []
    for length, begins in starts.items():
        offsets = torch.arange(length, device=query.device)
        place = (torch.tensor(begins, device=query.device)[:, None] + offsets).flatten()
        parts.append(attend(*(each[:, place] for each in states_H_S_D), length=length))
        places.append(place)
    back = torch.cat(places).argsort()
    return torch.cat(parts)[back].unsqueeze(0), None
