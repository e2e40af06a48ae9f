"""The configuration of teaching an editor by its own samples (DiffusionNFT)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from mira_batch.config.base import Strict
from mira_batch.config.edit import BulkEditConfig, InputConfig
from mira_batch.config.editor_sft import EditorLora, TaughtEditorConfig, TimesConfig
from mira_batch.config.grpo_update import GrpoOptimizerConfig
from mira_batch.config.iterations import HeldOutConfig, IterationsConfig, JudgedConfig, RunsConfig
from mira_batch.config.models import JudgeConfig
from mira_batch.config.models.base import WeightsLocation
from mira_batch.config.models.local import Device

_OF_THE_LOOP = ("max_steps", "new_steps", "no_progress", "malformed_retries")
"""Limits without effect on a single edit."""


class EditorSamplerConfig(Strict):
    """How the editor is run for samples. Its weights, dtype, area and guidance are those that learn."""

    steps: int = Field(default=6, ge=1, le=1000)
    """Denoising steps of a sample. Few are enough: what is learned is the velocity, whatever the sampler."""
    scheduler: dict[str, Any] = {}
    """Settings of the scheduler that differ from the checkpoint's."""
    max_batch: int | None = Field(default=None, ge=1, le=1024)
    """The most requests in one call."""
    devices: tuple[Device, ...] = Field(default=("auto",), min_length=1)
    """Where copies of the editor go: auto, cpu, or cuda:N as the worker counts its GPUs."""


class NftEditConfig(RunsConfig):
    """The edit job that makes the samples: of each record the whole instruction, as one edit."""

    sampler: EditorSamplerConfig = EditorSamplerConfig()
    """How the editor is run."""

    @model_validator(mode="after")
    def _bounds_an_edit(self) -> NftEditConfig:
        if found := [name for name in _OF_THE_LOOP if name in self.limits.model_fields_set]:
            raise ValueError(f"limits.{found[0]}: has no effect, since a sample is one edit; leave it out")
        return self


class NftRewardsConfig(JudgedConfig):
    """What a sample is worth: the judge's score."""

    judge: JudgeConfig  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    """Who scores samples, by the evaluate job; in the paper the score logit of a large vision-language
    model."""


class GroupFilterConfig(Strict):
    """Which groups teach nothing. Each limit is switched off by null."""

    least_spread: float | None = Field(default=0.05, ge=0, lt=0.5)
    """A group whose rewards have a smaller standard deviation is dropped: its differences are the judge's
    noise. Rewards in [0, 1] have one of 0.5 at most."""
    solved_above: float | None = Field(default=0.9, ge=0, lt=1)
    """A group whose mean reward is above this is dropped. Where its spread is below `least_spread`, too, or
    that is null, its records are drawn no more."""


class NftLossConfig(Strict):
    """The loss, as `train/editor/nft.py` computes it."""

    beta: float = Field(default=1.0, gt=0, le=10)
    """How far the implicit positive and negative velocities are from the sampling policy's."""
    clip: float = Field(default=5.0, gt=0, le=100)
    """Where advantages are cut off, in standard deviations of all rewards. Smaller makes more of small
    differences."""
    drift_weight: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """Weight of the squared distance from the velocity of the model that the training began with. 0 computes
    none."""


class RetentionConfig(Strict):
    """The share of its old weights that the sampling policy keeps after an iteration: slope x iterations
    before it, at most `most`."""

    slope: float = Field(default=0.001, ge=0, le=1)
    """Of the share, an iteration."""
    most: float = Field(default=0.5, ge=0, lt=1)
    """Where it ends."""


class NftOptimizerConfig(GrpoOptimizerConfig):
    """AdamW. Its state goes on from one iteration to the next."""

    learning_rate: float = Field(default=3e-4, gt=0, le=1)
    """The step; the paper's for LoRA."""
    weight_decay: float = Field(default=1e-4, ge=0, le=1)
    """Decoupled decay of weights."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the mean of their squares."""


class NftValidationConfig(HeldOutConfig):
    """Runs of the editor on held-out records: before the first iteration, after every so many, and after the
    last. The judge of the reward scores them, and the sentinel, if there is one. The adapter with the best
    score, the sentinel's if there is one, is what the training gives."""

    steps: int = Field(default=15, ge=1, le=1000)
    """Denoising steps."""


