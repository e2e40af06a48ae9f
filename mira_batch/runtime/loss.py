"""With what a process was lost. Of its own, so that what looks after processes imports little."""

from __future__ import annotations

from enum import StrEnum


class Loss(StrEnum):
    """With what a process was lost."""

    process = "process"
    """It died alone."""
    node = "node"
    """Its node died without notice: hardware, or a machine that was brought down by what ran on it."""
    preempted = "preempted"
    """Its node was being drained, or shut down: whatever the process was at is not to blame."""
