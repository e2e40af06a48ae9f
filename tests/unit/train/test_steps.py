"""What a training's trainer makes of its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.models.tiny import policy_of


@pytest.mark.parametrize("name", ["qwen2.5-vl", "qwen3-vl"])
def test_norms_do_not_decay(tiny_models: Path, tmp_path: Path, name: str) -> None:
    from transformers import Trainer, TrainingArguments

    from mira_batch.train.steps import guard_trainer

    watch: Any = None
    model = policy_of(tiny_models / name).model
    arguments = TrainingArguments(output_dir=str(tmp_path), weight_decay=0.1, use_cpu=True, report_to=[])
    trainer = guard_trainer(Trainer, model, watch)(model, args=arguments)
    sizes = {
        group["weight_decay"]: {weight.dim() for weight in group["params"]}
        for group in trainer.create_optimizer().param_groups
    }
    assert sizes[0.0] == {1}
    assert sizes[0.1] and min(sizes[0.1]) >= 2
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
