"""The policy without its eyes on what came of its edits: what looking is measured against."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from mira_batch.config.models.local import QwenVLConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.ports import PolicyRequest
from mira_batch.models.qwen import QwenVLPolicy
from mira_batch.storage.weights import fetch_weights
from mira_batch.train.encoding import make_blank

_GREY = 127


class BlindPolicy:
    """A Qwen-VL policy that is shown grey in the place of the current image. Implements
    `core.ports.Policy`."""

    def __init__(self, policy: QwenVLPolicy) -> None:
        self._policy = policy
        self.max_batch = policy.max_batch
        self.identity = f"blind {policy.identity}"
        self.prompt_version = policy.prompt_version

    def bucket(self, request: PolicyRequest) -> Hashable:
        """As of the policy itself."""
        return self._policy.bucket(request)

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        """The policy's answers to requests whose current image is grey."""
        return self._policy.propose(
            [replace(request, current=make_blank(request.original, _GREY)) for request in requests]
        )


def make_blind(policy: dict[str, Any]) -> BlindPolicy:
    """The policy of a config, blind to the current image.

    Args:
        policy: the config of a `qwen_vl`.
    """
    config = QwenVLConfig.model_validate(policy)
    storage = StorageConfig()
    adapter = fetch_weights(config.adapter.place, storage) if config.adapter else None
    return BlindPolicy(QwenVLPolicy(config, fetch_weights(config.weights, storage), "cpu", adapter))
