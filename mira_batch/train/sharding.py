"""Weights, gradients and AdamW's means shared out among the workers (FSDP2).

transformers and accelerate share them out, gather each layer for the moment it is computed in, and bring
its gradients together. Ours is how precise that is, that TRL's head takes part, and checkpoints: each worker
keeps its own part of the weights that learn and of the optimizer's state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mira_batch.core.errors import JobError
from mira_batch.train.workers import is_first


def choose_sharding() -> dict[str, Any]:
    """Settings by which the trainer shares the model out, one layer at a time."""
    return {
        "fsdp": True,
        "fsdp_config": {"version": 2, "reshard_after_forward": True},
        # Else each worker keeps whole gradients until the last batch of a step: memory of all weights.
        "accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}},
    }


def choose_precision(arguments: Any, checkpointing: bool) -> None:
    """Set what the trainer's settings have no field for.

    Args:
        arguments: settings of the trainer, with those of `choose_sharding`.
        checkpointing: whether activations are computed a second time.
    """
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy

    if arguments.bf16:  # accelerate would add up gradients in bfloat16, too
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        arguments.fsdp_plugin_args["mixed_precision_policy"] = policy
    # Set late: transformers advises accelerate's own, by which dropout differs between the two times.
    arguments.activation_checkpointing = checkpointing


def share_on_cpus(trainer: Any) -> None:
    """Have CPUs share the model out, too: accelerate (1.15) does so on GPUs alone, and else passes the
    setting over without a word.

    Args:
        trainer: ready to train.
    """
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    if trainer.is_fsdp_enabled:
        return
    state = trainer.accelerator.state
    state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
    state.distributed_type = DistributedType.FSDP
    trainer.is_fsdp_enabled = True


def gather_head(model: Any) -> None:
    """Have the head of the language model gathered for each forward pass.

    TRL multiplies by the head's weights without calling it, so nothing else would gather them: each worker
    would learn its own rows of them, from its own samples alone.

    Args:
        model: the whole one, before it is shared out.
    """
    from torch.distributed.fsdp import FSDPModule

    def gather(module: Any, inputs: Any) -> None:
        head = model.get_output_embeddings()
        if isinstance(head, FSDPModule):
            head.unshard()

    model.register_forward_pre_hook(gather)


def release(model: Any) -> None:
    """Leave each worker its own part again: after a forward pass without a backward some layers are whole.

    Args:
        model: shared out, or not.
    """
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def take_part(value: Any) -> Any:
    """This worker's part of a tensor that is shared out; anything else as it is."""
    from torch.distributed.tensor import DTensor

    return value.to_local() if isinstance(value, DTensor) else value


def gather_weights(model: Any, learned_only: bool) -> dict[str, Any]:
    """Whole weights by name, on the CPU of the first worker; nothing elsewhere. All workers must call it.

    Args:
        model: shared out.
        learned_only: leave out those that don't learn.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=learned_only)
    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    tied -= {name for name, _ in model.named_parameters()}  # a head that is the table of embeddings, say
    found = get_model_state_dict(model, options=options)
    return {name: weight for name, weight in found.items() if name not in tied}


def share_out(trainer: type[Any], optimizer_file: str, scheduler_file: str) -> type[Any]:
    """A trainer whose checkpoints hold each worker's part, where transformers would gather the whole model.

    Args:
        trainer: of transformers, whose `_save` and `_load_from_checkpoint` are ours.
        optimizer_file: name of this worker's part of the optimizer's state.
        scheduler_file: of the learning rate's.
    """
    import torch
    from torch.distributed.fsdp import FSDPModule

    class Sharded(trainer):
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(self.model, FSDPModule):
                raise JobError("the model was not shared out among the workers: accelerate passed it over")
            return super().training_step(*args, **kwargs)

        def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
            self._save(output_dir)

        def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
            save_optimizer(self.optimizer, Path(output_dir) / optimizer_file)
            if is_first():
                torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / scheduler_file)

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if checkpoint is None:
                return
            load_optimizer(self.optimizer, Path(checkpoint) / optimizer_file)
            state = torch.load(Path(checkpoint) / scheduler_file, weights_only=True)
            self.lr_scheduler.load_state_dict(state)

    return Sharded


def save_optimizer(optimizer: Any, file: Path) -> None:
    """Write this worker's part of an optimizer's state.

    Args:
        optimizer: of weights that are shared out.
        file: where to.
    """
    import torch

    found = optimizer.state_dict()
    parts = {
        number: {name: take_part(value) for name, value in state.items()}
        for number, state in found["state"].items()
    }
    torch.save({"state": parts, "param_groups": found["param_groups"]}, file)


def load_optimizer(optimizer: Any, file: Path) -> None:
    """Put this worker's part back, written by the same worker of as many.

    Args:
        optimizer: of the same weights, shared out in the same way.
        file: from `save_optimizer`.
    """
    import torch
    from torch.distributed.tensor import DTensor

    found = torch.load(file, map_location="cpu", weights_only=True)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]

    def join(value: Any, weight: Any) -> Any:
        if not isinstance(weight, DTensor) or not value.dim():  # a count of steps is everyone's
            return value
        return DTensor.from_local(
            value.to(weight.device),
            weight.device_mesh,
            weight.placements,
            run_check=False,
            shape=weight.shape,
            stride=weight.stride(),
        )

    state = {
        number: {name: join(value, weights[number]) for name, value in parts.items()}
        for number, parts in found["state"].items()
    }
    optimizer.load_state_dict({**found, "state": state})
