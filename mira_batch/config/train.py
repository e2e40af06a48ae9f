"""The configuration of trainings: what all of them share, and that of the policy by demonstrations (SFT)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mira_batch.config.base import Location, Strict
from mira_batch.config.models.base import WeightsLocation
from mira_batch.config.models.local import PromptConfig
from mira_batch.config.shared import StorageConfig

LANGUAGE_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of Qwen's language model, by the last part of their names."""


class TrainedModelConfig(Strict):
    """The Qwen2.5-VL or Qwen3-VL that learns."""

    weights: WeightsLocation
    """Where its weights are: a directory, an object-store prefix, or hf://owner/name@revision."""
    adapter: WeightsLocation | None = None
    """A LoRA adapter to go on from, of an earlier training. Its own shape counts: `tuning` has none then."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Number format of the weights that don't learn. Those that do are in float32: bfloat16 would round small
    steps away."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention kernels; flash_attention_2 needs the flash-attn package."""


class LoraTuning(Strict):
    """Learn a LoRA adapter beside the weights, which stay as they are."""

    type: Literal["lora"] = "lora"
    r: int = Field(default=16, ge=1, le=1024)
    """Rank of the adapter's matrices."""
    alpha: float = Field(default=32.0, gt=0)
    """The adapter's effect is scaled by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of an adapted layer's inputs that are left out in each step."""
    targets: tuple[str, ...] = Field(default=LANGUAGE_LAYERS, min_length=1)
    """Names of the linear layers that are adapted: the last part, such as q_proj."""
    vision: bool = False
    """Whether layers of these names in the vision tower are adapted, too. A tower's own are called qkv, proj,
    gate_proj, up_proj and down_proj (Qwen2.5-VL), or qkv, proj, linear_fc1 and linear_fc2 (Qwen3-VL)."""


class FullTuning(Strict):
    """Learn the weights themselves: memory of sixteen bytes for each of them."""

    type: Literal["full"] = "full"
    vision: bool = False
    """Whether the vision tower learns, too."""


TuningConfig = Annotated[LoraTuning | FullTuning, Field(discriminator="type")]


class SamplesConfig(Strict):
    """The samples that are learned from, as `mira-batch construct` writes them."""

    uri: Location
    """Directory that holds train-*.parquet, and val-*.parquet for validation, itself or in `samples/`."""
    window: int = Field(default=1024, ge=1, le=1_000_000)
    """So many samples at least are shuffled together, in whole row groups, whose order is shuffled as well. A
    worker keeps up to twice as many in memory, images encoded as they are in the file."""


