"""Samples as a Qwen-VL is trained on them: the question by the code that asks it in a job, then the answer.

Only the answer is learned, with the token that ends it: `labels` are the ids of its tokens, and `IGNORED`
everywhere else. Nothing is ever cut: what the model has no room for is an error that names the sample, and so
is a number of image tokens that doesn't fit the images.

Shapes: B rows, T tokens of the longest row, P image patches of the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mira_batch.config.models.local import PromptConfig
from mira_batch.config.shared import ManifestConfig
from mira_batch.core.actions import parse_action
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.pixels import MOST_PIXELS
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import Prompt, build_prompt
from mira_batch.core.thoughts import ends_in_thought
from mira_batch.core.types import ErrorKind, Frame, MalformedAction, Step
from mira_batch.models.qwen import collate, encode_prompt, find_end_tokens, write_chat
from mira_batch.storage.images import decode
from mira_batch.train.losses import IGNORED

if TYPE_CHECKING:
    from torch import Tensor

_THOUGHT = "<think>"


class SampleEncoder:
    """Turns samples into rows of one model, and rows into batches."""

    def __init__(self, processor: Any, model: Any, prompt: PromptConfig) -> None:
        """Look up which tokens images and the end of an answer are.

        Args:
            processor: of the model, from `load_processor`.
            model: of transformers.
            prompt: what the policy is shown and told.

        Raises:
            ConfigError: the tokenizer's end is none at which the model's answers end.
        """
        self.processor = processor
        self.pad: int = processor.tokenizer.pad_token_id
        self._prompt = prompt
        self._image: int = model.config.image_token_id
        self._merged = processor.image_processor.merge_size**2
        self._room: int = model.config.get_text_config().max_position_embeddings
        self._in_thought = ends_in_thought(write_chat(processor, Prompt("", ("",))))
        self._end: int = processor.tokenizer.eos_token_id
        if self._end not in find_end_tokens(model, processor.tokenizer):
            raise ConfigError(
                f"model.weights: a turn ends by token {self._end}, by which the generation config "
                "ends no answer; take the files of one model"
            )

    def encode_sample(self, sample: Mapping[str, Any], blank: bool = False) -> dict[str, Tensor]:
        """A row of question and answer, in a batch of one.

        Args:
            sample: a row of `storage.samples.SAMPLES`.
            blank: show grey in place of its images: what the model makes of the words alone.

        Raises:
            ConfigError: its answer is malformed, an image is missing or can't be shown, the model has no room
                for it, or image tokens don't fit the images. It names the sample.
        """
        name = f"sample {sample['sample_id']}"
        action = parse_action(sample["answer"] or "")
        if isinstance(action, MalformedAction):
            raise ConfigError(f"{name}: its answer is malformed: {action.problem}")
        try:
            row = self.encode_question(build_request(sample, blank))
        except RecordError as error:
            raise ConfigError(f"{name}: {error}") from error
        ids = self._encode_answer(sample["answer"], name)
        whole = add_answer(row, ids)
        self.check_images([name], whole)
        tokens = whole["input_ids"].shape[1]
        if tokens > self._room:
            raise ConfigError(
                f"{name}: question and answer have {tokens} tokens, and the model takes {self._room}; "
                "nothing is cut: lower prompt.max_pixels, or leave the sample out"
            )
        return whole

    def encode_question(self, request: PolicyRequest) -> Mapping[str, Tensor]:
        """The question alone, as a policy is asked it in a job.

        Raises:
            RecordError: an image can't be shown.
        """
        # Each setting but the size of images is an argument of the prompt, by its own name.
        told = self._prompt.model_dump(exclude={"max_pixels"})
        return encode_prompt(self.processor, build_prompt(request, **told), ErrorKind.policy_failed)

    def collate(self, rows: Sequence[Mapping[str, Tensor]], names: Sequence[str]) -> dict[str, Tensor]:
        """Rows as one batch, padded on the right.

        Args:
            rows: from `encode_sample`.
            names: of the samples, for errors.

        Raises:
            ConfigError: image tokens don't fit the images.
        """
        batch = collate(rows, self.pad, "right")
        self.check_images(names, batch)
        return batch

    def check_images(self, names: Sequence[str], batch: Mapping[str, Tensor]) -> None:
        """See that a batch has a token for each merged patch of its images, row by row as in all.

        Args:
            names: of the samples, one a row.
            batch: with `input_ids` (B, T), `image_grid_thw` (images, 3) and `pixel_values` (P, …).

        Raises:
            ConfigError: it hasn't; names the sample.
        """
        grids, there = batch["image_grid_thw"].prod(-1), batch["pixel_values"].shape[0]
        if int(grids.sum()) != there:
            raise ConfigError(
                f"{', '.join(names)}: images of {int(grids.sum())} patches, and {there} of them are there"
            )
        wanted = [int(patches) // self._merged for patches in grids]
        for name, ids in zip(names, batch["input_ids"], strict=True):
            there = int((ids == self._image).sum())
            had = there
            while there > 0 and wanted:
                there -= wanted.pop(0)
            if there:
                raise ConfigError(
                    f"{name}: {had} image tokens don't fit its images; they were cut, or it has other images"
                )
        if wanted:
            raise ConfigError(f"{names[-1]}: {len(wanted)} images have no tokens; they were cut")

    def _encode_answer(self, answer: str, name: str) -> list[int]:
        if self._in_thought:
            if not answer.startswith(_THOUGHT):
                raise ConfigError(
                    f"{name}: its answer has no thought, and the model's chat template begins one; take an "
                    "instruct model"
                )
            answer = answer.removeprefix(_THOUGHT)
        return [*self.processor.tokenizer(answer, add_special_tokens=False)["input_ids"], self._end]


def add_answer(row: Mapping[str, Tensor], ids: Sequence[int]) -> dict[str, Tensor]:
    """A question with its answer after it, and labels of the answer alone.

    Args:
        row: a question in a batch of one.
        ids: tokens of the answer, its end included.
    """
    import torch

    answer = torch.tensor([list(ids)])
    asked = row["input_ids"]
    whole = {
        "input_ids": torch.cat([asked, answer], 1),
        "attention_mask": torch.cat([row["attention_mask"], torch.ones_like(answer)], 1),
        "labels": torch.cat([torch.full_like(asked, IGNORED), answer], 1),
    }
    if "mm_token_type_ids" in row:
        kinds = row["mm_token_type_ids"]
        whole["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(answer, dtype=kinds.dtype)], 1)
    return {**row, **whole}


def build_request(sample: Mapping[str, Any], blank: bool = False) -> PolicyRequest:
    """The question of a sample, as the loop asks it.

    Args:
        sample: a row of `storage.samples.SAMPLES`.
        blank: with grey images of the same sizes.

    Raises:
        RecordError: an image is missing or can't be decoded.
    """
    original = _read_image(sample, "original")
    current = original if sample["current"] is None else _read_image(sample, "current")
    if blank:
        original, current = (
            make_blank(original, 128),
            make_blank(current, 128 if current.digest == original.digest else 127),
        )
    steps = tuple(
        Step(index, "", past["instruction"], "", 0, 0, "", "", past["accepted"])
        for index, past in enumerate(sample["history"] or ())
    )
    return PolicyRequest(sample["sample_id"], sample["instruction"], original, current, steps, seed=0)


def _read_image(sample: Mapping[str, Any], name: str) -> Frame:
    image = sample[name]
    if image is None or image["bytes"] is None:
        raise RecordError(
            ErrorKind.image_unreadable,
            f"its {name} image is not in the file; construct keeps images as bytes",
        )
    bounds = ManifestConfig(manifest=".", max_pixels=MOST_PIXELS)
    return frame_of(decode(image["bytes"], f"its {name} image", bounds))


def make_blank(frame: Frame, grey: int) -> Frame:
    """An image of the same size and one grey.

    Args:
        frame: in whose place it is shown.
        grey: 0 to 255.
    """
    from PIL import Image

    return frame_of(Image.new("RGB", frame.size, (grey, grey, grey)))
