"""The configuration of the inspect job."""

from __future__ import annotations

from typing import Any, Literal

from mira_batch.config.shared import JobConfig, ManifestConfig

FACTS_VERSION = 1
"""Raised when this package's code would give other facts of the same image."""


class InspectConfig(JobConfig):
    """Look at every image of a manifest, or of the results of a run, and write down cheap facts of each."""

    job: Literal["inspect"] = "inspect"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Which job it is."""
    input: ManifestConfig
    """What to look at. In place of a manifest it may name a run's directory: then its result images."""

    def facts(self) -> dict[str, Any]:
        """Everything that changes the facts of an image, as plain JSON data."""
        return {"version": FACTS_VERSION}
