"""The models of a process: their clients, identities, limits and end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from mira_batch.config.models import CustomConfig, RulesJudgeConfig, RulesPolicyConfig
from mira_batch.config.models.base import ModelConfig
from mira_batch.config.models.local import QwenVLConfig, TorchConfig
from mira_batch.config.models.served import OpenAIJudgeConfig, OpenAIPolicyConfig
from mira_batch.config.models.simulated import SimulatedEditorConfig, SimulatedJudgeConfig
from mira_batch.core.errors import ConfigError, EngineDead, RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, JudgeRequest
from mira_batch.core.types import ErrorKind
from mira_batch.models.clients import ModelClients
from mira_batch.models.loader import list_copies, load_models
from mira_batch.models.registry import no_weights
from mira_batch.models.serving.client import ModelClient
from tests.support.servers.models import Answer, model_server

HERE = "tests.unit.models.test_loader"
FRAME = frame_of(Image.new("RGB", (4, 4), "red"))
EDIT = EditRequest("r1", "mirror it", FRAME, FRAME, 1, 0)
JUDGE = JudgeRequest("r1", "mirror it", FRAME, FRAME, "mirror it")
RULES: dict[str, tuple[ModelConfig, float | None]] = {
    "policy": (RulesPolicyConfig(type="rules"), 10.0),
    "editor": (SimulatedEditorConfig(type="simulated", replicas=2), 10.0),
}


def resized() -> SimpleNamespace:
    """An editor with a way back to the original's size."""
    return SimpleNamespace(
        identity="resized/1", max_batch=3, bucket=lambda request: None, apply=list, restore=max
    )


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 30))


async def load(specs: Any) -> ModelClients:
    clients = await load_models(specs)
    await clients.close()
    return clients


def test_clients_and_identities_are_found_by_role() -> None:
    clients = run(load(RULES))
    assert list(clients) == ["policy", "editor"] and "judge" not in clients
    assert [clients[name].role.name for name in clients] == ["policy", "editor"]
    assert list(clients.identities) == ["policy", "editor", "judge"]
    assert clients.identities["judge"] is None
    assert str(clients.identities["policy"]).startswith("rules-policy/")
    judged = run(load({**RULES, "judge": (RulesJudgeConfig(type="rules"), None)}))
    assert list(judged) == ["policy", "editor", "judge"]
    assert str(judged.identities["judge"]).startswith("rules-judge/")


def test_what_all_calls_take_together_is_counted_over_models_copies_and_endpoints() -> None:
    """By it a worker chooses how many records it runs at once."""
    editor = SimulatedEditorConfig(type="simulated", replicas=2, max_batch=4)
    judge = SimulatedJudgeConfig(type="simulated")  # 8 at once, by the model's own word
    specs = {"editor": (editor, None), "judge": (judge, None)}
    assert run(load(specs)).requests_together == 2 * 4 + 8
    served = OpenAIPolicyConfig(type="openai", model="m", base_url="http://127.0.0.1:9/v1", concurrency=5)
    assert run(load({"policy": (served, None), **specs})).requests_together == 5 + 2 * 4 + 8


def test_the_editors_own_way_back_to_the_size_is_found() -> None:
    assert run(load(RULES)).restore is None
    custom = CustomConfig(type="custom", factory=f"{HERE}:resized")
    assert run(load({**RULES, "editor": (custom, None)})).restore is max


def test_time_and_faults_of_all_models_are_added_up_and_each_call_is_told_of() -> None:
    told: list[str] = []

    async def main() -> ModelClients:
        judge = SimulatedJudgeConfig.model_validate(
            {"type": "simulated", "faults": [{"records": "r1", "does": "out_of_memory"}]}
        )
        clients = await load_models({**RULES, "judge": (judge, None)})
        clients.listen(lambda replica, *_: told.append(replica.partition("-")[0]))
        await clients["editor"].submit(EDIT)
        with pytest.raises(RecordError) as caught:
            await clients["judge"].submit(JUDGE)
        assert caught.value.kind is ErrorKind.judge_failed
        await clients.close()
        with pytest.raises(asyncio.CancelledError):
            await clients["editor"].submit(EDIT)
        return clients

    clients = run(main())
    assert clients.usage["editor"] > 0 and clients.usage["editor_waiting"] > 0
    assert clients.usage["retried"] > 0 and clients.usage["judge"] == 0
    assert clients.out_of_memory == 1
    assert told[:2] == ["editor", "judge"]


def test_a_call_that_hangs_is_given_up_after_its_own_roles_limit() -> None:
    hang = {"records": "*", "does": "hang", "hang_seconds": 2.0}

    async def main() -> EngineDead:
        judge = SimulatedJudgeConfig.model_validate({"type": "simulated", "faults": [hang]})
        clients = await load_models({**RULES, "judge": (judge, 0.1)})
        with pytest.raises(EngineDead) as caught:
            await clients["judge"].submit(JUDGE)
        await clients.close()
        return caught.value

    error = run(main())
    assert error.kind is ErrorKind.step_timeout and "one judge call" in str(error)


def test_a_served_judge_has_a_limit_of_its_own_and_is_no_policy() -> None:
    async def main(url: str) -> tuple[RecordError, ModelClient[Any, Any]]:
        served = {"model": "tiny", "base_url": url}
        specs: dict[str, tuple[ModelConfig, float | None]] = {
            "policy": (OpenAIPolicyConfig(type="openai", **served), 60.0),
            "editor": RULES["editor"],
            "judge": (OpenAIJudgeConfig(type="openai", **served), 0.2),
        }
        clients = await load_models(specs)
        with pytest.raises(RecordError) as caught:
            await clients["judge"].submit(JUDGE)
        await clients.close()
        return caught.value, clients["judge"]

    with model_server(lambda asked: Answer(how="hang")) as server:
        error, judge = run(main(server.url))
    assert (error.kind, str(error)) == (ErrorKind.step_timeout, "one judge call took longer than 0.2 s")
    assert judge.usage["retried"] > 0 and judge.out_of_memory == 0


def test_a_model_that_can_not_be_built_is_said() -> None:
    with pytest.raises(ConfigError, match="nothing that fetches weights was given"):
        run(load({"policy": (QwenVLConfig(type="qwen_vl", weights="/w"), None)}))
    with pytest.raises(ConfigError, match="/w: nothing that fetches"):
        no_weights("/w")


@pytest.mark.parametrize(
    ("config", "copies"),
    [
        (RulesPolicyConfig(type="rules", replicas=3), ["auto"] * 3),
        (TorchConfig(weights="/w", devices=("cuda:0", "cpu"), replicas=2), ["cuda:0"] * 2 + ["cpu"] * 2),
        (OpenAIPolicyConfig(type="openai", model="tiny"), ["auto"]),
    ],
)
def test_each_device_gets_its_replicas(config: ModelConfig, copies: list[str]) -> None:
    assert list_copies(config) == copies
