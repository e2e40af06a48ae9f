"""Tiny models of the real classes for the tests, and one that has learned to go through the loop."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from mira_batch.config.models.local import QwenVLConfig
from mira_batch.core.actions import format_action
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.types import Edit, Frame, Step, StopAction, Weights
from mira_batch.models.qwen.model import collate
from mira_batch.models.qwen.policy import QwenVLPolicy

FIRST = Edit("make it brighter")
"""What the trained policy answers while no edit has been made …"""
THEN = StopAction("done")
"""… and what as soon as one has."""
_WORDS = """
    remove make it the a car sky red blue brighter darker larger and then replace dog with cat wall of left,
    rotate 90 degrees turn purple; invert colors every person in frame gold warmer sharpen crop flip text
"""
_STEPS, _BATCH = 60, 6


def trained_policy(tiny_models: Path) -> Path:
    """Directory of a tiny Qwen2.5-VL that answers `FIRST` and `THEN`; trained once for each `tiny_models`."""
    directory = tiny_models / "trained-policy"
    if not directory.exists():
        _train(tiny_models / "qwen2.5-vl", unfinished := directory.with_suffix(".unfinished"))
        unfinished.rename(directory)
    return directory


def policy_of(directory: Path, seed: str = "tiny", **settings: Any) -> QwenVLPolicy:
    """A policy from a tiny model's directory, in float32 on the CPU and with short answers."""
    given = {"type": "qwen_vl", "weights": str(directory), "dtype": "float32", "devices": ["cpu"], **settings}
    given.setdefault("sampling", {"max_tokens": 24})
    config = QwenVLConfig.model_validate(given)
    return QwenVLPolicy(config, Weights(config.weights, seed), "cpu")


def write_adapter(model: Path, target: Path) -> Path:
    """A LoRA adapter of a tiny model, as peft saves it, with weights that matter."""
    import torch
    from peft import LoraConfig

    tuned = policy_of(model).model
    tuned.add_adapter(LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=generator)
    tuned.save_pretrained(target)
    return target


def noise(width: int, height: int, seed: object, mode: str = "RGB") -> Frame:
    """An image of which no two parts look alike."""
    data = random.Random(repr(seed)).randbytes(width * height * len(mode))
    return frame_of(Image.frombytes(mode, (width, height), data))


def a_step(index: int, before: Frame, after: Frame, edit: str = "", accepted: bool = True) -> Step:
    named = edit or f"make it brighter by {index + 1}"
    return Step(index, "", named, f"<edit>{named}</edit>", 0, 0, before.digest, after.digest, accepted)


def _train(source: Path, target: Path) -> None:
    """Teach a tiny model the two answers: cross-entropy on the answer's tokens, over random requests."""
    import torch

    policy = policy_of(source)
    model, processor = policy.model, policy.processor
    draw = random.Random(0)
    answers = {
        kind: processor.tokenizer(format_action(kind) + "<|im_end|>", return_tensors="pt")["input_ids"]
        for kind in (FIRST, THEN)
    }
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.requires_grad_("visual" not in name)
            if weight.requires_grad and weight.dim() >= 2:  # the tiny models' own are too loud to learn from
                weight.normal_(std=0.02, generator=generator)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=5e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=_STEPS)
    for _ in range(_STEPS):
        loss = _loss(model, processor, answers, _examples(policy, draw))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    model.save_pretrained(target)
    processor.save_pretrained(target)


def _examples(policy: QwenVLPolicy, draw: random.Random) -> list[tuple[Any, Edit | StopAction]]:
    """Encoded requests with the answer to each, half of them at step 0."""
    found: list[tuple[Any, Edit | StopAction]] = []
    for number in range(_BATCH):
        frames = [noise(draw.randint(8, 300), draw.randint(8, 300), draw.random()) for _ in range(2)]
        begun = number % 2 == 1
        wanted = " ".join(draw.choices(_WORDS.split(), k=draw.randint(2, 12)))
        step = a_step(0, frames[0], frames[1], " ".join(draw.choices(_WORDS.split(), k=draw.randint(2, 6))))
        request = PolicyRequest(
            "r", wanted, frames[0], frames[int(begun)], (step,) if begun else (), draw.randrange(2**31)
        )
        found.append((policy.encode(request), THEN if begun else FIRST))
    return found


def _loss(model: Any, processor: Any, answers: Any, examples: Sequence[tuple[Any, Edit | StopAction]]) -> Any:
    import torch

    rows, targets = [], []
    longest = max(ids.shape[1] for ids in answers.values())
    for row, kind in examples:
        ids = answers[kind]
        padded = torch.nn.functional.pad(
            ids, (0, longest - ids.shape[1]), value=processor.tokenizer.pad_token_id
        )
        targets.append(torch.nn.functional.pad(ids, (0, longest - ids.shape[1]), value=-100))
        one = torch.ones_like(padded)
        rows.append(
            {
                **row,
                "input_ids": torch.cat([row["input_ids"], padded], dim=1),
                "attention_mask": torch.cat([row["attention_mask"], one], dim=1),
                "mm_token_type_ids": torch.cat([row["mm_token_type_ids"], 0 * one], dim=1),
            }
        )
    logits = model(**collate(rows, processor.tokenizer.pad_token_id), logits_to_keep=longest + 1).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), torch.cat(targets).flatten())
