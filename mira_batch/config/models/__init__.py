"""Which policy, editor and judge to use: discriminated unions on `type`, built by `models/registry.py`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mira_batch.config.base import Strict
from mira_batch.config.models.base import BatchedConfig, ModelConfig
from mira_batch.config.models.judges import ProtocolJudgeConfig
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


class FidelityJudgeConfig(BatchedConfig):
    """Rejects an edit that moves or recolours what it should not touch, measured against the original
    (docs/fidelity.md). It needs no weights, and knows nothing of the instruction: an edit that is meant to
    recolour or move the whole image is rejected, too. A limit of None is not looked at."""

    type: Literal["fidelity"]
    max_shift: float | None = Field(default=2.0, ge=0)
    """Pixels of the original by which what was not edited may have moved."""
    max_delta_e: float | None = Field(default=3.0, ge=0)
    """Mean CIEDE2000 by which the colours of what was not edited may differ; about 1 can just be seen."""
    max_delta_e_p95: float | None = Field(default=None, ge=0)
    """The same for the 95th percentile."""
    max_changed_share: float | None = Field(default=None, ge=0, le=1)
    """Share of the picture that may be edited."""
    min_sharpness_ratio: float | None = Field(default=None, ge=0)
    """Least sharpness (variance of the Laplacian) of what was not edited, over the original's."""
    max_noise_added: float | None = Field(default=None, ge=0)
    """Noise that may come into what was not edited: its standard deviation, in 8-bit levels."""
    max_alpha_loss: float | None = Field(default=None, ge=0, le=1)
    """Mean difference of alpha, 0 to 1, along the original's edges of it."""
    unmeasured: Literal["accept", "reject"] = "accept"
    """What becomes of an edit of which a limited fact can't be had, since it crops, turns or replaces the
    whole image."""

    @model_validator(mode="after")
    def _has_a_limit(self) -> FidelityJudgeConfig:
        if not (self.most() or self.least()):
            raise ValueError("no limit is set, so it would reject nothing; set max_shift or max_delta_e")
        return self

    def most(self) -> dict[str, float]:
        """The facts that have an upper limit, and the limit."""
        facts = ("shift", "delta_e", "delta_e_p95", "changed_share", "noise_added", "alpha_loss")
        limits = {fact: getattr(self, f"max_{fact}") for fact in facts}
        return {fact: limit for fact, limit in limits.items() if limit is not None}

    def least(self) -> dict[str, float]:
        """The facts that have a lower limit, and the limit."""
        limit = self.min_sharpness_ratio
        return {} if limit is None else {"sharpness_ratio": limit}


class CustomConfig(BatchedConfig):
    """A model of your own: `factory(**options)` returns any object that satisfies the Protocol."""

    type: Literal["custom"]
    factory: str
    """Where it is built: `package.module:function`, importable on the workers."""
    options: dict[str, Any] = {}
    """Keyword arguments of the factory. All of them count as changing pixels."""

    @property
    def most_entropy(self) -> float:
        return math.inf  # only its judgements say

    @property
    def tells_tokens(self) -> bool:
        return True  # or it is refused once it is loaded

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
PlainJudgeConfig = (
    RulesJudgeConfig | FidelityJudgeConfig | OpenAIJudgeConfig | SimulatedJudgeConfig | CustomConfig
)
"""A judge that is one model, which scores by itself."""
OneJudgeConfig = Annotated[PlainJudgeConfig | ProtocolJudgeConfig, Field(discriminator="type")]
"""Any judge but a panel."""


class MemberConfig(Strict):
    """One judge of a panel."""

    name: str = Field(pattern=r"^[A-Za-z0-9][\w-]*$")
    """How its axes are called: `name.axis`."""
    model: OneJudgeConfig
    """Which judge."""
    reliability: float = Field(default=1.0, gt=0)
    """Its weight, where the panel's scores are combined by weight."""


class EscalateConfig(Strict):
    """When the next member of a panel is asked as well: where either holds."""

    entropy_above: float | None = Field(default=None, ge=0)
    """The member asked last gave an entropy above this (score_logit: 0 to 1.79 nats)."""
    score_between: tuple[float, float] | None = None
    """Its score is in this band, ends included; for judges that don't say how unsure they are."""

    @model_validator(mode="after")
    def _asks_somebody(self) -> EscalateConfig:
        band = self.score_between
        if self.entropy_above is None and band is None:
            raise ValueError("set entropy_above or score_between; without them only the first is ever asked")
        if band is not None and not 0 <= band[0] <= band[1] <= 1:
            raise ValueError(f"score_between is {list(band)}; it takes two scores in [0, 1], the lower first")
        return self


class PanelConfig(ModelConfig):
    """Several judges, whose scores are combined into one."""

    type: Literal["panel"]
    members: tuple[MemberConfig, ...] = Field(min_length=2, max_length=16)
    """Who is asked."""
    combine: Literal["mean", "min", "weighted", "last"] = "mean"
    """The mean of the scores, the least, the mean weighted by each member's `reliability`, or with `escalate`
    that of the member asked last."""
    quorum: int | None = Field(default=None, ge=1)
    """How many members must give a score; the others may fail, and count nothing. None: all that are asked,
    so that the failure of one is a failure of the panel."""
    escalate: EscalateConfig | None = None
    """Ask the members one after another, each only where the one before it is unsure. None: all are asked."""

    @model_validator(mode="after")
    def _adds_up(self) -> PanelConfig:
        names = [member.name for member in self.members]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"members: {', '.join(twice)} is there twice; give each a name of its own")
        if self.quorum is not None and self.quorum > len(self.members):
            raise ValueError(f"quorum is {self.quorum}, and there are {len(self.members)} members")
        weighed = [member.name for member in self.members if member.reliability != 1]
        if weighed and self.combine != "weighted":
            raise ValueError(
                f"members: the reliability of {', '.join(weighed)} counts with combine: weighted only"
            )
        return self

    @model_validator(mode="after")
    def _escalates_with_effect(self) -> PanelConfig:
        if self.escalate is None:
            if self.combine == "last":
                raise ValueError("combine: last needs escalate; without it all are asked, and none is last")
            return self
        if self.quorum is not None:
            raise ValueError("quorum: with escalate whoever is asked must give a score; leave it out")
        least = self.escalate.entropy_above
        if least is None or self.escalate.score_between is not None:
            return self
        for member in self.members[:-1]:
            most = member.model.most_entropy
            if most is None or least >= most:
                says = "says nothing of how unsure it is" if most is None else f"gives none above {most:.4g}"
                raise ValueError(
                    f"escalate.entropy_above: {member.name} {says}, so nobody after it would ever be asked; "
                    "set another member before it, or score_between"
                )
        return self

    def engines(self) -> dict[str, ModelConfig]:
        return {
            f".members.{index}.model{below}": model
            for index, member in enumerate(self.members)
            for below, model in member.model.engines().items()
        }

    def weight_locations(self) -> tuple[str, ...]:
        return tuple(place for member in self.members for place in member.model.weight_locations())

    @property
    def charges(self) -> bool:
        return any(member.model.charges for member in self.members)

    def pixels(self) -> dict[str, Any]:
        members = [
            member.model_dump(mode="json", exclude={"model"}) | {"model": member.model.pixels()}
            for member in self.members
        ]
        found = super().pixels() | {"members": members}
        if self.escalate is None:  # as in earlier releases, so that the names of work stay
            del found["escalate"]
        return found


JudgeConfig = Annotated[PlainJudgeConfig | ProtocolJudgeConfig | PanelConfig, Field(discriminator="type")]
