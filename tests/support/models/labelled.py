"""Models for what results say of themselves: an edit or two, by an editor that may say what it is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from PIL import ImageOps

from mira_batch.core.actions import format_action
from mira_batch.core.ports import EditRequest, PolicyRequest
from mira_batch.core.types import Edit, StopAction

_UNSAID = "unsaid"


class OneEdit:
    """Edits once, where the instruction asks for turning anything."""

    identity = "one-edit/1"
    max_batch = 8

    def bucket(self, request: PolicyRequest) -> Hashable:
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str]:
        return [
            format_action(
                Edit("invert") if "rotate" in r.instruction and not r.history else StopAction("done")
            )
            for r in requests
        ]


class Inverter:
    identity = "inverter/1"
    max_batch = 8

    def bucket(self, request: EditRequest) -> Hashable:
        return None

    def apply(self, requests: Sequence[EditRequest]) -> Sequence[object]:
        return [ImageOps.invert(r.image.pixels.convert("RGB")) for r in requests]


def make_policy() -> OneEdit:
    return OneEdit()


def make_editor(says: str | None = _UNSAID) -> Any:
    editor: Any = Inverter()
    if says != _UNSAID:
        editor.source_type = says
    return editor
