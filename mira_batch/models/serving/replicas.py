"""What `runtime/worker.py` calls until it calls `models.loader.load_models` itself."""

from __future__ import annotations

from typing import Any

from mira_batch.config.edit import BulkEditConfig
from mira_batch.models.loader import ModelClients, load_models
from mira_batch.models.registry import Fetch, no_weights
from mira_batch.models.serving.client import ModelClient
from mira_batch.models.serving.roles import ROLES


class Replicas(ModelClients):
    """The clients of a worker's models, by attribute too."""

    @property
    def policy(self) -> ModelClient[Any, Any]:
        return self["policy"]

    @property
    def editor(self) -> ModelClient[Any, Any]:
        return self["editor"]

    @property
    def judge(self) -> ModelClient[Any, Any] | None:
        return self.get("judge")


async def load_replicas(config: BulkEditConfig, fetch: Fetch = no_weights) -> Replicas:
    """The models of a bulk edit job; see `load_models`."""
    limits = {name: config.limits.seconds_of(ROLES[name].limit) for name in config.models()}
    clients = await load_models({n: (model, limits[n]) for n, model in config.models().items()}, fetch)
    return Replicas(clients, clients.identities, clients.restore)
