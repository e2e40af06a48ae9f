"""Fixtures that the tests of the stores share."""

from __future__ import annotations

import pytest

from tests.unit.storage.stores.environments import Environment


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    def set_all(values: dict[str, str]) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all
