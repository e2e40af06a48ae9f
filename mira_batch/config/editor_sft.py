"""The configuration of teaching an editor by pairs of images."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mira_batch.config.base import Strict
from mira_batch.config.construct import SplitConfig
from mira_batch.config.evaluate import PairColumns, PairsConfig
from mira_batch.config.models.base import WeightsLocation
from mira_batch.config.shared import ManifestConfig
from mira_batch.config.train import TrainingConfig


class TaughtEditorConfig(Strict):
    """The editing pipeline of diffusers whose transformer learns."""

    pipeline: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        json_schema_extra={"form": "a class with its package, such as diffusers.FluxKontextPipeline"},
    )
    """Dotted path of its class: FluxKontextPipeline, QwenImageEditPipeline, QwenImageEditPlusPipeline or
    Flux2KleinPipeline (base models) of diffusers."""
    weights: WeightsLocation
    """Where its weights are: a directory, an object-store prefix, or hf://owner/name@revision."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Number format of the weights that don't learn, and of what is encoded with them. Weights that learn are
    in float32: bfloat16 would round small steps away."""
    area: int = Field(default=1_048_576, ge=1_024, le=16_777_216)
    """Pixels of the size that edits are learned at: the image's shape, this area, as `editor.area` of the
    edit job that will use it."""
    guidance: float | None = Field(default=None, ge=0)
    """The guidance scale that a guidance-distilled transformer (FLUX.1 Kontext) is told while it learns; None
    tells it 1. Of other models there is none to give."""
    max_sequence_length: int | None = Field(
        default=None, ge=8, le=4096, exclude_if=lambda length: length is None
    )
    """Tokens that a prompt is filled up or cut to, as the same name under `editor.options` of the edit job
    says. None: as many as the pipeline takes by itself, 512 of FLUX.1 Kontext, which takes no more, and of
    FLUX.2 Klein. Qwen-Image-Edit has no such setting."""

    @property
    def prompt_options(self) -> dict[str, int]:
        """What prompts are encoded with beside what the pipeline does by itself."""
        length = self.max_sequence_length
        return {} if length is None else {"max_sequence_length": length}


class EditPairsConfig(ManifestConfig):
    """Pairs of images that are learned from: the results of a run, of all runs under an output, or a manifest
    of pairs."""

    columns: PairColumns = PairColumns()  # pyright: ignore[reportIncompatibleVariableOverride]
    """How the manifest calls its columns: `original` is edited, `image` is what should come of it."""
    where: str = "true"
    """Which results: a condition in SQL over the catalogue's columns. A manifest of pairs has none."""
    statuses: tuple[Literal["ok", "unfinished"], ...] = Field(default=("ok",), min_length=1)
    """Results that ended so are learned from, the others left out."""
    approved_only: bool = False
    """Only results that people's newest decision approves (`mira-batch decide`)."""
    split: SplitConfig = SplitConfig()
    """Which source images are held out for validation."""

    def take_apart(self, results: bool) -> PairsConfig:
        """The same as the evaluate job takes it.

        Args:
            results: whether they are results of runs; the pairs of a manifest have no status.
        """
        names = PairsConfig.model_fields.keys() & self.model_fields_set
        given = {name: getattr(self, name) for name in names}
        return PairsConfig.model_validate(given | ({"statuses": self.statuses} if results else {}))


class EditorLora(Strict):
    """Learn a LoRA adapter beside the transformer, which stays as it is."""

    type: Literal["lora"] = "lora"
    r: int = Field(default=32, ge=1, le=1024)
    """Rank of the adapter's matrices."""
    alpha: float = Field(default=64.0, gt=0)
    """The adapter's effect is scaled by alpha / r."""
    targets: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Names of the linear layers of its blocks that are adapted: the last parts, such as to_q or ff.net.2.
    None: attention and feed-forward layers, by the family's own names."""


class EditorFull(Strict):
    """Learn all weights of the transformer: memory of sixteen bytes for each of them."""

    type: Literal["full"] = "full"


EditorTuning = Annotated[EditorLora | EditorFull, Field(discriminator="type")]


class TimesConfig(Strict):
    """At which shares of noise the transformer learns: their logit is drawn from a normal distribution, and
    they are shifted towards noise."""

    mean: float = Field(default=0.0, ge=-10, le=10)
    """Of the logit. Above 0 there is more noise."""
    deviation: float = Field(default=1.0, gt=0, le=10)
    """Of the logit."""
    shift: Literal["scheduler"] | float = "scheduler"
    """The factor of the shift; 1 shifts nothing. scheduler: as the pipeline's scheduler shifts them, by the
    size of the image."""

    @model_validator(mode="after")
    def _above_zero(self) -> TimesConfig:
        if self.shift != "scheduler" and not 0 < self.shift <= 100:
            raise ValueError(f"shift: is {self.shift:g}; give a factor above 0, at most 100, or scheduler")
        return self


class EditorSftConfig(TrainingConfig):
    """Teach an editor by pairs: the velocity from a wanted image to noise, given the source image and the
    instruction (flow matching)."""

    job: Literal["editor-sft"] = "editor-sft"
    """Which job it is."""
    editor: TaughtEditorConfig
    """What learns."""
    data: EditPairsConfig
    """What from."""
    tuning: EditorTuning = EditorLora()
    """Which weights learn."""
    times: TimesConfig = TimesConfig()
    """How much noise there is in what is learned from."""

    @model_validator(mode="after")
    def _fits(self) -> EditorSftConfig:
        if self.precision == "float32" and self.editor.dtype != "float32":
            raise ValueError("editor.dtype: precision float32 needs weights in float32, too")
        if self.validation is not None and self.data.split.val_fraction == 0:
            raise ValueError("validation: needs data.split.val_fraction above 0; or set validation: null")
        return self

    def learning(self) -> dict[str, Any]:
        """Everything that decides what is learned, as plain JSON data."""
        found = self.model_dump(mode="json", include={"job", "editor", "tuning", "times"})
        return super().learning() | found | {"split": self.data.split.model_dump(mode="json")}
