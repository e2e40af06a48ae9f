"""The clients of a process's models, by role, and what is asked of all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mira_batch.core.source_type import GENERATIVE
from mira_batch.core.usage import Usage
from mira_batch.models.serving import ModelClient, OnCall


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
        prompt_version: str | None = None,
        requests_together: int = 0,
    ) -> None:
        self._clients = dict(clients)
        self.identities = dict(identities)
        """What answers: identity by role, as it is written to results; None for a role without a model."""
        self.restore = restore
        """The editor's own `restore(image, original)`, where it has one; see `core.ports.Editor`."""
        self.source_type = source_type
        """What the editor's edits make of an image, by `core.source_type`; empty: they are not marked."""
        self.prompt_version = prompt_version
        """Which prompt the policy is asked with; None for one that has none."""
        self.requests_together = requests_together
        """The most requests that calls of all models take at the same time: batches of their copies, and
        calls of endpoints."""

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
