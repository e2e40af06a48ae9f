"""Fixtures that several contracts share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mira_batch.models.qwen.policy import QwenVLPolicy
from tests.contract.qwen_requests import GREEDY, MODELS
from tests.contract.served_models import SECRET
from tests.support.models.tiny import policy_of
from tests.support.servers.models import ModelServer, model_server


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SECRET_KEY", SECRET)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tiny_models: Path) -> Path:
    return tiny_models / request.param


@pytest.fixture(scope="module")
def greedy(model: Path) -> QwenVLPolicy:
    return policy_of(model, sampling=GREEDY)
