"""The models of one process: loaded from their configs once, each behind its client.

Owns copies and devices, and which client a model gets. What a config names is built by `registry.py`; how
requests reach a model is the business of `serving/`. It knows no job: a job says which models it has, and how
long their calls may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from mira_batch.config.models.base import BatchedConfig, ModelConfig
from mira_batch.config.models.local import TorchConfig
from mira_batch.config.models.served import ServedConfig
from mira_batch.core.pixels import MOST_PIXELS
from mira_batch.core.source_type import GENERATIVE
from mira_batch.core.usage import Usage
from mira_batch.models.registry import Fetch, build_model, no_weights
from mira_batch.models.serving import (
    EDITOR,
    ROLES,
    CallsInProgress,
    Endpoint,
    MicroBatcher,
    ModelClient,
    OnCall,
    Role,
    check_frame,
    guard_images,
)

ModelSpec = tuple[ModelConfig, float | None]
"""A model of a job: its config, and the seconds that a call may take (None: any time)."""


class ModelClients(Mapping[str, ModelClient[Any, Any]]):
    """The clients of a process's models by role name: `clients["policy"].submit(request)`.

    A role for which there is no model is not in it.
    """

    def __init__(
        self,
        clients: Mapping[str, ModelClient[Any, Any]],
        identities: Mapping[str, str | None],
        restore: Callable[[Any, Any], Any] | None = None,
        source_type: str = GENERATIVE,
    ) -> None:
        self._clients = dict(clients)
        self.identities = dict(identities)
        """What answers: identity by role, as it is written to results; None for a role without a model."""
        self.restore = restore
        """The editor's own `restore(image, original)`, where it has one; see `core.ports.Editor`."""
        self.source_type = source_type
        """What the editor's edits make of an image, by `core.source_type`; empty: they are not marked."""

    def __getitem__(self, role: str) -> ModelClient[Any, Any]:
        return self._clients[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def usage(self) -> Usage:
        """What all calls of all models took so far; see `ModelClient.usage`."""
        return sum((client.usage for client in self.values()), Usage())

    @property
    def out_of_memory(self) -> int:
        """How many calls of any model ran out of memory so far."""
        return sum(client.out_of_memory for client in self.values())

    def listen(self, on_call: OnCall) -> None:
        """Have each model call told of when it has ended, from whatever thread it ends in."""
        for client in self.values():
            client.on_call = on_call

    async def close(self) -> None:
        """Close all clients; see `ModelClient.close`."""
        await asyncio.gather(*(client.close() for client in self.values()))


async def load_models(
    specs: Mapping[str, ModelSpec], fetch: Fetch = no_weights, max_pixels: int = MOST_PIXELS
) -> ModelClients:
    """Build every copy of every model and start its thread. It takes as long as loading takes, and blocks.

    Args:
        specs: the models of a job by role name, in the order in which they are to be loaded.
        fetch: brings weights to this node; called once for each location.
        max_pixels: the most that an editor's image may have.

    Returns:
        Their clients, which belong to the running event loop.

    Raises:
        ConfigError: a model can't be built as configured.
    """
    fetch = cache(fetch)  # the copies of a model have the same files: they are listed and digested once
    copies = {
        name: [build_model(name, config, fetch, device) for device in list_copies(config)]
        for name, (config, _) in specs.items()
    }
    in_progress = CallsInProgress()
    clients = {
        name: _open_client(ROLES[name], copies[name], config, limit_seconds, in_progress, max_pixels)
        for name, (config, limit_seconds) in specs.items()
    }
    identities = {name: copies[name][0].identity if name in copies else None for name in ROLES}
    editor = copies[EDITOR.name][0] if EDITOR.name in copies else None
    source_type = getattr(editor, "source_type", GENERATIVE) or ""
    return ModelClients(clients, identities, getattr(editor, "restore", None), source_type)


def list_copies(config: ModelConfig) -> list[str]:
    """The device of each copy of a model: `replicas` on each of `devices`."""
    devices = config.devices if isinstance(config, TorchConfig) else ("auto",)
    replicas = config.replicas if isinstance(config, BatchedConfig) else 1
    return [device for device in devices for _ in range(replicas)]


def _open_client(
    role: Role,
    models: Sequence[Any],
    config: ModelConfig,
    limit_seconds: float | None,
    in_progress: CallsInProgress,
    max_pixels: int,
) -> ModelClient[Any, Any]:
    if role is EDITOR:
        role = replace(role, check=partial(check_frame, max_pixels=max_pixels))
    if isinstance(config, ServedConfig):
        (model,) = models
        return Endpoint(role, getattr(model, role.method), config, limit_seconds, model.close)
    assert isinstance(config, BatchedConfig)
    calls = [guard_images(getattr(model, role.method), max_pixels) for model in models]
    max_batch = config.max_batch or models[0].max_batch
    return MicroBatcher(role, calls, models[0].bucket, max_batch, limit_seconds, in_progress)
