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
from mira_batch.core.answers import Tokens
from mira_batch.core.errors import ConfigError, RecordError, boundary, describe
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import Prompt, build_prompt, prompt_version
from mira_batch.core.thoughts import ends_in_thought
from mira_batch.core.types import ErrorKind, Weights
from mira_batch.models.qwen.draws import resolve_sampling
from mira_batch.models.qwen.files import check_qwen_files
from mira_batch.models.qwen.shared import (
    answer_rows,
    complete_answer,
    find_special_tokens,
    make_opaque,
    write_identity,
)

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
            self._engine = vllm.LLM(**build_engine_settings(config, weights.path))
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"policy.type: vLLM can't start with {weights.path}: {describe(error)}; where memory is "
                "short, lower policy.gpu_memory_fraction or policy.max_context"
            ) from error
        tokenizer = self._engine.get_tokenizer()
        self._never = find_special_tokens(tokenizer, [tokenizer.eos_token_id])
        made_by = f"vllm/1 vllm={vllm.__version__} transformers={transformers.__version__}"
        self.max_batch = config.max_batch or MAX_BATCH
        self.prompt_version = prompt_version(config.prompt.form)
        self.identity = write_identity(made_by, config, weights, None, self.prompt_version)
        self.log_tokens = False
        """Whether answers come with their tokens."""

    def bucket(self, request: PolicyRequest) -> Hashable:
        """All share a call: vLLM schedules them by itself."""
        return None

    def propose(self, requests: Sequence[PolicyRequest]) -> Sequence[str | Exception]:
        """The model's text for each request, a `CutOff` where it isn't whole. One that is too long
        fails the call, and is found by halves.

        When the engine has died, vLLM's EngineDeadError passes; `serving.is_engine_dead` knows it.
        """
        from vllm import SamplingParams  # type: ignore[import-not-found]

        shown = self._config.prompt
        rows = [
            build_chat(build_prompt(request, shown.guidance, shown.history, shown.form), shown.max_pixels)
            for request in requests
        ]

        def answer(good: list[Any], places: list[int]) -> list[str]:
            sampling = [
                SamplingParams(
                    **build_sampling(
                        self._config.sampling, requests[place].seed, self._never, self.log_tokens
                    )
                )
                for place in places
            ]
            outputs = self._engine.chat(
                good,
                sampling_params=sampling,
                chat_template_content_format="openai",  # keeps text and images in their order
                use_tqdm=False,
            )
            return [
                complete_answer(
                    output.outputs[0].text,
                    ends_in_thought(output.prompt or ""),
                    cut_off=output.outputs[0].finish_reason != "stop",
                    tokens=read_tokens(output.outputs[0]) if self.log_tokens else None,
                )
                for output in outputs
            ]

        return answer_rows(rows, answer)


def check_vllm(device: str) -> None:
    """See that vLLM is installed and may have that device.

    Raises:
        ConfigError: it isn't, or it's not the first GPU.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError("policy.type: vllm needs the package vLLM: pip install 'mira-batch[vllm]'")
    if device not in ("auto", "cuda", "cuda:0"):
        raise ConfigError(
            f"policy.devices: vLLM runs on the first GPU that the worker sees, not on {device}; name cuda:0, "
            "and put the editor on the other GPUs"
        )


def build_engine_settings(config: VllmConfig, path: str) -> dict[str, Any]:
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


def build_chat(prompt: Prompt, max_pixels: int) -> list[dict[str, Any]] | RecordError:
    """A prompt as the messages of `LLM.chat`, or why it can't be asked."""
    try:
        with boundary(ErrorKind.policy_failed):
            content = [
                {"type": "text", "text": part}
                if isinstance(part, str)
                else {"type": "image_pil", "image_pil": shrink_to(make_opaque(part.pixels), max_pixels)}
                for part in prompt.parts
            ]
    except RecordError as error:
        return error
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": content}]


def read_tokens(completion: Any) -> Tokens:
    """The tokens of one of vLLM's completions, with their log-probabilities, which are its `raw_logprobs`: of
    the logits as the model gave them."""
    ids = [int(id_) for id_ in completion.token_ids]
    logprobs = [float(one[id_].logprob) for id_, one in zip(ids, completion.logprobs, strict=True)]
    return Tokens(tuple(ids), tuple(logprobs))


def build_sampling(
    sampling: SamplingConfig, seed: int, never: Sequence[int], log_tokens: bool = False
) -> dict[str, Any]:
    """Arguments of `SamplingParams` for one request."""
    temperature, top_p = resolve_sampling(sampling)
    logged = {"logprobs": 0} if log_tokens else {}  # of the drawn token alone
    return logged | {
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": sampling.max_tokens,
        "seed": seed,
        "logit_bias": dict.fromkeys(never, _NEVER),
    }


def shrink_to(image: Any, max_pixels: int) -> Any:
    """A `PIL.Image.Image` of at most `max_pixels`, in its own proportions."""
    from PIL import Image

    width, height = image.size
    if width * height <= max_pixels:
        return image
    factor = (max_pixels / (width * height)) ** 0.5
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)
