"""Which policy, editor and judge to use: discriminated unions on `type`, built by `models/build.py`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from mira_batch.config.base import Strict


class ModelConfig(Strict):
    """Base of every model's config."""

    OPERATIONAL: ClassVar[frozenset[str]] = frozenset({"max_batch", "replicas"})
    """Fields that say how a model runs but never what it answers; kept out of the fingerprint."""

    max_batch: int | None = Field(default=None, ge=1, le=1024)
    """The most requests in one call; None takes what the model itself declares."""
    replicas: int = Field(default=1, ge=1, le=64)
    """Copies of the model in each worker, each with a thread of its own, fed from one queue."""

    def pixels(self) -> dict[str, Any]:
        """The settings that decide the model's answers, as plain JSON data."""
        return self.model_dump(mode="json", exclude=set(self.OPERATIONAL))


class RulesPolicyConfig(ModelConfig):
    """The embedded policy: parses the instruction by rules and compares pixels to see what is done."""

    type: Literal["rules"]


class PillowEditorConfig(ModelConfig):
    """The embedded editor: carries out the rules policy's edits with Pillow."""

    type: Literal["pillow"]


class CustomConfig(ModelConfig):
    """A model of your own: `factory(**options)` returns any object that satisfies the Protocol."""

    type: Literal["custom"]
    factory: str
    """Where it is built: `package.module:function`, importable on the workers."""
    options: dict[str, Any] = {}
    """Keyword arguments of the factory. All of them count as changing pixels."""

    @field_validator("factory")
    @classmethod
    def _dotted(cls, value: str) -> str:
        module, colon, name = value.partition(":")
        if not (colon and name.isidentifier() and all(p.isidentifier() for p in module.split("."))):
            raise ValueError(f"{value!r} is not of the form package.module:function")
        return value


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


class SimulatedConfig(ModelConfig):
    """Base of the simulated models: service time and failures by script."""

    OPERATIONAL: ClassVar[frozenset[str]] = ModelConfig.OPERATIONAL | {"service"}

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

    @field_validator("faults")
    @classmethod
    def _no_step(cls, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        if any(fault.step is not None for fault in faults):
            raise ValueError("a judge is not told the step, so its faults can't name one; leave out `step`")
        return faults

    @model_validator(mode="after")
    def _ordered(self) -> SimulatedJudgeConfig:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


PolicyConfig = Annotated[
    RulesPolicyConfig | SimulatedPolicyConfig | CustomConfig, Field(discriminator="type")
]
EditorConfig = Annotated[
    PillowEditorConfig | SimulatedEditorConfig | CustomConfig, Field(discriminator="type")
]
JudgeConfig = Annotated[SimulatedJudgeConfig | CustomConfig, Field(discriminator="type")]
