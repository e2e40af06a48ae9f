"""The policy without its eyes on what came of its edits: what a closed loop is measured against."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, Literal

from mira_batch.config.models.local import QwenVLConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.ports import PolicyRequest
from mira_batch.models.qwen import QwenVLPolicy
from mira_batch.storage.weights import fetch_weights
from mira_batch.train.encoding import make_blank

Sees = Literal["plan", "blank"]
_GREY = 127


class Blinkered:
    """A Qwen-VL policy that is not shown the current image. Implements `core.ports.Policy`.

    `plan`: it is shown the original in its place, so that it names its edits one after another without seeing
    what came of any. `blank`: grey of the same size.
    """

    def __init__(self, policy: QwenVLPolicy, sees: Sees) -> None:
        self._policy, self._sees = policy, sees
        self.max_batch = policy.max_batch
        self.identity = f"{sees} {policy.identity}"
        self.prompt_version = policy.prompt_version

    def bucket(self, request: PolicyRequest) -> Hashable:
        """As of the policy itself."""
        return self._policy.bucket(request)

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        """The policy's answers to requests whose current image is another."""
        return self._policy.propose([self._blinker(request) for request in requests])

    def _blinker(self, request: PolicyRequest) -> PolicyRequest:
        original = request.original
        return replace(request, current=original if self._sees == "plan" else make_blank(original, _GREY))


def make_blinkered(sees: Sees, policy: dict[str, Any]) -> Blinkered:
    """The policy of a config that doesn't see the current image.

    Args:
        sees: what is shown in its place.
        policy: the config of a `qwen_vl`.
    """
    config = QwenVLConfig.model_validate(policy)
    storage = StorageConfig()
    adapter = fetch_weights(config.adapter.weights, storage) if config.adapter else None
    return Blinkered(QwenVLPolicy(config, fetch_weights(config.weights, storage), "cpu", adapter), sees)
