"""Models that run in the worker from weights: Qwen-VL policies and diffusion editors."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from mira_batch.config.base import Location, Strict
from mira_batch.config.models.base import AdapterConfig, BatchedConfig, WeightsLocation
from mira_batch.core.prompt import PromptForm

Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
"""auto (the first GPU that the worker sees, else the CPU), cpu, or cuda:N as the worker counts its GPUs."""


def name_device(device: str) -> str:
    """A device under one name, whichever way a config writes it: auto and cuda are the first GPU.

    Args:
        device: auto, cpu or cuda:N.
    """
    return "cuda:0" if device in ("auto", "cuda") else device


class PromptConfig(Strict):
    """What a vision-language policy is shown and told."""

    form: PromptForm = Field(default="full", exclude_if=lambda form: form == "full")
    """How much it is told. full explains the task and the form of an answer; short shows the images, the
    instruction and the history alone, for a policy that was trained to answer that."""
    guidance: str = ""
    """Your own rules, added to the system prompt: `Never change faces. Keep the brand's colours.`"""
    history: bool = True
    """Whether the edits made so far are listed. The published loop shows none."""
    max_pixels: int = Field(default=1_003_520, ge=3_136)
    """Images larger than this, in pixels, are shown smaller: 1,003,520 are 1,280 tokens of Qwen2.5-VL."""


class SamplingConfig(Strict):
    """How a policy's text is drawn."""

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """0 takes the likeliest token each time. Above, draws are seeded by the record, step and attempt. Null is
    0, and is not sent to an endpoint, whose model may refuse the setting."""
    top_p: float | None = Field(default=1.0, gt=0, le=1)
    """Only the likeliest tokens that make up this probability are drawn from. Null is 1, and is not sent."""
    max_tokens: int = Field(default=512, ge=16, le=32_768)
    """Longest answer, in tokens. A longer one is cut off, which is malformed."""


class TorchConfig(BatchedConfig):
    """Base of the models that torch runs in the worker."""

    OPERATIONAL: ClassVar[frozenset[str]] = BatchedConfig.OPERATIONAL | {"devices"}

    weights: WeightsLocation
    """Where the weights are: a directory, an object-store prefix, or hf://owner/name@revision. Only
    safetensors are read, and no code that comes with them is run."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Number format of weights and activations."""
    devices: tuple[Device, ...] = Field(default=("auto",), min_length=1)
    """Where copies of the model go: auto, cpu, or cuda:N as the worker counts its own GPUs."""

    def weight_locations(self) -> tuple[str, ...]:
        return (self.weights,)


class QwenWeightsConfig(TorchConfig):
    """Base of the configs of a Qwen2.5-VL or Qwen3-VL, run by transformers in the worker."""

    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention kernels; flash_attention_2 needs the flash-attn package."""
    adapter: AdapterConfig | None = None
    """A LoRA adapter: what SFT or GRPO training of the policy gave."""

    def weight_locations(self) -> tuple[str, ...]:
        adapter = self.adapter.weights if self.adapter else None
        return (self.weights, *((adapter,) if adapter else ()))

    @field_validator("adapter")
    @classmethod
    def _one_file(cls, adapter: AdapterConfig | None) -> AdapterConfig | None:
        if adapter is not None and adapter.file is not None:
            raise ValueError("file is for an editor's loras; a policy's directory holds one adapter")
        return adapter


class PolicyAdapterConfig(AdapterConfig):
    """A policy's LoRA adapter: by its directory, or the one that is promoted at a place."""

    weights: WeightsLocation | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """Directory of the adapter."""
    promoted: Location | None = Field(default=None, exclude_if=lambda place: place is None)
    """In place of `weights`: the place of promotions that `mira-batch flywheel` or `promote` writes. A run
    takes the adapter that is current there when it is planned, and keeps it to its end (docs/flywheel.md)."""
    promotion: int | None = Field(default=None, ge=1, exclude_if=lambda number: number is None)
    """Which promotion a run has taken. Written by the run, beside `weights`; not for you to set."""

    @model_validator(mode="after")
    def _names_one(self) -> PolicyAdapterConfig:
        if self.weights is None and self.promoted is None:
            raise ValueError("give weights, the directory of an adapter, or promoted, a place of promotions")
        taken = self.weights is not None and self.promoted is not None
        if taken != (self.promotion is not None):
            raise ValueError(
                "weights, promoted: give one of both; a promotion's number is noted by the run that takes it"
            )
        return self

    @property
    def is_open(self) -> bool:
        """Whether it is still to be found which adapter is promoted."""
        return self.weights is None

    @property
    def place(self) -> str:
        """Its directory, of one that is no longer open."""
        assert self.weights is not None
        return self.weights


