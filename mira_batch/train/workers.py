"""Workers that learn together, as torch knows them. Alone, a process is the first of one."""

from __future__ import annotations

from typing import Any

from mira_batch.core.errors import ConfigError


def count_workers() -> int:
    """How many learn together."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def name_rank() -> int:
    """Which of them this is, from 0."""
    import torch.distributed as dist

    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this is the one that writes what is written once."""
    return name_rank() == 0


def gather(value: Any) -> list[Any]:
    """What each worker gives, in their order; all of them must call it.

    Args:
        value: of this one, plain data.
    """
    if count_workers() == 1:
        return [value]
    import torch.distributed as dist

    found: list[Any] = [None] * count_workers()
    dist.all_gather_object(found, value)
    return found


def check_workers(wanted: int) -> None:
    """See that as many learn as the config says, on which a step's size rests.

    Args:
        wanted: `workers.num`.

    Raises:
        ConfigError: there are more or fewer.
    """
    if (there := count_workers()) != wanted:
        raise ConfigError(f"workers.num: is {wanted}, and {there} are there")


def ignore(text: str) -> None:
    """What others than the first worker have to say."""
