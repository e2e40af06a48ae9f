"""A Qwen-VL policy run by vLLM in the worker: the same prompt and weights as `policy.py`, with vLLM's
batching. Needs the extra `vllm`.

vLLM takes over the first GPU that the worker sees, and schedules the requests of a call by itself, so a call
may hold many. Its sampling is seeded row by row, but its kernels are not bitwise independent of neighbours.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Hashable, Sequence
from typing import Any

from mira_batch.config.models.local import SamplingConfig, VllmConfig
from mira_batch.core.errors import ConfigError, RecordError, boundary, describe
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import Prompt, build_prompt
from mira_batch.core.types import ErrorKind, Weights
from mira_batch.models.qwen.draws import drawn_with
from mira_batch.models.qwen.files import check_qwen_files
from mira_batch.models.qwen.policy import identity_of, opaque, special_tokens

MAX_BATCH = 64
"""Requests in a call, unless the config says otherwise; vLLM runs as many at once as its memory holds."""
_NEVER = -100.0
"""vLLM's least bias: no token with it is ever drawn."""


class VllmPolicy:
    """Holds vLLM's engine."""

    def __init__(self, config: VllmConfig, weights: Weights, device: str) -> None:
        """Start the engine.

        Raises:
            ConfigError: vLLM isn't installed or can't start, files are missing, or the device is not the
                first GPU.
        """
        check_vllm(device)
        check_qwen_files(weights.path)
        import transformers
        import vllm  # type: ignore[import-not-found]

        self._config = config
        try:
            self._engine = vllm.LLM(**engine_settings(config, weights.path))
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"policy.type: vLLM can't start with {weights.path}: {describe(error)}; where memory is "
                "short, lower policy.gpu_memory_fraction or policy.max_context"
            ) from error
        tokenizer = self._engine.get_tokenizer()
        self._never = special_tokens(tokenizer, [tokenizer.eos_token_id])
        made_by = f"vllm/1 vllm={vllm.__version__} transformers={transformers.__version__}"
        self._identity = identity_of(made_by, config, weights, None)

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def max_batch(self) -> int:
        return self._config.max_batch or MAX_BATCH

    def bucket(self, request: PolicyRequest) -> Hashable:
        """All share a call: vLLM schedules them by itself."""
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        """The model's text for each request. One that is too long fails the call, and is found by halves.

        When the engine has died, vLLM's EngineDeadError passes; `calls.is_engine_dead` knows it.
        """
        from vllm import SamplingParams  # type: ignore[import-not-found]

        shown = self._config.prompt
        asked = [
            chat_of(build_prompt(request, shown.guidance, shown.history), shown.max_pixels)
            for request in requests
        ]
        good = [i for i, messages in enumerate(asked) if not isinstance(messages, RecordError)]
        answers: list[str | Exception] = [m if isinstance(m, RecordError) else "" for m in asked]
        if good:
            outputs = self._engine.chat(
                [asked[i] for i in good],
                sampling_params=[
                    SamplingParams(**draw_of(self._config.sampling, requests[i].seed, self._never))
                    for i in good
                ],
                chat_template_content_format="openai",  # keeps text and images in their order
                use_tqdm=False,
            )
            for i, output in zip(good, outputs, strict=True):
                answers[i] = output.outputs[0].text
        return answers


def check_vllm(device: str) -> None:
    """See that vLLM is installed and may have that device.

    Raises:
        ConfigError: it isn't, or it's not the first GPU.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError("policy.type: vllm needs the package vLLM: pip install mira-batch[vllm]")
    if device not in ("auto", "cuda", "cuda:0"):
        raise ConfigError(
            f"policy.devices: vLLM runs on the first GPU that the worker sees, not on {device}; name cuda:0, "
            "and put the editor on the other GPUs"
        )


def engine_settings(config: VllmConfig, path: str) -> dict[str, Any]:
    """Arguments of `vllm.LLM`."""
    return {
        "model": path,
        "dtype": config.dtype,
        "load_format": "safetensors",
        "trust_remote_code": False,
        "gpu_memory_utilization": config.gpu_memory_fraction,
        "max_model_len": config.max_context,
        "limit_mm_per_prompt": {"image": 2, "video": 0},
        "generation_config": "vllm",  # not the checkpoint's own sampling and penalties
        "seed": 0,
    }


def chat_of(prompt: Prompt, max_pixels: int) -> list[dict[str, Any]] | RecordError:
    """A prompt as the messages of `LLM.chat`, or why it can't be asked."""
    try:
        with boundary(ErrorKind.policy_failed):
            content = [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image_pil", "image_pil": within(opaque(part.pixels), max_pixels)}
                for part in prompt.parts
            ]
    except RecordError as error:
        return error
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": content}]


def draw_of(sampling: SamplingConfig, seed: int, never: Sequence[int]) -> dict[str, Any]:
    """Arguments of `SamplingParams` for one request."""
    temperature, top_p = drawn_with(sampling)
    return {
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": sampling.max_tokens,
        "seed": seed,
        "logit_bias": dict.fromkeys(never, _NEVER),
    }


def within(image: Any, max_pixels: int) -> Any:
    """A `PIL.Image.Image` of at most `max_pixels`, in its own proportions."""
    from PIL import Image

    width, height = image.size
    if width * height <= max_pixels:
        return image
    factor = (max_pixels / (width * height)) ** 0.5
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)