class QwenVLConfig(QwenWeightsConfig):
    """A Qwen2.5-VL or Qwen3-VL policy, run by transformers in the worker."""

    type: Literal["qwen_vl"]
    adapter: PolicyAdapterConfig | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """A LoRA adapter: what SFT or GRPO training of the policy gave."""
    prompt: PromptConfig = PromptConfig()
    """What it is shown and told."""
    sampling: SamplingConfig = SamplingConfig()
    """How its text is drawn."""

    @property
    def tells_tokens(self) -> bool:
        return True

    def pixels(self) -> dict[str, Any]:
        """An adapter is the same by whichever way it was found."""
        exclude: dict[str, Any] = dict.fromkeys(self.OPERATIONAL, True)
        if self.adapter is not None:
            exclude["adapter"] = {"promoted", "promotion"}
        return self.model_dump(mode="json", exclude=exclude)


class VllmConfig(TorchConfig):
    """A Qwen-VL policy run by vLLM in the worker. Needs the extra: `pip install 'mira-batch[vllm]'`."""

    OPERATIONAL: ClassVar[frozenset[str]] = TorchConfig.OPERATIONAL | {"gpu_memory_fraction"}

    type: Literal["vllm"]
    prompt: PromptConfig = PromptConfig()
    """What it is shown and told."""
    sampling: SamplingConfig = SamplingConfig()
    """How its text is drawn."""
    gpu_memory_fraction: float = Field(default=0.9, gt=0, le=1)
    """Share of the GPU's memory vLLM may take; lower it where the editor shares the GPU."""
    max_context: int = Field(default=8_192, ge=512)
    """Longest prompt and answer together, in tokens."""

    @property
    def tells_tokens(self) -> bool:
        return True


class SpeedConfig(Strict):
    """Ways to make a diffusion editor faster. All of them may change pixels a little, and are part of a run's
    identity; docs/models.md says what each costs."""

    compile: bool = False
    """Compile the transformer's blocks: minutes (on a GPU while it loads), then faster. Not with a cache."""
    cache: Literal["none", "taylorseer", "magcache", "first_block"] = "none"
    """Reuse of activations between denoising steps. first_block decides by the whole batch, so it needs
    `max_batch: 1`."""
    attention: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")
    """Attention backend by diffusers' name: native, flash, _flash_3, sage … None leaves its default. It
    holds for the whole process."""
    quantization: Literal["none", "int8", "float8"] = "none"
    """Weights of the transformer in 8 bits, by torchao: half the memory."""
    vae_tiling: bool = False
    """Decode images in tiles: less memory above 2 megapixels, with faint seams."""


class DiffusersConfig(TorchConfig):
    """An image editing pipeline of diffusers, or any class with the same call."""

    OPERATIONAL: ClassVar[frozenset[str]] = TorchConfig.OPERATIONAL | {"offload"}

    type: Literal["diffusers"]
    pipeline: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        json_schema_extra={"form": "a class with its package, such as diffusers.FluxKontextPipeline"},
    )
    """Dotted path of the pipeline's class, imported in the worker: diffusers.FluxKontextPipeline."""
    steps: int | None = Field(default=None, ge=1, le=1000)
    """Denoising steps; None takes what the pipeline's authors use."""
    guidance: float | None = Field(default=None, ge=0)
    """Guidance scale (for Qwen-Image-Edit the true CFG scale); None takes the authors' own. 1 switches
    classifier-free guidance off, which halves the work of models that have it."""
    negative_prompt: str = " "
    """What to lead away from, where the pipeline takes one and guidance is above 1."""
    area: int = Field(default=1_048_576, ge=1_024, le=16_777_216)
    """Pixels of the size a trajectory is edited at: the image's shape, this area. Its result is brought back
    to the image's own size at the end."""
    batching: Literal["per_sample", "shared_refs", "none"] | None = None
    """What the pipeline makes of a list of images: one per prompt, references of all prompts, or it takes
    one request a call. None takes what is known of the class; unknown classes get none."""
    options: dict[str, Any] = {}
    """Further keyword arguments of the pipeline's call, as plain values."""
    scheduler: dict[str, Any] = {}
    """Settings of the scheduler that differ from the checkpoint's, as step-distilled LoRAs want them."""
    loras: tuple[AdapterConfig, ...] = ()
    """LoRA adapters. With one of step distillation (Lightning, Turbo) lower `steps`; `guidance: 1`."""
    speed: SpeedConfig = SpeedConfig()
    """Ways to make it faster."""
    offload: Literal["none", "model", "sequential"] = "none"
    """Keep weights in main memory: part by part (model) or layer by layer (sequential, very slow)."""

    def weight_locations(self) -> tuple[str, ...]:
        return (self.weights, *(lora.weights for lora in self.loras))

    @field_validator("options")
    @classmethod
    def _not_ours(cls, options: dict[str, Any]) -> dict[str, Any]:
        ours = {"image", "prompt", "generator", "num_images_per_prompt", "height", "width", "output_type"}
        if taken := sorted(ours & options.keys()):
            raise ValueError(f"{', '.join(taken)} can't be given: the editor sets them for each request")
        return options

    @model_validator(mode="after")
    def _alone(self) -> DiffusersConfig:
        if self.speed.cache == "first_block" and self.max_batch != 1:
            raise ValueError(
                "speed.cache first_block lets the neighbours in a batch change a record; set max_batch: 1"
            )
        return self