class EditorNftConfig(IterationsConfig):
    """Teach an editor by its own samples, judged (DiffusionNFT)."""

    job: Literal["editor-nft"] = "editor-nft"
    """Which job it is."""
    editor: TaughtEditorConfig
    """What learns. Samples are made with the same guidance; where the pipeline has classifier-free guidance,
    without it."""
    edit: NftEditConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    """How samples are made."""
    rewards: NftRewardsConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    """What they are worth."""
    filter: GroupFilterConfig = GroupFilterConfig()
    """Which of them teach nothing."""
    adapter: WeightsLocation | None = Field(default=None, exclude_if=lambda place: place is None)
    """A LoRA adapter of the transformer to go on with, as editor-sft or an earlier training gave it: its rank
    and layers stay as they are, and `loss.drift_weight` pulls towards it. None: a new one."""
    tuning: EditorLora = EditorLora()
    """The shape of a new adapter."""
    times: TimesConfig = TimesConfig()
    """How much noise there is in what is learned from."""
    loss: NftLossConfig = NftLossConfig()
    """What is minimised."""
    optimizer: NftOptimizerConfig = NftOptimizerConfig()
    """How."""
    retention: RetentionConfig = RetentionConfig()
    """How the policy that samples follows the one that learns."""
    ema: float = Field(default=0.9, ge=0, lt=1)
    """The adapter that is given is a moving average over steps of the optimiser: this share of it stays at
    each. 0 gives the one that learns itself."""
    records: int = Field(default=24, ge=1)
    """Records of an iteration, drawn anew until all have had their turn."""
    rollouts: int = Field(default=12, ge=2, le=1024)
    """Samples of each record, which are a group."""
    epochs: int = Field(default=1, ge=1, le=64)
    """How often each sample is learned from, at another time and with other noise."""
    minibatch: int = Field(default=288, ge=1)
    """Samples of a step of the optimiser, over all workers."""
    batch: int = Field(default=1, ge=1, le=4096)
    """Samples that a worker computes at once; of one size of images."""
    sight_samples: int = Field(default=8, ge=1, le=256)
    """For so many samples it is seen in each iteration that blanking the source image changes the
    prediction."""
    validation: NftValidationConfig | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Runs on held-out records."""
    force: bool = False
    """Teach an editor that was distilled to few steps, too. It may well unlearn to do with these."""

    @model_validator(mode="after")
    def _fits(self) -> EditorNftConfig:
        if self.precision == "float32" and self.editor.dtype != "float32":
            raise ValueError("editor.dtype: precision float32 needs weights in float32, too")
        if self.adapter is not None and "tuning" in self.model_fields_set:
            raise ValueError("tuning: has no effect with adapter, which is gone on with as it is")
        try:
            self.edit_job(self.edit.input, self.output.uri, None)
            for judge in self.judges():
                self.judge_job(judge, self.output.uri, self.output.uri)
        except ValidationError as error:
            raise ValueError(f"edit: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
        return self

    @property
    def guidance(self) -> float:
        """The scale that samples are made with, and that a transformer with guidance embedded is told."""
        return 1.0 if self.editor.guidance is None else self.editor.guidance

    def edit_job(self, source: InputConfig, output: str, adapter: str | None) -> BulkEditConfig:
        """The run that makes the samples of an iteration.

        Args:
            source: its records.
            output: directory of the run's directory, `run`.
            adapter: directory of the editor's adapter; None: it has none.
        """
        return self._edit(source, output, adapter, self.edit.sampler.steps, rollouts=self.rollouts)

    def validation_job(
        self, validation: NftValidationConfig, output: str, adapter: str | None
    ) -> BulkEditConfig:
        """The run on held-out records, each time from the same noise.

        Args:
            validation: which records, and how the editor is run.
            output, adapter: as `edit_job` takes them.
        """
        return self._edit(validation.input, output, adapter, validation.steps, seed=self.seed)

    def _edit(
        self, source: InputConfig, output: str, adapter: str | None, steps: int, **more: Any
    ) -> BulkEditConfig:
        editor, sampler = self.editor, self.edit.sampler
        given: dict[str, Any] = {
            "run_id": "run",
            "input": source,
            "output": {"uri": output, "format": "png"},
            "policy": {"type": "passthrough"},
            "editor": {
                "type": "diffusers",
                **editor.model_dump(include={"pipeline", "weights", "dtype", "area"}),
                "steps": steps,
                "guidance": self.guidance,
                "scheduler": sampler.scheduler,
                "options": editor.prompt_options,
                "loras": [] if adapter is None else [{"weights": adapter}],
                "max_batch": sampler.max_batch,
                "devices": sampler.devices,
            },
            "limits": self.edit.limits,
            **self.share_settings(),
        }
        return BulkEditConfig.model_validate(given | more)

    def learning(self) -> dict[str, Any]:
        """Everything that decides what is learned, as plain JSON data."""
        operational = {"output", "workers", "backend", "storage", "sight_samples", "validation", "force"}
        later = {"iterations"} if self.optimizer.schedule == "constant" else set[str]()
        found = self.model_dump(mode="json", exclude=operational | later | {"edit", "sentinel", "rewards"})
        edit = self.edit_job(self.edit.input, self.output.uri, None)
        return found | {
            "edit": edit.pixels(),
            "input": self.identify_input(),
            "rewards": {"judge": self.rewards.judge.pixels()},
            "workers": self.workers.num,
            "gpus": self.workers.gpus,
        }
