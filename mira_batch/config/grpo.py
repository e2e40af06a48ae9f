"""The configuration of a policy's training by its own rollouts, with the editor in the loop (GRPO)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from mira_batch.config.base import Strict
from mira_batch.config.edit import AcceptConfig, BulkEditConfig, InputConfig
from mira_batch.config.grpo_update import AgreementConfig, GrpoLossConfig, GrpoOptimizerConfig
from mira_batch.config.iterations import HeldOutConfig, IterationsConfig, JudgedConfig, RunsConfig
from mira_batch.config.models import EditorConfig, JudgeConfig
from mira_batch.config.models.local import Device, PromptConfig
from mira_batch.config.train import LoraTuning, TrainedModelConfig

SCORE = "score"
"""The name of a judge's score beside its axes."""
_JUDGE: TypeAdapter[JudgeConfig] = TypeAdapter(JudgeConfig)


class SamplerConfig(Strict):
    """How the policy is run in rollouts. Its weights, prompt and number format are those that learn, and its
    answers are drawn at temperature 1 from the whole distribution: what log-probabilities are of."""

    max_tokens: int = Field(default=512, ge=16, le=32_768)
    """Longest answer, in tokens. A longer one is cut off, which is malformed."""
    max_batch: int | None = Field(default=None, ge=1, le=1024)
    """The most requests in one call."""
    devices: tuple[Device, ...] = Field(default=("auto",), min_length=1)
    """Where copies of the policy go: auto, cpu, or cuda:N as the worker counts its GPUs."""


class GrpoEditConfig(RunsConfig):
    """The edit job that makes the rollouts. What its sections mean is as there."""

    editor: EditorConfig
    """What carries edits out."""
    judge: AcceptConfig | None = None
    """Optional acceptance in the loop. Without `rewards.judge` its score is the reward's."""
    policy: SamplerConfig = SamplerConfig()
    """How the policy is run."""


class RewardsConfig(JudgedConfig):
    """What a rollout is worth: sum of weight x part - step_cost x edits - malformed_penalty x malformed
    answers. A rollout that ended since its answers were malformed made nothing: its parts count 0. Without a
    `judge` the scores are those of the judge in the loop."""

    weights: dict[str, float] = Field(default={SCORE: 1.0}, min_length=1)
    """Weight of each part: `score`, or an axis of the judge by its name (semantic and perceptual ones, say),
    brought to [0, 1] by its own range. Axes need `judge`."""
    step_cost: float = Field(default=0.0, ge=0)
    """What each edit costs."""
    malformed_penalty: float = Field(default=0.0, ge=0)
    """What each malformed answer costs."""


class GrpoValidationConfig(HeldOutConfig):
    """Greedy runs of the policy on held-out records: before the first iteration, after every so many, and
    after the last. They are scored by the sentinel, else by the judge of the reward. The adapter with the
    best score is what the training gives."""

    success: float = Field(default=1.0, gt=0, le=1)
    """A record with at least this score is a success."""


