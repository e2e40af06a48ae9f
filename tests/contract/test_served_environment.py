"""The keys, variables and packages of the environment that every served model needs or must not heed."""

from __future__ import annotations

import sys

import pytest

from mira_batch.core.errors import ConfigError
from tests.contract.served_models import GEMINI_IMAGES, SECRET, Served, every_model, once
from tests.support.servers.models import ModelServer

pytestmark = pytest.mark.usefixtures("clean_environment")


@every_model
def test_a_missing_key_is_named(served: Served, server: ModelServer) -> None:
    with pytest.raises(ConfigError, match=served.key):
        once(served, server, base_url=None, api_key_env=None)
    with pytest.raises(ConfigError, match="api_key_env: the environment variable NOT_SET is not set"):
        once(served, server, api_key_env="NOT_SET")


@every_model
@pytest.mark.parametrize("key", ["sk-\u201cabc\u201d", "sk-ab\nc", "sk-\u200babc"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_quoted(
    served: Served, key: str, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", key)
    with pytest.raises(ConfigError, match=r"api_key_env: .* SECRET_KEY .* holds what no key does") as refused:
        once(served, server)
    assert key not in str(refused.value) and server.asked == []


@every_model
def test_an_endpoint_of_ones_own_needs_no_key(served: Served, server: ModelServer) -> None:
    once(served, server, api_key_env=None)
    assert server.asked[0].key == "none"


@every_model
def test_the_environment_sends_nothing_elsewhere(
    served: Served, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:9/v1"
    for name in ("OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("GOOGLE_API_KEY", "another-key")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer another-key")
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organization")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "my-project")
    once(served, server)
    assert server.asked[0].key == SECRET
    assert not {"my-organization", "my-project", "another-key"} & set(server.asked[0].headers.values())


@every_model
def test_a_missing_package_is_named(
    served: Served, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("openai", "google.genai"):  # None in sys.modules is how Python notes "not there"
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr("google.genai", raising=False)
    extra = "gemini" if served is GEMINI_IMAGES else "openai"
    with pytest.raises(ConfigError, match=rf"pip install mira-batch\[{extra}\]"):
        once(served, server)
