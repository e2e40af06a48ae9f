"""The configuration of the bulk edit job.

It narrows sections of `shared.py`; pyright, which does not know that config models never change, is told so.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mira_batch.config.base import Location, Strict
from mira_batch.config.limits import LimitsConfig
from mira_batch.config.models import (
    EditorConfig,
    JudgeConfig,
    PillowEditorConfig,
    PolicyConfig,
    RulesPolicyConfig,
)
from mira_batch.config.models.base import ModelConfig
from mira_batch.config.models.local import TorchConfig
from mira_batch.config.output import ImageOutput
from mira_batch.config.shared import Columns, JobConfig, ManifestConfig, RunOutput
from mira_batch.core.types import Limits

PIPELINE_VERSION = 2
"""Raised when this package's code would give other pixels for the same settings, or rows that can't be
read as those before. A column more, or another label in an image's file, is no reason to edit all again."""


_WITHOUT_EFFECT = {"png": ("quality", "background"), "webp": ("background",), "jpeg": ()}
"""What changes nothing of an image in this format. In a fingerprint it has its default, not its value; nor is
it left out, since it is in those of earlier releases."""


_ADDED = ("candidates", "unsure_above")
"""Settings of a judge that earlier releases hadn't. At their default they are no part of a fingerprint, so
that the names of work stay."""


class InputConfig(ManifestConfig):
    """What to edit."""

    columns: Columns = Columns()  # pyright: ignore[reportIncompatibleVariableOverride]
    """How the manifest calls its columns."""
    branches: Location | None = Field(default=None, exclude_if=lambda run: run is None)
    """The directory of an earlier run of this job: each record begins from a state of one of its
    trajectories, which the manifest's column `branch` names by `work_id` and `steps`, how many of its steps
    are taken as they are; it may also name `edits` that are then carried out (docs/learning.md). Such a run
    is no part of the catalogue. None: each begins with its image."""

    @model_validator(mode="after")
    def _carries_states(self) -> InputConfig:
        if self.branches is not None and "branch" not in (self.columns.metadata or ("branch",)):
            raise ValueError("branches: the column `branch` names the states; add it to columns.metadata")
        return self

    @property
    def begins_within(self) -> bool:
        """Whether there are `branches`."""
        return self.branches is not None


class OutputConfig(RunOutput, ImageOutput):
    """Where results go and in which form."""

    step_images: Literal["embed", "drop", "reference"] = "embed"
    """The image after each step: inside the result row, not kept, or kept as an object of its own
    under `<run>/steps/` with its URI in the row."""
    tokens: bool = False
    """Whether results have the column `answers`: each answer of the policy with its tokens and their
    log-probabilities (docs/learning.md). Needs a policy that tells them: qwen_vl, vllm, or an endpoint that
    gives logprobs."""
    candidates: Literal["scores", "images"] = "scores"
    """What is kept of the images that were drawn and not taken: their scores; or in the column `judgements`
    also the images, as `step_images` says, and all that the judge said of each candidate."""
    fidelity: bool = True
    """Whether each result is measured against its source: what moved, was recoloured or lost beyond the edit
    (docs/fidelity.md). It takes some milliseconds of CPU a record and changes no result."""


