"""What is said of models before they are loaded."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from mira_batch.config.models import JudgeConfig, PolicyConfig
from mira_batch.config.models.base import ModelConfig
from mira_batch.models.checks import describe_sharing

WEIGHTS = "hf://Qwen/Qwen2.5-VL-7B-Instruct@main"


def qwen(**more: Any) -> dict[str, Any]:
    return {"type": "qwen_vl", "weights": WEIGHTS, **more}


def engines(policy: dict[str, Any], *backends: dict[str, Any]) -> dict[str, ModelConfig]:
    found = {"policy": TypeAdapter(PolicyConfig).validate_python(policy)}
    for number, backend in enumerate(backends):
        model = {"type": "score_logit", "backend": backend}
        found[f"judge{number}"] = TypeAdapter(JudgeConfig).validate_python(model).backend
    return found


def name(location: str) -> str:
    """As if the branch stood for this commit."""
    return location.replace("@main", "@abc123")


SHARED = "judge0 uses the weights that policy has loaded, and the two take turns"


@pytest.mark.parametrize(
    ("policy", "backend", "said"),
    [
        (qwen(), qwen(max_pixels=4_000, max_batch=2), [SHARED]),
        (qwen(), qwen(weights=WEIGHTS.replace("main", "abc123")), [SHARED]),
        (qwen(devices=["auto"]), qwen(devices=["cuda:0"]), [SHARED]),
        (qwen(adapter={"weights": "/a"}), qwen(adapter={"weights": "/a"}), [SHARED]),
        (
            qwen(adapter={"weights": "/a"}),
            qwen(dtype="float16", attention="eager"),
            ["judge0 loads the weights of policy once more: they differ in dtype, attention, adapter"],
        ),
        (
            qwen(adapter={"weights": "/a"}),
            qwen(adapter={"weights": "/a", "scale": 0.5}),
            ["judge0 loads the weights of policy once more: they differ in adapter"],
        ),
        (
            qwen(devices=["cuda:0"]),
            qwen(devices=["cuda:1"]),
            ["judge0 loads the weights of policy once more: they differ in devices"],
        ),
        (
            qwen(devices=["cuda:0"]),
            qwen(devices=["cuda:0", "cuda:1"]),
            ["judge0 uses the weights that policy has loaded for 1 of its 2 copies, and the two take turns"],
        ),
        (qwen(devices=["cuda:0"], replicas=2), qwen(devices=["cuda:0"]), [SHARED]),
        (
            {"type": "vllm", "weights": WEIGHTS},
            qwen(),
            ["judge0 loads the weights of policy once more: they differ in type"],
        ),
        (qwen(), qwen(weights="/elsewhere"), []),
        ({"type": "rules"}, qwen(), []),
        (qwen(), {"type": "openai", "model": "m"}, []),
    ],
)
def test_models_that_are_loaded_once_are_said_and_those_that_nearly_are(
    policy: dict[str, Any], backend: dict[str, Any], said: list[str]
) -> None:
    assert list(describe_sharing(engines(policy, backend), name)) == said


def test_each_model_is_told_with_the_one_that_it_shares_with() -> None:
    found = describe_sharing(engines(qwen(), qwen(dtype="float16"), qwen(), qwen(dtype="float16")), name)
    assert list(found) == [
        "judge0 loads the weights of policy once more: they differ in dtype",
        "judge1 uses the weights that policy has loaded, and the two take turns",
        "judge2 uses the weights that judge0 has loaded, and the two take turns",
    ]


def test_a_hub_is_not_asked_for_one_model() -> None:
    asked: list[str] = []
    assert list(describe_sharing(engines(qwen(), {"type": "openai", "model": "m"}), asked.append)) == []  # type: ignore[arg-type]
    assert asked == []
