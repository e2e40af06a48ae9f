"""The synthetic world's Qwen2.5-VL, taught no more than the form of an answer: what it draws is well-formed
as a rule, and right by chance, which is what rewards differ by."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from mira_batch.config.models.local import PromptConfig
from mira_batch.core.actions import format_action
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.types import Edit, Step, StopAction
from mira_batch.train.encoding import SampleEncoder, add_answer
from mira_batch.train.losses import token_logprobs
from mira_batch.train.measure import forward_answers
from mira_batch.train.world.edits import say_edit
from mira_batch.train.world.expert import find_next
from mira_batch.train.world.model import build_base, save_base
from mira_batch.train.world.scenes import render
from mira_batch.train.world.tasks import generate_tasks

_STEPS, _BATCH = 50, 6


def write_taught(directory: Path) -> Path:
    """Write the model; the same bytes each time on one machine."""
    import torch

    model, processor = build_base()
    encoder = SampleEncoder(processor, model, PromptConfig(form="short"))
    rows = _encode_examples(encoder, processor)
    draw = random.Random(0)
    model.get_submodule("model.visual").requires_grad_(False)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=3e-3, weight_decay=0.0)
    model.train()
    for _ in range(_STEPS):
        batch = encoder.collate(draw.sample(rows, _BATCH), [""] * _BATCH)
        logprobs, mask = token_logprobs(*forward_answers(model, batch))
        loss = -logprobs.sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    model.eval()
    directory.mkdir(parents=True)
    save_base(directory, model, processor)
    return directory


def _encode_examples(encoder: SampleEncoder, processor: Any) -> list[Any]:
    rows = []
    for number, task in enumerate(generate_tasks("train", 24)):
        original = frame_of(render(task.scene))
        edit = find_next(task.goal, task.scene).edit
        assert edit is not None
        done = number % 3 == 2
        step = Step(0, "", say_edit(edit), "", 0, 0, "", "")
        request = PolicyRequest("", task.instruction, original, original, (step,) if done else (), seed=0)
        action = StopAction("done") if done else Edit(say_edit(edit))
        text = format_action(action)
        ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        rows.append(add_answer(encoder.encode_question(request), [*ids, processor.tokenizer.eos_token_id]))
    return rows