class AcceptConfig(Strict):
    """How the loop uses a judge's scores, each in [0, 1]."""

    model: JudgeConfig
    """Which judge."""
    attempts: int = Field(default=2, ge=1, le=16)
    """Most seeds tried for an edit, before it is rolled back."""
    candidates: int = Field(default=1, ge=1, le=16)
    """Fewest seeds tried for an edit: of all that are drawn the judge's best is taken (best-of-N). One that
    reaches `satisfied` ends the drawing."""
    unsure_above: float | None = Field(default=None, ge=0)
    """A further seed is tried, up to `attempts`, where the best so far is accepted but the judge is unsure of
    it: the entropy that it gives (score_logit: 0 to 1.79 nats) is above this. None: it is taken as it is."""
    tolerance: float = Field(default=0.0, ge=0, le=1)
    """An edit is accepted when its score is at least the current image's less this (the untouched image
    counts 0) and above 0, which is nothing of what was asked for."""
    satisfied: float | None = Field(default=None, ge=0, le=1)
    """Stop when an accepted image scores at least this; None leaves stopping to the policy."""

    @model_validator(mode="after")
    def _draws_with_effect(self) -> AcceptConfig:
        if self.candidates > self.attempts:
            raise ValueError(
                f"candidates is {self.candidates}, and attempts, the most seeds tried, is {self.attempts}; "
                f"set attempts to {self.candidates} or more"
            )
        if self.unsure_above is None:
            return self
        if self.candidates == self.attempts and self.satisfied is None:
            raise ValueError(
                f"unsure_above: all {self.attempts} attempts are drawn anyway, so no further seed is left to "
                "try; raise attempts, or lower candidates"
            )
        if (most := self.model.most_entropy) is None:
            raise ValueError(
                f"unsure_above: a judge of type {self.model.type} doesn't say how unsure it is; take "
                "score_logit, or leave it out"
            )
        if self.unsure_above >= most:
            raise ValueError(
                f"unsure_above is {self.unsure_above:g}, and this judge gives no entropy above {most:.4g}; "
                "lower it"
            )
        return self

    @model_validator(mode="after")
    def _knows_the_instruction(self) -> AcceptConfig:
        if self.satisfied is not None and self.model.type == "fidelity":
            raise ValueError(
                "satisfied: the fidelity judge knows nothing of the instruction, so its score can't say that "
                "the image is done; leave satisfied out"
            )
        if self.satisfied is not None and self.model.type == "pairwise":
            raise ValueError(
                "satisfied: the pairwise judge says that an image is better than the original, not that it "
                "is done; leave satisfied out"
            )
        return self


