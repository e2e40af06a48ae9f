"""Simulated models: service times, step counts and failures by script, for rehearsals and benchmarks."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from mira_batch.config.base import Strict
from mira_batch.config.models.base import BatchedConfig


class ServiceTime(Strict):
    """How long a simulated call takes: `seconds + per_item * batch size`."""

    seconds: float = Field(default=0.0, ge=0)
    """Fixed seconds of a call."""
    per_item: float = Field(default=0.0, ge=0)
    """Further seconds for each request in the batch."""
    load: float = Field(default=0.0, ge=0)
    """Seconds that loading the model takes, once per worker."""


class Fault(Strict):
    """A scripted failure of a simulated model, for the records it names."""

    records: str
    """Which records, as a glob over record_id: `bad-*`."""
    does: Literal["raise", "hang", "malformed", "out_of_memory", "exit", "nothing"]
    """raise an error; hang for `hang_seconds`; answer malformed text (policy); run out of memory; exit
    the process at once; do nothing (an edit that changes no pixel)."""
    step: int | None = Field(default=None, ge=0)
    """Only at this step of the record; None at every step."""
    times: int | None = Field(default=None, ge=1)
    """Only the first so many times in each process; None always."""
    hang_seconds: float = Field(default=3600.0, ge=0)
    """How long `hang` takes."""
    above_batch: int = Field(default=0, ge=0)
    """Only in batches larger than this: `out_of_memory` with 4 here fits four requests at once."""


class SimulatedConfig(BatchedConfig):
    """Base of the simulated models: service time and failures by script."""

    OPERATIONAL: ClassVar[frozenset[str]] = BatchedConfig.OPERATIONAL | {"service"}

    type: Literal["simulated"]
    service: ServiceTime = ServiceTime()
    """Service time as a function of the batch size."""
    faults: tuple[Fault, ...] = ()
    """Scripted failures; the first that matches a request happens."""


class StepCounts(Strict):
    """Steps per record: drawn once per record_id from a long-tailed distribution."""

    mean: float = Field(default=2.5, ge=1)
    """Mean number of steps (before `max` cuts the tail)."""
    max: int = Field(default=8, ge=1)
    """No record takes more."""
    exact: dict[str, int] = {}
    """Step counts by record_id glob; these win over the draw."""


class SimulatedPolicyConfig(SimulatedConfig):
    """A policy that names numbered edits and stops after the record's step count."""

    steps: StepCounts = StepCounts()
    """How many steps each record takes."""


class SimulatedEditorConfig(SimulatedConfig):
    """An editor that paints a mark drawn from the seed, so that every edit changes the image."""


class SimulatedJudgeConfig(SimulatedConfig):
    """A judge whose score is drawn from the candidate's pixels, between `low` and `high`."""

    low: float = Field(default=0.5, ge=0, le=1)
    """The least score."""
    high: float = Field(default=1.0, ge=0, le=1)
    """The greatest score."""
    entropy: float | None = Field(default=None, gt=0)
    """How unsure it says that it is, in nats: drawn from the pixels, between 0 and this. None: it says
    nothing."""

    @property
    def most_entropy(self) -> float | None:
        return self.entropy

    def pixels(self) -> dict[str, Any]:
        found = super().pixels()
        if self.entropy is None:  # as in earlier releases, so that the names of work stay
            del found["entropy"]
        return found

    @field_validator("faults")
    @classmethod
    def _no_step(cls, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        if any(fault.step is not None for fault in faults):
            raise ValueError("a judge is not told the step, so its faults can't name one; leave out `step`")
        return faults

    @model_validator(mode="after")
    def _check_order(self) -> SimulatedJudgeConfig:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self
