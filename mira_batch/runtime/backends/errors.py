"""Errors of ours on their way from a process of Ray's to the driver.

They travel as data: of an error that a call raises Ray hands the driver only the traceback's text.
"""

from __future__ import annotations

from mira_batch.core.errors import (
    ConfigError,
    EndpointError,
    JobError,
    ManifestError,
    RunConflict,
    StoreError,
    UserError,
)

_KINDS = {
    kind.__name__: kind
    for kind in (ConfigError, ManifestError, StoreError, EndpointError, RunConflict, UserError, JobError)
}


def pack_error(error: UserError | JobError) -> dict[str, str]:
    """An error as data: `error`, its kind or the nearest above it that travels, and `message`."""
    kind = next(base.__name__ for base in type(error).__mro__ if base.__name__ in _KINDS)
    return {"error": kind, "message": str(error)}


def unpack_error(packed: dict[str, str]) -> UserError | JobError:
    """The error that `pack_error` was given."""
    return _KINDS[packed["error"]](packed["message"])
