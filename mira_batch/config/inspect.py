"""The configuration of the inspect job."""

from __future__ import annotations

from typing import Any, Literal

from mira_batch.config.shared import JobConfig, ManifestConfig, RunOutput

FACTS_VERSION = 1
"""Raised when this package's code would give other facts of the same image."""


class InspectOutput(RunOutput):
    """Where the facts go."""

    skip_done: bool = False
    """Leave out images that an earlier run under the same `uri` has facts of. Then what is printed adds up to
    the others only."""


class InspectConfig(JobConfig):
    """Look at every image of a manifest, or of the results of a run, and write down cheap facts of each."""

    job: Literal["inspect"] = "inspect"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Which job it is."""
    output: InspectOutput  # pyright: ignore[reportIncompatibleVariableOverride]
    """Where the facts go."""
    input: ManifestConfig
    """What to look at. In place of a manifest it may name a run's directory: then its result images."""

    def facts(self) -> dict[str, Any]:
        """Everything that changes the facts of an image or refuses it, as plain JSON data."""
        bounds = self.input.model_dump(mode="json", include={"allow", "max_bytes", "max_pixels"})
        return {"version": FACTS_VERSION, **bounds}
