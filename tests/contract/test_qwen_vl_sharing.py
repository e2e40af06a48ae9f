"""A Qwen-VL that is policy and judge, or two judges, is loaded once; tiny models of both real classes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from mira_batch.config.models import JudgeConfig, PolicyConfig
from mira_batch.core.ports import JudgeRequest, PolicyRequest
from mira_batch.core.types import Weights
from mira_batch.models.loader import ModelSpec, load_models
from tests.contract.qwen_requests import MODELS
from tests.support.models.judging import digit_model
from tests.support.models.tiny import noise, write_adapter

TOKENS = 16
ORIGINAL = noise(56, 56, "original")
ASKED = [
    PolicyRequest(f"r{number}", f"make it {number}", ORIGINAL, noise(40 + number, 70, number), (), number)
    for number in range(4)
]
JUDGED = [
    JudgeRequest(f"r{number}", f"make it {number}", ORIGINAL, noise(70, 40 + number, -number), "")
    for number in range(4)
]


@pytest.fixture(scope="module", params=MODELS)
def digits(request: pytest.FixtureRequest, tiny_models: Path) -> Path:
    return digit_model(tiny_models, request.param)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The modules that transformers loads while the test runs."""
    from transformers import AutoModelForImageTextToText as Auto

    modules: list[Any] = []
    load = Auto.from_pretrained

    def from_pretrained(*args: Any, **settings: Any) -> Any:
        found = load(*args, **settings)
        modules.append(found[0])
        return found

    monkeypatch.setattr(Auto, "from_pretrained", from_pretrained)
    yield modules


def a_model(directory: Path, **more: Any) -> dict[str, Any]:
    """Calls of one request, so that the last bit of an answer doesn't hang on its neighbours."""
    settings = {"type": "qwen_vl", "weights": str(directory), "dtype": "float32", "devices": ["cpu"]}
    return settings | {"max_batch": 1} | more


def a_policy(directory: Path, **more: Any) -> ModelSpec:
    settings = a_model(directory, sampling={"max_tokens": TOKENS}) | more
    return TypeAdapter(PolicyConfig).validate_python(settings), 60.0


def a_judge(directory: Path, resize: str = "none", **more: Any) -> ModelSpec:
    judge = {"type": "score_logit", "resize": resize, "backend": a_model(directory, **more)}
    return TypeAdapter(JudgeConfig).validate_python(judge), 60.0


def a_panel(directory: Path) -> ModelSpec:
    backend = a_model(directory)
    members = [
        {"name": "digits", "model": {"type": "score_logit", "backend": backend}},
        {"name": "strict", "model": {"type": "score_logit", "resize": "to_source", "backend": backend}},
    ]
    return TypeAdapter(JudgeConfig).validate_python({"type": "panel", "members": members}), 60.0


def answer(specs: Mapping[str, ModelSpec]) -> tuple[list[str], list[float], dict[str, str | None]]:
    """Texts of the policy, scores of the judge, and identities. All requests are made at the same time."""

    async def main() -> tuple[list[str], list[float], dict[str, str | None]]:
        clients = await load_models(specs, lambda place: Weights(place, f"tiny {Path(place).name}"))
        try:
            asked = [clients["policy"].submit(each) for each in ASKED] if "policy" in clients else []
            judged = [clients["judge"].submit(each) for each in JUDGED] if "judge" in clients else []
            found = [timed.value for timed in await asyncio.gather(*asked, *judged)]
            texts, verdicts = found[: len(asked)], found[len(asked) :]
            return texts, [verdict.score for verdict in verdicts], clients.identities
        finally:
            await clients.close()

    return asyncio.run(asyncio.wait_for(main(), 120))


def test_policy_and_judge_are_one_module_and_answer_as_two_do(digits: Path, loaded: list[Any]) -> None:
    texts, scores, identities = answer({"policy": a_policy(digits), "judge": a_judge(digits)})
    assert len(loaded) == 1
    alone, _, policy = answer({"policy": a_policy(digits)})
    _, judged, judge = answer({"judge": a_judge(digits)})
    assert len(loaded) == 3
    assert texts == alone and len(set(texts)) > 1
    assert scores == pytest.approx(judged, abs=1e-6) and len(set(scores)) == len(scores)
    assert identities["policy"] == policy["policy"] and identities["judge"] == judge["judge"]


def test_two_judges_of_a_panel_are_one_module(digits: Path, loaded: list[Any]) -> None:
    _, scores, _ = answer({"judge": a_panel(digits)})
    assert len(loaded) == 1
    members = [answer({"judge": a_judge(digits, resize=resize)})[1] for resize in ("none", "to_source")]
    assert members[0] != members[1]
    assert scores == pytest.approx([sum(pair) / 2 for pair in zip(*members, strict=True)], abs=1e-6)


def test_two_calls_never_meet_in_the_module_and_nobody_waits_for_ever(
    digits: Path, loaded: list[Any]
) -> None:
    async def main() -> list[str]:
        specs = {"policy": a_policy(digits), "judge": a_judge(digits)}
        clients = await load_models(specs, lambda place: Weights(place, "tiny"))
        passes: list[str] = []
        (module,) = loaded
        module.register_forward_pre_hook(lambda *_: passes.append(threading.current_thread().name))
        policy = [clients["policy"].submit(each) for each in ASKED * 2]
        judge = [clients["judge"].submit(each) for each in JUDGED * 2]
        await asyncio.gather(*policy, *judge)
        await clients.close()
        return passes

    passes = asyncio.run(asyncio.wait_for(main(), 120))
    calls = [(name, len(list(group))) for name, group in groupby(passes)]
    assert set(calls) == {("policy-0", TOKENS), ("judge-0", 1)}, "whole calls, one after the other"
    assert len(calls) == 16, "in turns, as long as both have something to do"


def test_copies_of_one_model_are_not_shared_among_themselves(digits: Path, loaded: list[Any]) -> None:
    answer({"policy": a_policy(digits, replicas=2), "judge": a_judge(digits)})
    assert len(loaded) == 2
    assert loaded[0].lm_head.weight.data_ptr() != loaded[1].lm_head.weight.data_ptr()


@pytest.mark.parametrize("setting", ["dtype", "attention", "adapter", "weights"])
def test_what_changes_the_module_is_loaded_apart(
    tiny_models: Path, tmp_path: Path, loaded: list[Any], setting: str
) -> None:
    digits = digit_model(tiny_models)
    changed: dict[str, Any] = {
        "dtype": "bfloat16",
        "attention": "eager",
        "weights": str(tiny_models / MODELS[0]),
    }
    if setting == "adapter":
        changed["adapter"] = {"weights": str(write_adapter(digits, tmp_path))}
        loaded.clear()
    texts, scores, _ = answer(
        {"policy": a_policy(digits, **{setting: changed[setting]}), "judge": a_judge(digits)}
    )
    assert len(loaded) == 2
    assert scores == pytest.approx(answer({"judge": a_judge(digits)})[1], abs=1e-6), "the judge has its own"
    assert texts == answer({"policy": a_policy(digits, **{setting: changed[setting]})})[0]
