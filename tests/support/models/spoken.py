"""A policy that tells tokens of its answers: letters, with log-probabilities that name the process.

    policy: {type: custom, factory: "tests.support.models.spoken:make_policy", options: {simulated: {…}}}

An answer that is asked for again in another process has other log-probabilities, so that a test sees which
answers were kept and which were made anew.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mira_batch.config.models.simulated import SimulatedPolicyConfig
from mira_batch.core.answers import Answered, Tokens
from mira_batch.core.ports import PolicyRequest
from mira_batch.models.simulated import SimulatedPolicy


def spoken(**simulated: Any) -> dict[str, Any]:
    """The policy's config, with further settings of the simulated one."""
    return {"type": "custom", "factory": f"{__name__}:make_policy", "options": {"simulated": simulated}}


def silent(**simulated: Any) -> dict[str, Any]:
    """The same of a policy that says it tells tokens, and doesn't."""
    return spoken(**simulated) | {"factory": f"{__name__}:make_silent"}


def make_policy(simulated: dict[str, Any]) -> SimulatedPolicy:
    return _Spoken(SimulatedPolicyConfig.model_validate({"type": "simulated"} | simulated))


def make_silent(simulated: dict[str, Any]) -> SimulatedPolicy:
    policy = SimulatedPolicy(SimulatedPolicyConfig.model_validate({"type": "simulated"} | simulated))
    policy.log_tokens = False  # pyright: ignore[reportAttributeAccessIssue]
    return policy


class _Spoken(SimulatedPolicy):
    prompt_version = "spoken/1"
    log_tokens = False

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        return [self._speak(answer) for answer in super().propose(requests)]

    def _speak(self, answer: str | Exception) -> str | Exception:
        if isinstance(answer, Exception) or not self.log_tokens:
            return answer
        ids = tuple(map(ord, answer))
        logprob = float(np.float32(-os.getpid() / 7))
        return Answered(answer, Tokens(ids, (logprob,) * len(ids)))
