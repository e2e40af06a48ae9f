"""What a model can be to a job: policy, editor or judge. Everything that sets them apart is data, and is
here.

Who loads, batches or calls a model, or counts its time and its faults, asks its `Role`; nobody compares
names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from mira_batch.core.pixels import MOST_PIXELS
from mira_batch.core.types import ErrorKind
from mira_batch.models.serving.answers import check_frame, check_judgement, check_text


@dataclass(frozen=True, slots=True)
class Role:
    """What a model is to a job."""

    name: str
    """Under this name its seconds are counted and its identity is written."""
    field: str
    """Where a job's config has it; errors name fields below."""
    method: str
    """Of its Protocol in `core/ports.py`, the method that answers requests."""
    failed: ErrorKind
    """What a fault of the model makes of the record."""
    refused: ErrorKind
    """The same for a request that the model, or a filter before it, declines."""
    out_of_memory: ErrorKind
    """The same for a request that runs out of memory alone."""
    limit: str
    """The field of a job's `limits` that bounds a call, in seconds."""
    check: Callable[[Any], Any]
    """Makes what a job takes of what the model returned. Called from any thread.

    Raises:
        RecordError: it can't be used.
    """
    check_apart: bool = False
    """Whether `check` takes milliseconds, and runs in another thread while the model is at its next call."""


POLICY = Role(
    name="policy",
    field="policy",
    method="propose",
    failed=ErrorKind.policy_failed,
    refused=ErrorKind.policy_failed,
    out_of_memory=ErrorKind.policy_failed,
    limit="policy_seconds",
    check=check_text,
)
EDITOR = Role(
    name="editor",
    field="editor",
    method="apply",
    failed=ErrorKind.editor_failed,
    refused=ErrorKind.editor_failed,
    out_of_memory=ErrorKind.editor_out_of_memory,
    limit="edit_seconds",
    check=partial(check_frame, max_pixels=MOST_PIXELS),
    check_apart=True,  # it digests the image
)
JUDGE = Role(
    name="judge",
    field="judge.model",
    method="score",
    failed=ErrorKind.judge_failed,
    refused=ErrorKind.judge_refused,
    out_of_memory=ErrorKind.judge_failed,
    limit="judge_seconds",
    check=check_judgement,
)
ROLES: Mapping[str, Role] = MappingProxyType({role.name: role for role in (POLICY, EDITOR, JUDGE)})
"""All roles by name."""