class OptimizerConfig(Strict):
    """AdamW, and how its steps grow and shrink."""

    learning_rate: float = Field(default=1e-4, gt=0, le=1)
    """The largest step. For LoRA 1e-4 to 2e-4 is usual, for all weights about 1e-5."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How steps shrink after the warm-up: not at all, or to 0 at the end."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of all steps over which they grow from 0."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decoupled decay of weights (matrices alone, neither biases nor norms)."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the mean of gradients."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the mean of their squares."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""


class ValidationConfig(Strict):
    """What is measured on samples that are not learned from."""

    every: int = Field(default=200, ge=1)
    """Steps between measurements; there is one before the first and one after the last step, too."""
    samples: int = Field(default=256, ge=1)
    """So many of the split val, the same ones each time; all, where there are fewer."""


class CheckpointsConfig(Strict):
    """What a killed training goes on from."""

    every: int = Field(default=200, ge=1)
    """Steps between checkpoints; there is one after the last step, too."""
    keep: int = Field(default=2, ge=1, le=1000)
    """The newest so many stay; older ones are deleted once a new one is whole."""


class TrainWorkersConfig(Strict):
    """The processes that learn together, each on samples of its own (data parallel)."""

    num: int = Field(default=1, ge=1, le=4096)
    """How many."""
    cpus: float = Field(default=1, gt=0)
    """CPUs that Ray reserves for each."""
    gpus: float = Field(default=0, ge=0, le=1)
    """GPUs that Ray reserves for each: 1, or 0 to learn on CPUs."""
    retries: int = Field(default=3, ge=0, le=1000)
    """How often a training whose worker or node died is begun again, from its newest checkpoint. Errors of
    settings and data end it at once."""

    @model_validator(mode="after")
    def _whole_gpus(self) -> TrainWorkersConfig:
        if self.gpus not in (0, 1):
            raise ValueError(f"gpus is {self.gpus:g}: a worker that learns has one GPU to itself, or none")
        return self


class SftWorkersConfig(TrainWorkersConfig):
    """The processes that learn together, each on samples of its own (data parallel)."""

    strategy: Literal["ddp", "fsdp2"] = "ddp"
    """ddp: each has the whole model, with its gradients and AdamW's means. fsdp2: these are shared out among
    all, and each layer is gathered when it is computed; for models that one GPU has no room for."""

    @model_validator(mode="after")
    def _has_others(self) -> SftWorkersConfig:
        if self.strategy == "fsdp2" and self.num == 1:
            raise ValueError(
                "strategy: fsdp2 shares the model out among workers, and there is one; raise workers.num, or "
                "leave strategy out"
            )
        return self


class TrainOutput(Strict):
    """Where a training goes."""

    uri: Location
    """Directory of this one training: its checkpoints, its adapter or model, card and figures."""


class TrainingConfig(Strict):
    """What all trainings by steps of gradients share."""

    output: TrainOutput
    """Where it goes."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How the weights learn."""
    epochs: int | None = Field(default=None, ge=1, le=1000)
    """How often each sample is learned from. Give this or `max_steps`."""
    max_steps: int | None = Field(default=None, ge=1)
    """Steps of the optimiser, over as many epochs as that takes."""
    batch: int = Field(default=1, ge=1, le=4096)
    """Samples that a worker computes at once."""
    accumulate: int = Field(default=1, ge=1, le=4096)
    """Such batches that make up one step. A step is of batch x accumulate x workers.num samples."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of all that is drawn: the order of samples, new weights, dropout, and an editor's noise."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Number format of the arithmetic. float32 on a CPU gives the same bytes after any interruption."""
    gradient_checkpointing: bool = True
    """Compute activations a second time rather than keep them: slower by a third, in far less memory."""
    validation: ValidationConfig | None = ValidationConfig()
    """Measurements on the split val. Null measures none, and needs no such split."""
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    """What a killed training goes on from."""
    log_every: int = Field(default=10, ge=1)
    """Steps between lines of metrics and of progress."""
    sight_samples: int = Field(default=8, ge=1, le=256)
    """For so many samples it is seen, at the start and at the end, that their answers' likelihood changes
    when their images are blanked; of an editor, that its prediction does. Where none does, the model is blind
    to them, and the training ends."""
    workers: TrainWorkersConfig = TrainWorkersConfig()
    """Who learns."""
    backend: Literal["ray", "inline"] = "ray"
    """ray: Ray Train, on this machine or a cluster; inline: one worker, in this process."""
    storage: StorageConfig = StorageConfig()
    """How object stores are reached."""

    @model_validator(mode="after")
    def _ends_and_fits(self) -> TrainingConfig:
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("epochs, max_steps: give one of both, which says when the training ends")
        if self.backend == "inline" and self.workers.num > 1:
            raise ValueError(
                f"workers.num: {self.workers.num} workers need backend: ray; inline is one process"
            )
        if self.backend == "inline" and "retries" in self.workers.model_fields_set:
            raise ValueError(
                "workers.retries: has no effect with backend: inline, which has no other process"
            )
        return self

    @property
    def step_samples(self) -> int:
        """Samples of one step."""
        return self.batch * self.accumulate * self.workers.num

    def learning(self) -> dict[str, Any]:
        """Everything that decides what is learned, as plain JSON data."""
        names = {
            "optimizer", "epochs", "max_steps", "batch", "accumulate", "seed", "precision",
            "gradient_checkpointing",
        }  # fmt: skip
        found = self.model_dump(mode="json", include=names)
        return found | {"workers": self.workers.num, "gpus": self.workers.gpus}


class SftConfig(TrainingConfig):
    """Teach a policy by demonstrations: the answers of samples, given their questions (SFT)."""

    job: Literal["policy-sft"] = "policy-sft"
    """Which job it is."""
    model: TrainedModelConfig
    """What learns."""
    data: SamplesConfig
    """What from."""
    prompt: PromptConfig = PromptConfig()
    """What the policy is shown and told; as in the job that will use it, or it learns another question."""
    tuning: TuningConfig = LoraTuning()
    """Which weights learn."""
    workers: SftWorkersConfig = SftWorkersConfig()  # pyright: ignore[reportIncompatibleVariableOverride]
    """Who learns."""

    @model_validator(mode="after")
    def _fits(self) -> SftConfig:
        if self.model.adapter is not None and (
            isinstance(self.tuning, FullTuning) or self.tuning.model_fields_set - {"type"}
        ):
            raise ValueError("tuning: has no effect with model.adapter, which is gone on with as it is")
        full = isinstance(self.tuning, FullTuning)
        if full and self.model.dtype != "float32" and "dtype" in self.model.model_fields_set:
            raise ValueError("model.dtype: weights that learn are in float32; leave it out")
        return self

    def learning(self) -> dict[str, Any]:
        """Everything that decides what is learned, as plain JSON data."""
        found = self.model_dump(mode="json", include={"job", "model", "prompt", "tuning"})
        found |= super().learning() | {"window": self.data.window}
        # Of a training that was begun before there was a choice, too.
        return found if self.workers.strategy == "ddp" else found | {"strategy": self.workers.strategy}
