"""Models behind an HTTP endpoint: a policy or a judge on vLLM or SGLang, hosted models, image-editing
APIs."""

from __future__ import annotations

import os
import re
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from mira_batch.config.base import Expanded, Strict
from mira_batch.config.models.base import ModelConfig
from mira_batch.config.models.local import PromptConfig, SamplingConfig


class Prices(Strict):
    """What an endpoint charges, in US dollars. What it says of its use is priced with these."""

    call: float = Field(default=0.0, ge=0)
    """Of each call."""
    million_input_tokens: float = Field(default=0.0, ge=0)
    """Of a million tokens of prompt, images included."""
    million_output_tokens: float = Field(default=0.0, ge=0)
    """Of a million tokens of answer."""
    image: float = Field(default=0.0, ge=0)
    """Of each image it makes."""


class ServedConfig(ModelConfig):
    """Base of the configs of endpoints."""

    OPERATIONAL: ClassVar[frozenset[str]] = frozenset(
        {
            "base_url",
            "api_key_env",
            "concurrency",
            "requests_per_minute",
            "timeout_seconds",
            "retry_seconds",
            "prices",
        }
    )

    model: str = Field(min_length=1)
    """The model's name at the endpoint."""
    base_url: Expanded | None = None
    """The endpoint: `http://vllm.internal:8000/v1`. None is the vendor's own."""
    api_key_env: str | None = None
    """Environment variable, on the workers, with the key. None takes the client's own (OPENAI_API_KEY,
    GEMINI_API_KEY); an endpoint that wants no key needs none."""
    concurrency: int = Field(default=8, ge=1, le=1024)
    """Calls in flight at once, of each worker."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """The most calls begun in a minute, of each worker; None sets no limit."""
    timeout_seconds: float = Field(default=300.0, gt=0)
    """Longest one try may take."""
    retry_seconds: float = Field(default=600.0, ge=0)
    """How long passing faults (429, 5xx, time-outs, resets) are retried, with back-off and jitter, or as
    the endpoint asks. An endpoint that is down for longer ends the run, which can be resumed."""
    prices: Prices = Prices()
    """What it charges."""

    @property
    def charges(self) -> bool:
        """Whether any of its prices is set."""
        return any(self.prices.model_dump().values())

    def find_missing_key(self, usual: str) -> str | None:
        """The environment variable that must hold a key and, in this process, doesn't.

        Args:
            usual: the variable of the vendor's client, which its own endpoint needs.
        """
        name = self.api_key_env or usual
        wanted = self.api_key_env is not None or self.base_url is None
        return name if wanted and not os.environ.get(name, "").strip() else None

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"^https?://[^@?#]+$", value):
            raise ValueError(
                "must be http(s)://host[:port]/path without a user name or a key; see api_key_env"
            )
        return value


class OpenAIPolicyConfig(ServedConfig):
    """A policy behind an OpenAI-compatible chat endpoint: vLLM, SGLang, hosted models."""

    type: Literal["openai"]
    prompt: PromptConfig = PromptConfig()
    """What it is shown and told."""
    sampling: SamplingConfig = SamplingConfig()
    """How its text is drawn; the seed is passed on, and kept to as far as the endpoint does."""

    @property
    def tells_tokens(self) -> bool:
        return True


class JudgePromptConfig(Strict):
    """What a vision-language judge is shown and told."""

    guidance: str = ""
    """Your own rules, added to the system prompt: `A changed face spoils the image.`"""
    max_pixels: int = Field(default=1_003_520, ge=3_136)
    """Images larger than this, in pixels, are shown smaller."""


class OpenAIJudgeConfig(ServedConfig):
    """A judge behind an OpenAI-compatible chat endpoint: any vision-language model, asked in our own form for
    a score of 0 to 10 and a reason."""

    type: Literal["openai"]
    prompt: JudgePromptConfig = JudgePromptConfig()
    """What it is shown and told."""
    sampling: SamplingConfig = SamplingConfig()
    """How its text is drawn; the seed follows from the images and the instruction."""


class OpenAIImagesConfig(ServedConfig):
    """An editor behind an OpenAI-compatible image editing endpoint (`/images/edits`): GPT-Image."""

    type: Literal["openai_images"]
    quality: Literal["auto", "low", "medium", "high"] = "auto"
    """What it is to spend on an image."""
    input_fidelity: Literal["low", "high"] | None = None
    """How closely it is to keep to the input; None leaves the endpoint's default."""


class GeminiImagesConfig(ServedConfig):
    """An editor behind Gemini's image generation (Nano-Banana)."""

    type: Literal["gemini_images"]
