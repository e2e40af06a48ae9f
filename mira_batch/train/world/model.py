"""A Qwen2.5-VL of the world's size: the real class and the real processor, about a million weights, and a
tokenizer to which each word of the world is one token.

A cell of a scene is one image token: 16 pixels are two patches of 8, and two by two of these are merged. What
it answers before it is trained is nonsense.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mira_batch.core.actions import format_action
from mira_batch.core.errors import ConfigError
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import Prompt, build_prompt
from mira_batch.core.types import Edit, Frame, Step, StopAction
from mira_batch.models.qwen import batch_windows
from mira_batch.models.tiny import (
    CHAT_TEMPLATE,
    count_vocabulary,
    find_text_ids,
    find_token_ids,
    learn_tokenizer,
    set_ends,
)
from mira_batch.models.torch_support import prepare
from mira_batch.train.world.captions import ASK, write_caption
from mira_batch.train.world.edits import apply_edit, say_edit
from mira_batch.train.world.expert import find_next, make_mistake
from mira_batch.train.world.questions import COMPARE, ask_where, change_scene, tell_changes
from mira_batch.train.world.scenes import CELL, MOST_CELLS, SMALL, World
from mira_batch.train.world.tasks import generate_tasks

HIDDEN = 128
"""Width of the text model."""
_LAYERS, _HEADS, _VISION_HIDDEN = 3, 4, 96
_SPREAD = 0.06
"""Standard deviation of the text model's first weights. The usual 0.02 is far too small at this width: for
hundreds of steps nothing is learned from the image."""
_THETA = 1_000.0
"""Base of the rotary frequencies."""
_SECTIONS = (2, 3)
"""Rotary dimensions of time and of height, which come first; the width has the others. Of those most turn so
slowly that a word finds its like at any distance; the first still tell a column from the next."""
_CORPUS_TASKS = 300


def write_base(directory: Path, seed: int = 0, world: World = SMALL) -> None:
    """Write an untrained model as `save_pretrained` does: model, tokenizer, processor, chat template.

    Args:
        directory: where; it must be new or empty.
        seed: of the weights. The same seed gives the same bytes.
        world: whose words are tokens.

    Raises:
        ConfigError: there is something in the directory.
    """
    check_vacant(directory)
    model, processor = build_base(seed, world)
    save_base(directory, model, processor)


def save_base(directory: Path, model: Any, processor: Any) -> None:
    """Write a model with its processor."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save_pretrained(directory)
    processor.save_pretrained(directory)


def check_vacant(directory: Path) -> None:
    """
    Raises:
        ConfigError: the directory is a file, or holds anything.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} is there already; name a new or empty directory for the model")


def fill_directory(directory: Path, save: Callable[[Path], None]) -> None:
    """Write a model's files so that the directory appears when all are there.

    Args:
        directory: where; vacant.
        save: writes them into a directory beside it.
    """
    unfinished = directory.with_name(f"{directory.name}.{os.getpid()}.unfinished")
    try:
        save(unfinished)
        if directory.exists():
            directory.rmdir()
        unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def build_base(seed: int = 0, world: World = SMALL) -> tuple[Any, Any]:
    """An untrained model and its processor; torch's own generator is left as it was.

    Args:
        seed: of the weights.
        world: whose words are tokens.
    """
    prepare()
    import torch
    from transformers import (
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = learn_tokenizer([*list_sentences(world)])
    size = {"shortest_edge": CELL**2, "longest_edge": (MOST_CELLS * CELL) ** 2}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, patch_size=CELL // 2),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size, patch_size=CELL // 2),
        chat_template=CHAT_TEMPLATE,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(_configure(tokenizer)).float().eval()
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                spread = weight[0].numel() ** -0.5 if "visual" in name else _SPREAD
                torch.nn.init.normal_(weight, std=spread)
    set_ends(model, tokenizer)
    batch_windows(model)
    return model, processor


def _configure(tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLConfig

    pairs = HIDDEN // _HEADS // 2  # of rotary dimensions: for time, height and width
    text = {
        "vocab_size": count_vocabulary(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 3 * HIDDEN,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "max_position_embeddings": 1_024,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": _THETA,
            "mrope_section": [*_SECTIONS, pairs - sum(_SECTIONS)],
        },
        "tie_word_embeddings": True,
        **find_text_ids(tokenizer),
    }
    vision = {
        "depth": 2,
        "hidden_size": _VISION_HIDDEN,
        "intermediate_size": 2 * _VISION_HIDDEN,
        "num_heads": 4,
        "out_hidden_size": HIDDEN,
        "patch_size": CELL // 2,
        "window_size": MOST_CELLS * CELL,  # the whole scene
        "fullatt_block_indexes": [1],
    }
    return Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True, **find_token_ids(tokenizer)
    )


def list_sentences(world: World = SMALL) -> Iterator[str]:
    """What is asked and said in the world, for a tokenizer to learn its words from: the same texts each
    time."""
    yield "system\nuser\nassistant\n"
    for asked in (ASK, COMPARE):
        yield from _write_texts(build_prompt(_ask(asked), form="short"))
    rng = random.Random(0)
    for task in generate_tasks("train", _CORPUS_TASKS, world=world):
        scene, history = task.scene, []
        yield write_caption(scene, rng)
        changed = change_scene(scene, world, rng)
        yield tell_changes(scene, changed, rng)
        asked, answer = ask_where(scene, changed, world, rng)
        yield from (*_write_texts(build_prompt(_ask(asked), form="short")), answer)
        for _ in range(2 * len(task.kinds) + 2):
            yield from _write_texts(build_prompt(_ask(task.instruction, tuple(history)), form="short"))
            step = find_next(task.goal, scene)
            if step.edit is None:
                yield format_action(StopAction("done", step.thought))
                break
            edit = step.edit
            if len(history) < 2 and rng.random() < 0.3:
                edit = make_mistake(task.goal, scene, rng) or edit
            yield format_action(Edit(say_edit(edit), step.thought))
            history.append(Step(len(history), "", say_edit(edit), "", 0, 0, "", ""))
            scene = apply_edit(scene, edit)


def _ask(instruction: str, history: tuple[Step, ...] = ()) -> PolicyRequest:
    """A request whose words alone matter."""
    return PolicyRequest("", instruction, Frame(None, "original"), Frame(None, "current"), history, seed=0)


def _write_texts(prompt: Prompt) -> Iterator[str]:
    yield prompt.system
    yield from (part for part in prompt.parts if isinstance(part, str))
