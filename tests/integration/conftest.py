"""What tests share: nights of a catalogue; an undisturbed outcome, and a place behind the fault proxy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, run
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.commands import Commands
from tests.support.runs.disturbed import until
from tests.support.runs.drivers import Begin, drivers
from tests.support.runs.faultruns import RECORDS, Outcome, Place, outcome
from tests.support.runs.nights import Nights
from tests.support.servers.fault_proxy import fault_proxy
from tests.support.servers.models import ModelServer, model_server
from tests.support.servers.s3 import S3Server

HEALTH = {"period_ms": 500, "initial_delay_ms": 0, "failure_threshold": 4}


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts commands in processes of their own, which end with the test."""
    with drivers() as begin:
        yield begin


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A real server of models on a socket, for judges; what it answers is set by the test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with model_server() as running:
        yield running


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


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head for the driver, without room for workers. It notices a lost node within seconds."""
    import ray  # not above: `mira_batch.runtime` comes first, which keeps Ray on the loopback interface
    from ray.cluster_utils import Cluster

    watchful = {f"health_check_{what}": value for what, value in HEALTH.items()}
    head = {"num_cpus": 0, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head | {"_system_config": watchful})
    assert cluster.address.startswith("127.0.0.1:")
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def nodes(cluster: Any, request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """So many nodes as the test asks for, with room for one worker each."""
    import ray

    try:
        yield [cluster.add_node(num_cpus=1, object_store_memory=100_000_000) for _ in range(request.param)]
    finally:
        for node in list(cluster.worker_nodes):  # and those that the test added
            cluster.remove_node(node, allow_graceful=False)
        until(lambda: ray.cluster_resources().get("CPU", 0) == 0)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    """A catalogue of twelve records, before its first night."""
    found = Nights(tmp_path)
    found.add(12)
    return found


@pytest.fixture
def cli(nights: Nights, capfd: pytest.CaptureFixture[str]) -> Commands:
    """The command line over these nights."""
    return Commands(nights, capfd)