class BulkEditConfig(JobConfig):
    """Edit every record of a manifest by the loop of policy and editor."""

    job: Literal["edit"] = "edit"  # pyright: ignore[reportIncompatibleVariableOverride]
    """Which job it is; where it is left out, this one."""
    input: InputConfig
    """What to edit."""
    output: OutputConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    """Where results go and in which form."""
    policy: PolicyConfig = RulesPolicyConfig(type="rules")
    """What names the edits: `type` is rules, passthrough, qwen_vl, vllm, openai, simulated or custom."""
    editor: EditorConfig = PillowEditorConfig(type="pillow")
    """What carries them out: `type` is pillow, diffusers, openai_images, gemini_images, simulated or
    custom."""
    judge: AcceptConfig | None = None
    """Optional acceptance in the loop."""
    rollouts: int = Field(default=1, ge=1, le=1024, exclude_if=lambda number: number == 1)
    """Trajectories of each record, seeded apart, as training a policy needs them (docs/learning.md). Above 1
    results have the column `rollout`, all records of the manifest are run, and the run is no part of the
    catalogue, in which a record has one result."""
    seed: int | None = Field(default=None, ge=0, exclude_if=lambda seed: seed is None)
    """None: a record's seeds follow from its content and from all settings that change results. A number:
    from the number and the record's id, instruction, rollout and state alone, so that runs of other models or
    settings with the same number draw with the same seeds, and compare with less luck (docs/evaluate.md).
    To set or change it makes every record anew."""
    limits: LimitsConfig = LimitsConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What bounds each record and the whole run."""

    @model_validator(mode="after")
    def _logs_what_there_is(self) -> BulkEditConfig:
        output = self.output
        if output.tokens and not self.policy.tells_tokens:
            raise ValueError(
                f"output.tokens: a policy of type {self.policy.type} tells no tokens; take qwen_vl, vllm or "
                "openai, or leave it out"
            )
        if output.candidates == "images" and self.judge is None:
            raise ValueError(
                "output.candidates: without a judge nothing is drawn but what is taken; set judge"
            )
        if output.candidates == "images" and output.step_images == "drop":
            raise ValueError(
                "output.candidates: images are kept as those of steps are, and output.step_images is drop; "
                "set it to embed or reference"
            )
        return self

    @model_validator(mode="after")
    def _runs_all_there_is(self) -> BulkEditConfig:
        what = f"rollouts: {self.rollouts}" if self.rollouts > 1 else "input.branches"
        if not self.enters_catalogue and self.select is not None:
            raise ValueError(
                f"select: is about the catalogue, and a run with {what} is no part of it; take that away, or "
                "a manifest of the records that are wanted"
            )
        if not self.enters_catalogue and self.output.skip_unfinished:
            raise ValueError(f"output.skip_unfinished: a run with {what} leaves nothing out; unset it")
        return self

    @model_validator(mode="after")
    def _begins_within(self) -> BulkEditConfig:
        if self.limits.new_steps is not None and not self.input.begins_within:
            raise ValueError(
                "limits.new_steps: counts from the states of input.branches, and there are none; "
                "take max_steps"
            )
        return self

    @model_validator(mode="after")
    def _has_gpus(self) -> BulkEditConfig:
        """Ray shows a worker no more GPUs than it reserves, and a large model on a CPU takes for ever."""
        if self.backend == "inline":
            return self
        for where, model in self.engines().items():
            for device in model.devices if isinstance(model, TorchConfig) else ():
                number = 0 if device in ("auto", "cuda") else int(device.partition(":")[2] or -1)
                if number >= self.workers.gpus:
                    raise ValueError(
                        f"{where}.devices: {device} needs workers.gpus of at least {number + 1}, and it is "
                        f"{self.workers.gpus:g}; raise it, or set {where}.devices: [cpu]"
                    )
        return self

    def models(self) -> dict[str, ModelConfig]:
        """The models that the job loads, by role."""
        judge = {} if self.judge is None else {"judge": self.judge.model}
        return {"policy": self.policy, "editor": self.editor, **judge}

    def engines(self) -> dict[str, ModelConfig]:
        """What is loaded or called for them, by the field that names it."""
        return {
            f"{'judge.model' if role == 'judge' else role}{below}": engine
            for role, model in self.models().items()
            for below, engine in model.engines().items()
        }

    @property
    def charges(self) -> bool:
        """Whether calls of any of its models cost money."""
        return any(model.charges for model in self.models().values())

    @property
    def copies(self) -> int:
        """As many as there are rollouts."""
        return self.rollouts

    @property
    def enters_catalogue(self) -> bool:
        """Not with several rollouts of a record, or if it begins within another run's trajectories."""
        return self.rollouts == 1 and not self.input.begins_within

    def pixels(self) -> dict[str, Any]:
        """Everything that changes what a record's result looks like, as plain JSON data."""
        return {
            "version": PIPELINE_VERSION,
            "policy": self.policy.pixels(),
            "editor": self.editor.pixels(),
            "judge": None if self.judge is None else self._judge_pixels(self.judge),
            "limits": self.limits.model_dump(mode="json", exclude=set(self.limits.OPERATIONAL)),
            "output": self.output.model_dump(mode="json", include={"format", "quality", "background"})
            | {name: OutputConfig.model_fields[name].default for name in _WITHOUT_EFFECT[self.output.format]}
            | self.output.form(),
            # No more than differs, so that earlier releases' names of work stay:
            **({} if self.seed is None else {"seed": self.seed}),
        }

    @staticmethod
    def _judge_pixels(judge: AcceptConfig) -> dict[str, Any]:
        unset = {name for name in _ADDED if getattr(judge, name) == AcceptConfig.model_fields[name].default}
        return judge.model_dump(mode="json", exclude={"model", *unset}) | {"model": judge.model.pixels()}

    def loop_limits(self, begun: int = 0) -> Limits:
        """The loop's own limits.

        Args:
            begun: steps that the record takes over from the state that it begins from.
        """
        judge, new = self.judge, self.limits.new_steps
        return Limits(
            max_steps=self.limits.max_steps if new is None else begun + new,
            end_after=None if new is None else begun + new,
            malformed_retries=self.limits.malformed_retries,
            attempts_per_step=judge.attempts if judge else 1,
            candidates=judge.candidates if judge else 1,
            unsure_above=judge.unsure_above if judge else None,
            tolerance=judge.tolerance if judge else 0.0,
            satisfied=judge.satisfied if judge else None,
            no_progress=self.limits.no_progress,
            max_seconds=self.limits.max_seconds_per_record,
        )
