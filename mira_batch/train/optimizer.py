"""AdamW of a training by iterations: its state goes on from one to the next, and workers step together.

Workers divide their losses by the counts of the whole step, so that their gradients add up to those of one.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mira_batch.config.grpo_update import GrpoOptimizerConfig
from mira_batch.core.errors import ConfigError, UserError
from mira_batch.train.workers import count_workers


def make_optimizer(
    weights: Sequence[Any], learn: GrpoOptimizerConfig, done: float, state: bytes | None
) -> Any:
    """AdamW, as an earlier iteration left it.

    Args:
        weights: that learn, in an order that stays.
        learn: its settings.
        done: share of all iterations that are done.
        state: of `dump_optimizer`; None: it is the first iteration.
    """
    import torch
    from torch.optim import AdamW

    betas = (learn.beta1, learn.beta2)
    optimizer = AdamW(weights, lr=learn.learning_rate, betas=betas, weight_decay=learn.weight_decay)
    if state is not None:
        optimizer.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
    for group in optimizer.param_groups:
        group["lr"] = learn.learning_rate * (1 - done if learn.schedule == "linear" else 1.0)
    return optimizer


def dump_optimizer(optimizer: Any) -> bytes:
    """Its state, for `make_optimizer`."""
    import torch

    state = io.BytesIO()
    torch.save(optimizer.state_dict(), state)
    return state.getvalue()


def take_step(optimizer: Any, weights: Sequence[Any], max_norm: float) -> float:
    """A step by the gradients of all workers, which are forgotten then; their norm before it was cut.

    Args:
        optimizer: of `make_optimizer`.
        weights: that learn.
        max_norm: gradients are scaled down to it.

    Raises:
        UserError: the gradients are no numbers any more.
    """
    import torch
    import torch.distributed as dist

    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        if count_workers() > 1:
            dist.all_reduce(weight.grad)
    norm = float(torch.nn.utils.clip_grad_norm_(weights, max_norm))
    if norm != norm or norm == float("inf"):
        raise UserError(
            f"the gradient's norm is {norm}; the adapter before this iteration is kept. Lower "
            "optimizer.learning_rate, and train into a new output"
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


def find_device(gpus: float) -> Any:
    """Where a worker computes: the GPU that is its own, or the CPU.

    Args:
        gpus: that each has.

    Raises:
        ConfigError: it should have one, and sees none.
    """
    import torch

    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("workers.gpus: is 1, and this worker sees no GPU")
    return torch.device("cuda", torch.cuda.current_device())


def choose_arithmetic(precision: str, device: Any) -> AbstractContextManager[Any]:
    """The context that forward passes run in.

    Args:
        precision: float32 or bfloat16.
        device: where the model is.
    """
    import torch

    return nullcontext() if precision == "float32" else torch.autocast(device.type, dtype=torch.bfloat16)
