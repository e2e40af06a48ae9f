"""TRL's trainer for demonstrations, with our data, our checkpoints and our guards.

What of it is the same whatever learns is in `steps.py`; here is what a policy's trainer has of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mira_batch.config.train import SftConfig
from mira_batch.models.torch_support import prepare
from mira_batch.train.sharding import choose_precision, choose_sharding, gather_head, share_on_cpus, share_out
from mira_batch.train.steps import Watch, guard_trainer, list_arguments, take_one_device, watch_trainer
from mira_batch.train.workers import name_rank


def make_trainer(
    config: SftConfig,
    model: Any,
    processor: Any,
    samples: int,
    collate: Callable[[list[dict[str, Any]]], dict[str, Any]],
    watch: Watch,
    folder: Path,
) -> Any:
    """TRL's trainer, ready to train.

    Args:
        config: of the training.
        model: from `load_learner`.
        processor: of the model.
        samples: how many are learned from, all epochs of them, in whole steps.
        collate: makes a batch of rows that hold the `number` of a sample each, in the order of the training.
        watch: what goes on beside.
        folder: for the trainer's own files on this machine.
    """
    import datasets
    from trl.trainer.sft_trainer import SFTTrainer

    sharded = config.workers.strategy == "fsdp2"
    part = f"_{name_rank()}" if sharded else ""

    class Trainer(guard_trainer(SFTTrainer, model, watch, part)):
        def _send_telemetry(self) -> None:
            """Nobody is told."""

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Ours is written at the end."""

    kind = Trainer
    if sharded:
        kind = share_out(Trainer, f"optimizer{part}.pt", "scheduler.pt")
        gather_head(model)
    trainer = kind(
        model,
        args=make_arguments(config, watch.steps, folder),
        train_dataset=datasets.Dataset.from_dict({"number": range(samples)}),
        data_collator=collate,
        processing_class=processor,
    )
    # TRL's loss divides by the answer tokens of the whole step, if it is told how many there are. They are
    # counted only for models that take the count themselves, which a Qwen-VL doesn't (transformers 5.23.0).
    trainer.model_accepts_loss_kwargs = True
    if sharded:
        share_on_cpus(trainer)
    watch_trainer(trainer, watch)
    return trainer


def make_arguments(config: SftConfig, steps: int, folder: Path) -> Any:
    """The trainer's settings. What is not set here is TRL's default.

    Args:
        config: of the training.
        steps: of the whole training.
        folder: for the trainer's own files on this machine.
    """
    prepare()
    from trl.trainer.sft_config import SFTConfig

    sharded = config.workers.strategy == "fsdp2"
    arguments = SFTConfig(
        **list_arguments(config, steps, folder),
        max_length=None,  # TRL's default cuts samples, and image tokens with them
        dataset_kwargs={"skip_prepare_dataset": True},
        activation_checkpointing=config.gradient_checkpointing and not sharded,
        ddp_find_unused_parameters=False,  # every sample has an image, so all weights take part
        **(choose_sharding() if sharded else {}),
    )
    take_one_device(arguments)
    if sharded:
        choose_precision(arguments, config.gradient_checkpointing)
    return arguments
