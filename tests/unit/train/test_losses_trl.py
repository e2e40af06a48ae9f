"""Our loss and its gradient against those of TRL's own trainer: one tiny real model, one batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mira_batch.train.losses import IGNORED, Level, Normalisation, policy_loss, token_logprobs

LONGEST = 9
PROMPT = 5


@pytest.fixture(scope="module")
def model(tiny_models: Path) -> Iterator[Any]:
    from transformers import Qwen2_5_VLForConditionalGeneration

    yield Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny_models / "qwen2.5-vl", dtype=torch.float32)


@pytest.fixture(scope="module")
def batch(model: Any) -> dict[str, Tensor]:
    """Four answers of 9, 4, 7 and 1 tokens, drawn by another policy than the model, and held against a third."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(20, 500, (4, PROMPT + LONGEST), generator=draw)
    mask = (torch.arange(LONGEST) < torch.tensor([[9], [4], [7], [1]])).long()
    labels = torch.cat([torch.full((4, PROMPT), IGNORED), ids[:, PROMPT:].masked_fill(mask == 0, IGNORED)], 1)
    with torch.no_grad():
        logprobs = compute_logprobs(model, ids, mask, labels)[0]
    noise = [0.3 * torch.randn(logprobs.shape, generator=draw) for _ in range(2)]
    return {
        "prompt_ids": ids[:, :PROMPT],
        "prompt_mask": torch.ones(4, PROMPT, dtype=torch.long),
        "completion_ids": ids[:, PROMPT:],
        "completion_mask": mask,
        "labels": labels,
        "advantages": torch.tensor([1.2, -0.7, 0.4, -1.1]),
        "old_per_token_logps": logprobs + noise[0],
        "ref_per_token_logps": logprobs + noise[1],
        "num_items_in_batch": mask.sum(),
    }


def compute_logprobs(model: Any, ids: Tensor, mask: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    attended = torch.cat([torch.ones(len(ids), PROMPT, dtype=torch.long), mask], 1)
    logits = model(input_ids=ids, attention_mask=attended).logits
    logprobs, counted = token_logprobs(logits, labels)
    return logprobs[:, PROMPT - 1 :], counted[:, PROMPT - 1 :]


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.filterwarnings("ignore")  # TRL's own, of what will change in its next version
@pytest.mark.parametrize(
    ("by", "level", "low", "high", "kl_weight"),
    [
        ("dapo", "token", 0.2, 0.28, 0.0),
        ("dapo", "token", 0.2, 0.28, 0.04),
        ("grpo", "token", 0.2, 0.2, 0.0),
        ("dr_grpo", "token", 0.2, 0.28, 0.04),
        ("grpo", "sequence", 0.03, 0.04, 0.0),
    ],
)
def test_loss_and_gradient_are_trls(
    model: Any,
    batch: dict[str, Tensor],
    tiny_models: Path,
    tmp_path: Path,
    by: Normalisation,
    level: Level,
    low: float,
    high: float,
    kl_weight: float,
) -> None:
    import datasets
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(
        output_dir=str(tmp_path),
        loss_type=by,
        importance_sampling_level=level,
        epsilon=low,
        epsilon_high=high,
        beta=kl_weight,
        use_bias_correction_kl=False,  # a factor on the divergence that the papers above do not have
        num_generations=4,
        per_device_train_batch_size=4,
        max_completion_length=LONGEST,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
    )
    trainer = GRPOTrainer(
        model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=datasets.Dataset.from_dict({"prompt": ["a"] * 4}),
        processing_class=AutoTokenizer.from_pretrained(tiny_models / "qwen2.5-vl"),
    )
    trainer.current_gradient_accumulation_steps = 1
    model.train()
    theirs = trainer._compute_loss(model, dict(batch))
    their_gradients = gradients(model, theirs)

    logprobs, mask = compute_logprobs(
        model,
        torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
        batch["completion_mask"],
        batch["labels"],
    )
    ours = policy_loss(
        logprobs,
        batch["old_per_token_logps"],
        batch["advantages"],
        mask,
        low=low,
        high=high,
        level=level,
        by=by,
        constant=float(LONGEST) if by == "dr_grpo" else None,
        reference_B_T=batch["ref_per_token_logps"] if kl_weight else None,
        kl_weight=kl_weight,
    )
    assert float(ours.loss.detach()) == pytest.approx(float(theirs.detach()), abs=1e-6)
    assert 0 < ours.clipped < 1  # or the clip would not have been compared
    our_gradients = gradients(model, ours.loss)
    assert our_gradients.keys() == their_gradients.keys()
    largest = max(float(gradient.abs().max()) for gradient in their_gradients.values())
    for name, gradient in our_gradients.items():
        assert torch.allclose(gradient, their_gradients[name], atol=1e-5 * max(1.0, largest)), name
