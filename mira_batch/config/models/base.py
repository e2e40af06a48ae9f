"""What the configs of all models share."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from mira_batch.config.base import Location, Strict


class ModelConfig(Strict):
    """Base of every model's config."""

    OPERATIONAL: ClassVar[frozenset[str]] = frozenset()
    """Fields that say how a model runs but never what it answers; kept out of the fingerprint."""

    def weight_locations(self) -> tuple[str, ...]:
        """Where its weights are, adapters included; empty for a model without any."""
        return ()

    def engines(self) -> dict[str, ModelConfig]:
        """What is loaded or called for it, by where its config lies below this one: itself, under the empty
        name, unless it is made of others."""
        return {"": self}

    @property
    def charges(self) -> bool:
        """Whether its calls cost money, by what the config says."""
        return False

    @property
    def most_entropy(self) -> float | None:
        """The greatest entropy, in nats, that it may give as a judge's doubt; None where it gives none."""
        return None

    @property
    def tells_tokens(self) -> bool:
        """Whether, as a policy, it can tell the tokens of its answers."""
        return False

    def pixels(self) -> dict[str, Any]:
        """The settings that decide the model's answers, as plain JSON data."""
        return self.model_dump(mode="json", exclude=set(self.OPERATIONAL))


class BatchedConfig(ModelConfig):
    """Base of the configs of models that run in the worker and take a batch of requests."""

    OPERATIONAL: ClassVar[frozenset[str]] = frozenset({"max_batch", "replicas"})

    max_batch: int | None = Field(default=None, ge=1, le=1024)
    """The most requests in one call; None takes what the model itself declares."""
    replicas: int = Field(default=1, ge=1, le=64)
    """Copies of the model in each worker (on each device, where `devices` names several), each with a
    thread of its own, fed from one queue."""


_HUB = re.compile(r"^hf://(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)$")


def hub_name(weights: str) -> tuple[str, str] | None:
    """(repository, revision) of a location on the Hugging Face hub; None for any other."""
    found = _HUB.match(weights)
    return (found["repo"], found["revision"]) if found else None


def _check_pinned(weights: str) -> str:
    if weights.startswith("hf://") and hub_name(weights) is None:
        raise ValueError(
            f"{weights!r} is not of the form hf://owner/name@revision; pin the revision, best the commit "
            "that the model's page shows under 'Files', so that every worker and later run loads the same"
        )
    return weights


WeightsLocation = Annotated[Location, AfterValidator(_check_pinned)]
"""Where weights are: a local directory that every node sees, a prefix on an object store (`s3://bucket/model`;
downloaded once per node and verified), or `hf://owner/name@revision` on the Hugging Face hub."""


class AdapterConfig(Strict):
    """A LoRA adapter, as peft or diffusers saves it."""

    weights: WeightsLocation
    """Directory of the adapter."""
    file: str | None = Field(default=None, pattern=r"^[\w.-]+\.safetensors$")
    """Which file of it, where it holds several adapters."""
    scale: float = Field(default=1.0, ge=-4, le=4)
    """Factor of its effect."""
