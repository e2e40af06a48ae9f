"""Prompts that several rows of a batch have in common are run once: proposals at one state, rollouts of one
record, samples of one question.

With the cache of keys and values in hand, what a row costs is its answer alone; at 7B a prompt with two
images is some thousand tokens, and an answer a few dozen.

Shapes: B rows, D distinct rows, T tokens of the longest prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_PER_TOKEN = ("input_ids", "attention_mask", "mm_token_type_ids")


def find_distinct(
    rows: Sequence[Mapping[str, Tensor]],
) -> tuple[list[Mapping[str, Tensor]], list[int]]:
    """The D distinct rows in the order of their first, and the place among them of each of B.

    Args:
        rows: equal ones are one object, as `QwenVL` encodes them. Where a row shows no image all are taken
            for distinct, since `share_prompts` knows only prompts that do.
    """
    if not all("pixel_values" in row for row in rows):
        return list(rows), list(range(len(rows)))
    places: dict[int, int] = {}
    distinct: list[Mapping[str, Tensor]] = []
    for row in rows:
        if places.setdefault(id(row), len(distinct)) == len(distinct):
            distinct.append(row)
    return distinct, [places[id(row)] for row in rows]


def share_prompts(model: Any, batch: Mapping[str, Tensor], places: Sequence[int]) -> dict[str, Any]:
    """Run distinct prompts up to their last token, and give what `generate` goes on with, row by row.

    Args:
        model: of transformers, a Qwen2.5-VL or Qwen3-VL.
        batch: of D distinct rows, padded on the left, with at least one image.
        places: of B rows, the place of each among the distinct.
    """
    import torch

    per_token = {name: batch[name] for name in _PER_TOKEN if name in batch}
    before = {name: value[:, :-1] for name, value in per_token.items()}
    images = {name: value for name, value in batch.items() if name not in per_token}
    cache = model(**before, **images, use_cache=True, logits_to_keep=1).past_key_values
    chosen_B = torch.tensor(places, device=batch["input_ids"].device)
    cache.batch_select_indices(chosen_B)
    # An image takes more tokens than positions; the model remembers by how many, for the rows it saw last.
    model.model.rope_deltas = model.model.rope_deltas[chosen_B]
    return {name: value[chosen_B] for name, value in per_token.items()} | {"past_key_values": cache}
