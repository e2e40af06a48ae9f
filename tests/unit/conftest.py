"""Fixtures that several unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.storage.stores.objects import Store, open_store
from tests.support.servers.s3 import S3Server


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty run's directory, on the disk and on a real S3 server."""
    if request.param == "local":
        return open_store(str(tmp_path / "run"), StorageConfig())
    s3: S3Server = request.getfixturevalue("s3")
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    uri = f"s3://{s3.bucket}/unit/{request.module.__name__}/{request.node.name}"
    return open_store(uri, StorageConfig(endpoint_url=s3.endpoint))
