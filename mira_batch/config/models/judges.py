"""Judges that ask a vision-language model by a protocol; docs/judges.md explains them."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from mira_batch.config.base import Location, Strict, is_remote
from mira_batch.config.models.base import ModelConfig
from mira_batch.config.models.local import QwenWeightsConfig, SamplingConfig
from mira_batch.config.models.served import ServedConfig

Task = Literal["add", "remove", "replace", "adjust", "background", "style", "extract", "action", "compose"]
"""The kinds of edit that ImgEdit tells apart."""


def _check_local(path: str) -> str:
    if is_remote(path):
        raise ValueError(f"{path}: must be a file on this machine, in a place that every worker sees")
    return path


LocalFile = Annotated[Location, AfterValidator(_check_local)]
"""A file that every worker sees under this path."""


class JudgeSamplingConfig(SamplingConfig):
    """How a judge's answer is drawn."""

    top_k: int | None = Field(default=None, ge=1)
    """Only so many of the likeliest tokens are drawn from; None: all. OpenAI's own models don't know it."""


class SeenConfig(Strict):
    """Base of the backends: what a judge's model is shown, and how it answers."""

    max_pixels: int = Field(default=1_003_520, ge=3_136)
    """Images larger than this, in pixels, are shown smaller."""
    sampling: JudgeSamplingConfig | None = None
    """How its answers are drawn; None takes what the protocol says."""


class QwenVLBackendConfig(QwenWeightsConfig, SeenConfig):
    """A Qwen2.5-VL or Qwen3-VL in the worker."""

    type: Literal["qwen_vl"]


class OpenAIBackendConfig(ServedConfig, SeenConfig):
    """Any vision-language model behind an OpenAI-compatible chat endpoint."""

    type: Literal["openai"]


class GeminiBackendConfig(ServedConfig, SeenConfig):
    """A Gemini model."""

    type: Literal["gemini"]


BackendConfig = Annotated[
    QwenVLBackendConfig | OpenAIBackendConfig | GeminiBackendConfig, Field(discriminator="type")
]


class ProtocolConfig(ModelConfig):
    """Base of the judges that ask a model by a protocol."""

    backend: BackendConfig
    """Which model is asked: `type` is qwen_vl, openai or gemini."""
    resize: Literal["none", "to_source"] = "none"
    """to_source shows the edited image at the size of the original (bicubic), as GEdit-Bench and EditScore
    do; none shows it as it is."""

    @property
    def kind(self) -> str:
        """Its `type`."""
        return str(self.__dict__["type"])

    def engines(self) -> dict[str, ModelConfig]:
        return {f".backend{below}": model for below, model in self.backend.engines().items()}

    def weight_locations(self) -> tuple[str, ...]:
        return self.backend.weight_locations()

    @property
    def charges(self) -> bool:
        return self.backend.charges

    def pixels(self) -> dict[str, Any]:
        return super().pixels() | {"backend": self.backend.pixels()}


class VIEScoreConfig(ProtocolConfig):
    """VIEScore: success and over-editing of the edit, naturalness and artifacts of the image, of 0 to 10."""

    type: Literal["viescore"]
    prompts: LocalFile | None = None
    """Your copy of the authors' `vie_prompts.py`; None asks in our own words."""


class EditScoreConfig(ProtocolConfig):
    """EditScore: as VIEScore with reasons first, each 0 to 25, over several draws."""

    type: Literal["editscore"]
    prompts: LocalFile | None = None
    """Your copy of the authors' `vie_prompts.py`; None asks in our own words."""
    resize: Literal["none", "to_source"] = "to_source"
    """to_source shows the edited image at the size of the original (bicubic), as its authors do."""
    passes: int = Field(default=1, ge=1, le=64)
    """How often each question is asked, with a seed of its own. Its authors' Avg@4 is 4."""
    seed: int = Field(default=42, ge=0, lt=2**31)
    """Of the first pass; the next has the next number."""
    averaging: Literal["average_last", "average_first"] = "average_last"
    """average_last is the mean of the passes' scores; average_first the score of the passes' means."""

    image_labels: bool = True
    """Whether each image is announced (`<img1>: `), as the released weights on Qwen2.5-VL were trained with;
    false for those on Qwen3-VL."""

    @model_validator(mode="after")
    def _draws_differ(self) -> EditScoreConfig:
        sampling = self.backend.sampling
        if self.passes > 1 and sampling is not None and sampling.temperature == 0:
            raise ValueError(
                "passes: at backend.sampling.temperature 0 each pass gives the same answer; set passes: 1, "
                "or leave sampling out, whose temperature then is 0.7"
            )
        return self


class ScoreLogitConfig(ProtocolConfig):
    """The score-logit judge of UniWorld-V2 and Edit-R1: the expectation of one digit, 0 to 5, by the
    probabilities of the first token."""

    type: Literal["score_logit"]
    prompts: LocalFile | None = None
    """Your copy of Edit-R1's `prompt_template.py`; None asks in our own words."""
    min_mass: float = Field(default=0.5, gt=0, le=1)
    """Least probability that the six digits must have together. Below it the model was about to say
    something else, and the judging fails."""
    requirement_key: str | None = Field(default=None, min_length=1)
    """Which key of a record's `metadata` holds what is required beyond its instruction; None: nothing is."""

    @property
    def most_entropy(self) -> float:
        return math.log(6)  # all six digits alike

    @model_validator(mode="after")
    def _draws_nothing(self) -> ScoreLogitConfig:
        sampling = self.backend.sampling
        if sampling is None:
            return self
        nulls = sampling.model_dump() == JudgeSamplingConfig(temperature=None, top_p=None).model_dump()
        if not nulls or isinstance(self.backend, QwenVLBackendConfig):
            raise ValueError(
                "backend.sampling: score_logit reads probabilities and draws nothing; leave it out, or for "
                "an endpoint that refuses the settings write {temperature: null, top_p: null}"
            )
        return self


class ImgEditConfig(ProtocolConfig):
    """ImgEdit-Bench: three axes of 1 to 5, which depend on the kind of edit."""

    type: Literal["imgedit"]
    prompts: LocalFile | None = None
    """Your copy of the benchmark's `prompts.json`; None asks in our own words."""
    task: Task | None = None
    """The kind of edit of all records."""
    task_key: str | None = Field(default=None, min_length=1)
    """Which key of a record's `metadata` holds its kind."""

    @model_validator(mode="after")
    def _one_source(self) -> ImgEditConfig:
        if (self.task is None) == (self.task_key is None):
            raise ValueError(
                "set either task, the kind of edit of all records, or task_key, the key of `metadata` that "
                "holds the kind of each"
            )
        return self


class PairwiseConfig(ProtocolConfig):
    """Which of two results is better, in words of our own. As a judge of one image it compares the candidate
    with the original, in both orders: 1 where both prefer it, 0 where neither does, else 0.5."""

    type: Literal["pairwise"]


ProtocolJudgeConfig = VIEScoreConfig | EditScoreConfig | ScoreLogitConfig | ImgEditConfig | PairwiseConfig
"""Any of them."""
