"""What the fault tests run over: a catalogue, its undisturbed outcome, and a place behind the fault proxy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mira_batch import load_config, run
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.drivers import Begin, drivers
from tests.support.runs.faultruns import RECORDS, Outcome, Place, outcome
from tests.support.servers.fault_proxy import fault_proxy
from tests.support.servers.s3 import S3Server


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts commands in processes of their own, which end with the test."""
    with drivers() as begin:
        yield begin


@pytest.fixture(scope="session")
def small_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a small catalogue on the disk."""
    return make_catalogue(tmp_path_factory.mktemp("faults") / "catalogue", RECORDS)


@pytest.fixture(scope="session")
def undisturbed(small_catalogue: Path) -> Outcome:
    """What comes out of it when nothing goes wrong."""
    return outcome(run(load_config(settings(small_catalogue, small_catalogue.parent / "out"))).run)


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    small_catalogue: Path,
    s3: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    """The same catalogue in a real S3 server behind a fault proxy."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    prefix = re.sub(r"\W+", "-", f"faults/{request.node.name}").strip("-")
    s3.upload(small_catalogue.parent, f"{prefix}/catalogue")
    with fault_proxy(s3.endpoint) as proxy:
        yield Place(s3, proxy, tmp_path, prefix)
