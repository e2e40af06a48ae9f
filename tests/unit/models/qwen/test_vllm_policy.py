"""The vLLM policy as far as it goes without vLLM: what it is told, and what is refused before it starts.

vLLM needs a GPU and can't be installed where these tests run, so that here, and only here, a small module of
its name stands in for it. It has the calls that the policy makes, with vLLM's own names of arguments, and its
tokenizer is a real one.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from mira_batch.config.models.local import PromptConfig, SamplingConfig, VllmConfig
from mira_batch.core.answers import Answered, Tokens
from mira_batch.core.errors import ConfigError, EngineDead, RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.prompt import build_prompt
from mira_batch.core.thoughts import CutOff
from mira_batch.core.types import Weights
from mira_batch.models.qwen.vllm_policy import (
    VllmPolicy,
    build_chat,
    build_engine_settings,
    build_sampling,
    shrink_to,
)
from mira_batch.models.serving.outcome import call_model

CONFIG = VllmConfig.model_validate({"type": "vllm", "weights": "/models/qwen", "max_context": 4096})
RED = frame_of(Image.new("RGB", (40, 20), "red"))
GLASS = frame_of(Image.new("RGBA", (40, 20), (0, 0, 0, 0)))
REQUEST = PolicyRequest("r", "make it blue", RED, GLASS, (), seed=7)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'mira-batch\[vllm\]'"):
        VllmPolicy(CONFIG, Weights(str(tmp_path), "x"), "auto")


def test_a_request_becomes_chat_messages_in_the_order_of_the_prompt() -> None:
    prompt = build_prompt(REQUEST)
    messages = build_chat(prompt, 10_000)
    assert isinstance(messages, list)
    system, user = messages
    assert system == {"role": "system", "content": prompt.system}
    assert user["role"] == "user"
    kinds = ["text" if isinstance(part, str) else "image_pil" for part in prompt.parts]
    assert [part["type"] for part in user["content"]] == kinds == ["text", "image_pil"] * 2 + ["text"]
    assert [part["text"] for part in user["content"][::2]] == list(prompt.parts[::2])


def test_images_are_shown_opaque_and_within_the_limit() -> None:
    messages = build_chat(build_prompt(REQUEST), 200)
    assert isinstance(messages, list)
    red, glass = (part["image_pil"] for part in messages[1]["content"] if "image_pil" in part)
    assert red.size == glass.size == (20, 10)
    assert (red.mode, glass.mode) == ("RGB", "RGB")
    assert glass.getpixel((3, 3)) == (255, 255, 255)
    assert REQUEST.original.pixels.size == (40, 20)


@pytest.mark.parametrize("size", [(100, 60), (10, 2_000), (3_333, 17)])
def test_no_image_is_larger_than_it_may_be(size: tuple[int, int]) -> None:
    width, height = shrink_to(Image.new("RGB", size), 3_136).size
    assert 2_000 < width * height <= 3_136
    assert shrink_to(image := Image.new("RGB", size), size[0] * size[1]) is image


def test_an_image_that_the_model_refuses_fails_its_record_alone() -> None:
    strip = frame_of(Image.new("RGB", (1, 900)))
    refused = build_chat(build_prompt(replace(REQUEST, current=strip)), 10_000)
    assert isinstance(refused, RecordError)
    assert "1x900" in str(refused)


def test_each_request_draws_with_its_own_seed_and_never_a_special_token() -> None:
    draw = build_sampling(SamplingConfig(temperature=0.7, top_p=0.9, max_tokens=64), 7, [3, 5])
    assert draw == {
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 64,
        "seed": 7,
        "logit_bias": {3: -100.0, 5: -100.0},
    }


def test_sampling_that_is_null_is_greedy() -> None:
    draw = build_sampling(SamplingConfig(temperature=None, top_p=None), 7, [])
    assert (draw["temperature"], draw["top_p"]) == (0.0, 1.0)


def test_the_engine_reads_safetensors_only_and_runs_no_code_of_others() -> None:
    settings = build_engine_settings(CONFIG, "/models/qwen")
    assert settings["model"] == "/models/qwen"
    assert (settings["load_format"], settings["trust_remote_code"]) == ("safetensors", False)
    assert (settings["max_model_len"], settings["dtype"]) == (4096, "bfloat16")


# With a module that stands in for vLLM


class EngineDeadError(Exception):
    """As in vllm.v1.engine.exceptions: no RuntimeError."""


@dataclass
class SamplingParams:
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    logit_bias: dict[int, float]
    logprobs: int | None = None


@dataclass
class Engine:
    """What stands in for `vllm.LLM`: it answers with the seed, and says what it was asked."""

    tokenizer: Any
    settings: dict[str, Any]
    asked: list[Any] = field(default_factory=list)
    error: Exception | None = None
    prompt: str | None = "<|im_start|>assistant\n"
    finish_reason: str = "stop"

    def get_tokenizer(self) -> Any:
        return self.tokenizer

    def chat(
        self,
        messages: list[Any],
        sampling_params: list[SamplingParams],
        use_tqdm: bool,
        chat_template_content_format: str,
    ) -> list[Any]:
        assert (use_tqdm, chat_template_content_format) == (False, "openai")
        if self.error is not None:
            raise self.error
        self.asked.extend(zip(messages, sampling_params, strict=True))
        return [
            SimpleNamespace(
                prompt=self.prompt,
                outputs=[
                    SimpleNamespace(
                        text=f"seed {p.seed}",
                        finish_reason=self.finish_reason,
                        token_ids=[5, p.seed],
                        logprobs=None
                        if p.logprobs is None
                        else [{5: SimpleNamespace(logprob=-0.5)}, {p.seed: SimpleNamespace(logprob=-2.0)}],
                    )
                ],
            )
            for p in sampling_params
        ]


@pytest.fixture
def policy(tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> VllmPolicy:
    from transformers import AutoTokenizer

    model = tiny_models / "qwen2.5-vl"
    module: Any = ModuleType("vllm")
    module.__spec__ = ModuleSpec("vllm", None)  # by which find_spec takes it for installed
    module.__version__ = "0.30.0"
    module.SamplingParams = SamplingParams
    module.LLM = lambda **settings: Engine(AutoTokenizer.from_pretrained(model), settings)
    monkeypatch.setitem(sys.modules, "vllm", module)
    return VllmPolicy(CONFIG, Weights(str(model), "tiny"), "cuda:0")


def test_each_request_gets_its_own_answer(policy: VllmPolicy) -> None:
    strip = replace(REQUEST, current=frame_of(Image.new("RGB", (1, 900))))
    found = policy.propose([REQUEST, strip, replace(REQUEST, seed=9)])
    assert found[::2] == ["seed 7", "seed 9"]
    assert isinstance(found[1], RecordError)
    assert list(policy.propose([strip]))[0].args == found[1].args
    engine: Any = policy._engine
    assert engine.settings == build_engine_settings(CONFIG, engine.settings["model"])
    assert [messages for messages, _ in engine.asked] == [build_chat(build_prompt(REQUEST), 1_003_520)] * 2
    never = engine.asked[0][1].logit_bias
    tokenizer = engine.tokenizer
    assert tokenizer.convert_tokens_to_ids("<|image_pad|>") in never
    assert tokenizer.eos_token_id not in never


def test_a_trained_policy_is_told_no_rules(policy: VllmPolicy) -> None:
    short = CONFIG.model_copy(update={"prompt": PromptConfig(form="short")})
    trained = VllmPolicy(short, Weights(policy._engine.settings["model"], "tiny"), "cuda:0")  # type: ignore[attr-defined]
    trained.propose([REQUEST])
    engine: Any = trained._engine
    assert engine.asked[0][0] == build_chat(build_prompt(REQUEST, form="short"), 1_003_520)
    assert " mira-short/1 " in trained.identity and " mira-prompt/1 " in policy.identity


def test_an_answer_says_that_it_is_not_whole_and_that_it_begins_in_a_thought(policy: VllmPolicy) -> None:
    engine: Any = policy._engine
    (whole,) = policy.propose([REQUEST])
    assert not isinstance(whole, CutOff)
    engine.finish_reason, engine.prompt = "length", None
    (cut,) = policy.propose([REQUEST])
    assert isinstance(cut, CutOff) and cut == "seed 7"
    engine.finish_reason, engine.prompt = "stop", "<think>no</think>\n<|im_start|>assistant\n<think>\n"
    assert policy.propose([REQUEST]) == ["<think>seed 7"]


def test_answers_come_with_the_drawn_tokens_alone_where_these_are_logged(policy: VllmPolicy) -> None:
    (plain,) = policy.propose([REQUEST])
    assert not isinstance(plain, Answered)
    policy.log_tokens = True
    (logged,) = policy.propose([REQUEST])
    assert isinstance(logged, Answered) and logged == plain
    assert logged.tokens == Tokens((5, 7), (-0.5, -2.0))
    engine: Any = policy._engine
    assert [sampling.logprobs for _, sampling in engine.asked] == [None, 0]
    assert "logprobs_mode" not in engine.settings  # vLLM's own default: raw_logprobs


def test_an_engine_that_died_is_no_fault_of_its_requests(policy: VllmPolicy) -> None:
    """Else it would fail every record that is left."""
    engine: Any = policy._engine
    engine.error = EngineDeadError("EngineCore encountered an issue.")
    answers = call_model(policy.propose, [REQUEST, REQUEST]).answers
    assert answers is not None and [type(answer) for answer in answers] == [EngineDead] * 2


def test_the_identity_names_the_versions_that_run_it(policy: VllmPolicy) -> None:
    import transformers

    versions = f"vllm=0.30.0 transformers={transformers.__version__}"
    assert policy.identity.startswith(f"vllm/1 {versions} weights=tiny ")