class GrpoConfig(IterationsConfig):
    """Teach a policy by its own rollouts, with the editor in the loop (GRPO)."""

    job: Literal["policy-grpo"] = "policy-grpo"
    """Which job it is."""
    model: TrainedModelConfig
    """What learns; `adapter` is the one of policy-sft, say."""
    edit: GrpoEditConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    """How rollouts are made."""
    rewards: RewardsConfig = RewardsConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    """What they are worth."""
    prompt: PromptConfig = PromptConfig()
    """What the policy is shown and told."""
    tuning: LoraTuning = LoraTuning()
    """The shape of a new adapter."""
    credit: Literal["step", "trajectory"] = "step"
    """What an advantage is of. step: one proposal at one state, an edit or STOP, which is held against other
    proposals at the same state (docs/learning.md). trajectory: a rollout, and so each of its answers."""
    states: int | None = Field(default=None, ge=1, exclude_if=lambda number: number is None)
    """With `credit: step`, states of an iteration: so many are drawn of all that the policy was asked at in
    one trajectory of each record. None: as many as `records`."""
    choose: Literal["chance", "doubt"] = Field(default="chance", exclude_if=lambda by: by == "chance")
    """How these are drawn. chance: each as likely as any other. doubt: with weights of 1 - p, p of the answer
    that was given there; where the policy is sure, all proposals are alike and teach nothing."""
    rollouts: int = Field(default=8, ge=2, le=1024)
    """What a group is: proposals at each state, or with `credit: trajectory` rollouts of each record."""
    epochs: int = Field(default=1, ge=1, le=64)
    """How often each answer is learned from."""
    minibatch: int = Field(default=64, ge=1)
    """Answers of a step of the optimiser, over all workers."""
    batch: int = Field(default=1, ge=1, le=4096)
    """Answers that a worker computes at once."""
    loss: GrpoLossConfig = GrpoLossConfig()
    """What is minimised."""
    optimizer: GrpoOptimizerConfig = GrpoOptimizerConfig()
    """How."""
    agreement: AgreementConfig = AgreementConfig()
    """Whether trainer and rollout are of one policy."""
    sight_answers: int = Field(default=8, ge=1, le=256)
    """For so many answers it is seen in each iteration that blanking the images changes their likelihood."""
    canaries: int = Field(default=0, ge=0, le=10_000)
    """For so many rollouts the judge of the reward is also asked about images that must not do; their scores
    are in the figures. Needs `rewards.judge`."""
    validation: GrpoValidationConfig | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Runs on held-out records."""

    @model_validator(mode="after")
    def _fits(self) -> GrpoConfig:
        if self.credit == "trajectory" and self.states is not None:
            raise ValueError("states: has no effect with credit: trajectory; take credit: step, or unset it")
        if self.credit == "trajectory" and self.choose != "chance":
            raise ValueError("choose: has no effect with credit: trajectory; take credit: step, or unset it")
        if self.credit == "step" and self.edit.judge is not None and self.edit.judge.tolerance > 0:
            raise ValueError(
                "edit.judge.tolerance: above 0 a result may be an earlier image than that of the proposal, "
                "and credit: step scores proposals; set it to 0, or take credit: trajectory"
            )
        if self.model.adapter is not None and "tuning" in self.model_fields_set:
            raise ValueError("tuning: has no effect with model.adapter, which is gone on with as it is")
        if self.tuning.dropout:
            raise ValueError("tuning.dropout: must be 0, or trainer and rollout are two policies")
        return self

    @model_validator(mode="after")
    def _is_rewarded(self) -> GrpoConfig:
        rewards = self.rewards
        if rewards.judge is None:
            if self.edit.judge is None:
                raise ValueError("rewards.judge: somebody has to score the rollouts; set it, or edit.judge")
            if axes := sorted(rewards.weights.keys() - {SCORE}):
                raise ValueError(
                    f"rewards.weights: {', '.join(axes)}: the evaluate job tells axes; set rewards.judge"
                )
            if self.canaries:
                raise ValueError("canaries: are asked of rewards.judge, and there is none")
        if not any(rewards.weights.values()):
            raise ValueError("rewards.weights: all are 0, so that nothing would be learned")
        return self

    @model_validator(mode="after")
    def _jobs_fit(self) -> GrpoConfig:
        try:
            self.edit_job(self.edit.input, self.output.uri, None)
            self.validation_job(self.edit.input, self.output.uri, None)
            for judge in self.judges():
                self.judge_job(judge, self.output.uri, self.output.uri)
        except ValidationError as error:
            raise ValueError(f"edit: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
        return self

    def edit_job(self, source: InputConfig, output: str, adapter: str | None) -> BulkEditConfig:
        """The run that makes the rollouts of an iteration.

        Args:
            source: its records.
            output: directory of the run's directory, `run`.
            adapter: directory of the policy's adapter; None: it has none.
        """
        return self._edit(
            source, output, adapter, 1.0, rollouts=1 if self.credit == "step" else self.rollouts
        )

    def proposals_job(self, source: InputConfig, output: str, adapter: str | None) -> BulkEditConfig:
        """The run that makes one proposal after another at each state; arguments as of `edit_job`, `source`
        with its `branches`."""
        limits = self.edit.limits.model_copy(update={"new_steps": 1})
        return self._edit(source, output, adapter, 1.0, rollouts=self.rollouts, limits=limits)

    def validation_job(self, source: InputConfig, output: str, adapter: str | None) -> BulkEditConfig:
        """The greedy run on held-out records, each time with the same draws of the editor; arguments as of
        `edit_job`."""
        return self._edit(source, output, adapter, 0.0, seed=self.seed)

    def _edit(
        self, source: InputConfig, output: str, adapter: str | None, temperature: float, **more: Any
    ) -> BulkEditConfig:
        edit, policy = self.edit, self.edit.policy
        given: dict[str, Any] = {
            "run_id": "run",
            "input": source,
            "output": {"uri": output, "tokens": temperature > 0, "fidelity": False, "format": "png"},
            "policy": {
                "type": "qwen_vl",
                "weights": self.model.weights,
                "adapter": None if adapter is None else {"weights": adapter},
                "dtype": self.model.dtype,
                "attention": self.model.attention,
                "prompt": self.prompt,
                "sampling": {"temperature": temperature, "max_tokens": policy.max_tokens},
                "max_batch": policy.max_batch,
                "devices": policy.devices,
            },
            "editor": edit.editor,
            "judge": edit.judge,
            "limits": edit.limits,
            **self.share_settings(),
        }
        return BulkEditConfig.model_validate(given | more)

    def learning(self) -> dict[str, Any]:
        """Everything that decides what is learned, as plain JSON data."""
        operational = {"output", "workers", "backend", "storage", "agreement", "sight_answers", "validation"}
        later = {"iterations"} if self.optimizer.schedule == "constant" else set[str]()
        found = self.model_dump(mode="json", exclude=operational | later | {"edit", "sentinel", "canaries"})
        edit = self.edit_job(self.edit.input, self.output.uri, None)
        return found | {
            "edit": edit.pixels(),
            "input": self.identify_input(),
            "workers": self.workers.num,
            "gpus": self.workers.gpus,
        }

    @staticmethod
    def keep_decisive(learning: Mapping[str, Any]) -> dict[str, Any]:
        """The same without how the judge is reached and how many rollouts may be left out: neither decides
        what is learned, though both are noted.

        Args:
            learning: of `learning`, now or as a training has noted it.
        """
        rewards = {**learning.get("rewards", {})}
        rewards.pop("max_left_out", None)
        if (judge := rewards.get("judge")) is not None:
            with suppress(ValidationError):  # noted by another release, say: then all of it has to be alike
                rewards["judge"] = _JUDGE.validate_python(judge).pixels()
        return {**learning, "rewards": rewards}
