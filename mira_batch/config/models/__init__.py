"""Which policy, editor and judge to use: discriminated unions on `type`, built by `models/registry.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mira_batch.config.models.base import BatchedConfig
from mira_batch.config.models.local import DiffusersConfig, QwenVLConfig, VllmConfig
from mira_batch.config.models.served import (
    GeminiImagesConfig,
    OpenAIImagesConfig,
    OpenAIJudgeConfig,
    OpenAIPolicyConfig,
)
from mira_batch.config.models.simulated import (
    SimulatedEditorConfig,
    SimulatedJudgeConfig,
    SimulatedPolicyConfig,
)


class RulesPolicyConfig(BatchedConfig):
    """The embedded policy: parses the instruction by rules and compares pixels to see what is done."""

    type: Literal["rules"]


class PassthroughPolicyConfig(BatchedConfig):
    """No policy: the whole instruction goes to the editor once. The baseline to compare the loop with."""

    type: Literal["passthrough"]


class PillowEditorConfig(BatchedConfig):
    """The embedded editor: carries out the rules policy's edits with Pillow."""

    type: Literal["pillow"]


class RulesJudgeConfig(BatchedConfig):
    """The embedded judge: the share of the instruction's edits that the candidate's pixels show."""

    type: Literal["rules"]


class CustomConfig(BatchedConfig):
    """A model of your own: `factory(**options)` returns any object that satisfies the Protocol."""

    type: Literal["custom"]
    factory: str
    """Where it is built: `package.module:function`, importable on the workers."""
    options: dict[str, Any] = {}
    """Keyword arguments of the factory. All of them count as changing pixels."""

    @field_validator("factory")
    @classmethod
    def _check_factory(cls, value: str) -> str:
        module, colon, name = value.partition(":")
        if not (colon and name.isidentifier() and all(p.isidentifier() for p in module.split("."))):
            raise ValueError(f"{value!r} is not of the form package.module:function")
        return value


PolicyConfig = Annotated[
    RulesPolicyConfig
    | PassthroughPolicyConfig
    | QwenVLConfig
    | VllmConfig
    | OpenAIPolicyConfig
    | SimulatedPolicyConfig
    | CustomConfig,
    Field(discriminator="type"),
]
EditorConfig = Annotated[
    PillowEditorConfig
    | DiffusersConfig
    | OpenAIImagesConfig
    | GeminiImagesConfig
    | SimulatedEditorConfig
    | CustomConfig,
    Field(discriminator="type"),
]
JudgeConfig = Annotated[
    RulesJudgeConfig | OpenAIJudgeConfig | SimulatedJudgeConfig | CustomConfig, Field(discriminator="type")
]
