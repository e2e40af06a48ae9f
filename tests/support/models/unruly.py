"""A policy and an editor for records that go wrong in every way, by name; all others behave.

circles-*   the policy names the same edit again and again, which undoes itself
still-*     it does too, and the edit changes nothing
others      as simulated models, whose faults are scripted in their config
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import ImageOps

from mira_batch.config.models.simulated import SimulatedEditorConfig, SimulatedPolicyConfig
from mira_batch.core.actions import format_action
from mira_batch.core.ports import EditRequest, PolicyRequest
from mira_batch.core.types import Edit
from mira_batch.models.simulated import SimulatedEditor, SimulatedPolicy

MIRROR = format_action(Edit("mirror it"))
"""Done twice, it gives back what was."""


def unruly(what: str, max_batch: int, **simulated: Any) -> dict[str, Any]:
    """The config of the `policy` or the `editor`, with further settings of the simulated one."""
    factory = f"{__name__}:make_{what}"
    return {"type": "custom", "factory": factory, "max_batch": max_batch, "options": {"simulated": simulated}}


def make_policy(simulated: dict[str, Any]) -> SimulatedPolicy:
    return _Policy(SimulatedPolicyConfig.model_validate({"type": "simulated"} | simulated))


def make_editor(simulated: dict[str, Any]) -> SimulatedEditor:
    return _Editor(SimulatedEditorConfig.model_validate({"type": "simulated"} | simulated))


class _Policy(SimulatedPolicy):
    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        answers = super().propose(requests)
        return [
            MIRROR if request.record_id.startswith(("circles-", "still-")) else answer
            for request, answer in zip(requests, answers, strict=True)
        ]


class _Editor(SimulatedEditor):
    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        edited = super().apply(requests)
        return [
            ImageOps.mirror(request.image.pixels) if request.record_id.startswith("circles-") else image
            for request, image in zip(requests, edited, strict=True)
        ]
