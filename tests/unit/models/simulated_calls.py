"""Simulated models and calls of them."""

from __future__ import annotations

from typing import Any

from PIL import Image

from mira_batch.config.models.simulated import (
    SimulatedEditorConfig,
    SimulatedJudgeConfig,
    SimulatedPolicyConfig,
)
from mira_batch.core.actions import parse_action
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest, Judgement, JudgeRequest, PolicyRequest
from mira_batch.core.types import Edit, MalformedAction, Step, StopAction
from mira_batch.models.simulated import SimulatedEditor, SimulatedJudge, SimulatedPolicy

FRAME = frame_of(Image.new("RGB", (16, 12), (40, 50, 60)))


def a_policy(**settings: Any) -> SimulatedPolicy:
    return SimulatedPolicy(SimulatedPolicyConfig.model_validate({"type": "simulated"} | settings))


def an_editor(*faults: dict[str, Any], **settings: Any) -> SimulatedEditor:
    config = {"type": "simulated", "faults": faults} | settings
    return SimulatedEditor(SimulatedEditorConfig.model_validate(config))


def a_judge(**settings: Any) -> SimulatedJudge:
    return SimulatedJudge(SimulatedJudgeConfig.model_validate({"type": "simulated"} | settings))


def ask(record: str = "r", accepted: tuple[bool, ...] = ()) -> PolicyRequest:
    history = tuple(Step(i, "", "", "", 0, 0, "a", "b", accepted=one) for i, one in enumerate(accepted))
    return PolicyRequest(record, "make it nicer", FRAME, FRAME, history, seed=1)


def edit(record: str = "r", step: int = 0, seed: int = 1) -> EditRequest:
    return EditRequest(record, "simulated edit 1 of 2", FRAME, FRAME, seed, step)


def judge(record: str = "r", candidate: Any = FRAME) -> JudgeRequest:
    return JudgeRequest(record, "make it nicer", FRAME, candidate, "simulated edit 1 of 2")


def action(policy: SimulatedPolicy, request: PolicyRequest) -> Edit | StopAction | MalformedAction:
    (answer,) = policy.propose([request])
    assert isinstance(answer, str)
    return parse_action(answer)


def score(model: SimulatedJudge, request: JudgeRequest) -> float:
    (judgement,) = model.score([request])
    assert isinstance(judgement, Judgement)
    return judgement.score


def failures(answers: Any) -> list[bool]:
    return [isinstance(answer, RuntimeError) for answer in answers]
