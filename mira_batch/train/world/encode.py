"""Scenes and captions as the world's model takes them: the same tokens and patches that the real processor
makes, without calling it for each image.

Shapes: B examples of a batch, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import build_prompt
from mira_batch.core.types import Frame
from mira_batch.train.world.captions import ASK
from mira_batch.train.world.scenes import Scene, Thing, draw_tiles

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""Label of a token that is no part of an answer."""


class Encoder:
    """Puts a scene's patches together from those that the real processor makes of each tile."""

    def __init__(self, processor: Any) -> None:
        from PIL import Image

        self._processor = processor
        self.tokenizer = processor.tokenizer
        self._patches: dict[Thing | None, Tensor] = {
            thing: processor.image_processor(images=[Image.fromarray(tile)], return_tensors="pt")[
                "pixel_values"
            ]
            for thing, tile in draw_tiles().items()
        }
        self._prompts: dict[tuple[int, int], str] = {}

    def encode_images(self, scenes: Sequence[Scene]) -> dict[str, Tensor]:
        """Scenes one after another, as the vision tower takes them."""
        import torch

        pixels = torch.cat([self._patches[thing] for scene in scenes for thing in scene.cells])
        grids = [[1, 2 * scene.size, 2 * scene.size] for scene in scenes]
        return {"pixel_values": pixels, "image_grid_thw": torch.tensor(grids)}

    def encode(
        self, shown: Sequence[Sequence[Scene]], asked: Sequence[str], answers: Sequence[str] | None
    ) -> dict[str, Tensor]:
        """A batch, padded on the right; without answers of prompts alone, which must be of one length.

        Args:
            shown: the images of each example, one or two of one size.
            asked: what stands in the place of an instruction.
            answers: what is to be said.
        """
        import torch

        end = self.tokenizer.eos_token_id
        texts = [
            self._write_prompt(len(images), images[0].size).replace(ASK, ask)
            for images, ask in zip(shown, asked, strict=True)
        ]
        prompts: list[list[int]] = self.tokenizer(texts)["input_ids"]
        told: list[list[int]] = [[] for _ in prompts]
        if answers is not None:
            told = [[*ids, end] for ids in self.tokenizer(list(answers))["input_ids"]]
        longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, told, strict=True))
        ids_B_T = torch.full((len(prompts), longest), self.tokenizer.pad_token_id)
        labels_B_T = torch.full_like(ids_B_T, IGNORED)
        mask_B_T = torch.zeros_like(ids_B_T)
        for row, (prompt, answer) in enumerate(zip(prompts, told, strict=True)):
            begin, stop = len(prompt), len(prompt) + len(answer)
            ids_B_T[row, :stop] = torch.tensor([*prompt, *answer])
            labels_B_T[row, begin:stop] = torch.tensor(answer, dtype=torch.long)
            mask_B_T[row, :stop] = 1
        batch = {
            "input_ids": ids_B_T,
            "attention_mask": mask_B_T,
            "mm_token_type_ids": (ids_B_T == self._processor.image_token_id).int(),
            **self.encode_images([scene for images in shown for scene in images]),
        }
        return batch if answers is None else batch | {"labels": labels_B_T}

    def _write_prompt(self, images: int, size: int) -> str:
        """The prompt of a caption in the form that a policy is asked in, by the model's own template."""
        if (images, size) not in self._prompts:
            frames = [Frame(None, str(number)) for number in range(images)]
            request = PolicyRequest("", ASK, frames[0], frames[-1], (), seed=0)
            prompt = build_prompt(request, form="short")
            content = [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                for part in prompt.parts
            ]
            messages = [
                {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
                {"role": "user", "content": content},
            ]
            text = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            slot = self._processor.image_token
            self._prompts[images, size] = text.replace(slot, slot * size**2)
        return self._prompts[images, size]
