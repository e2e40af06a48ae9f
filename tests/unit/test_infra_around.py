"""What stands around a run in infra/: linters, the monitor of its metrics, its queue, its rights on S3."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.test_infra import INFRA, MANIFESTS, documents, job_spec, load, pods

SCRIPTS = [*INFRA.glob("*.sbatch"), *INFRA.glob("*.sh")]


def run_tool(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A tool that a package put beside this Python, with what it says."""
    tool = Path(sys.executable).with_name(name)
    return subprocess.run(
        [tool, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def test_hadolint_has_nothing_to_say() -> None:
    done = run_tool("hadolint", "--no-color", INFRA / "Dockerfile")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    done = run_tool("shellcheck", script)
    assert done.returncode == 0, done.stdout


def test_the_monitor_finds_every_pod_of_a_run() -> None:
    (monitor,) = documents("podmonitor.yaml")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    for name in MANIFESTS:
        cluster = job_spec(name)["rayClusterSpec"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            assert wanted.items() <= group["template"]["metadata"]["labels"].items()
            assert "ports" not in group["template"]["spec"]["containers"][0], "KubeRay names its own"
    assert [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]] == ["metrics"]


def size(quantity: str | int) -> float:
    number, unit = re.fullmatch(r"(\d+)(Gi|)", str(quantity)).groups()  # type: ignore[union-attr]
    return int(number) * (2**30 if unit else 1)


def test_the_queue_has_room_for_the_run() -> None:
    found = {document["kind"]: document for document in documents("kueue.yaml")}
    queue = found["ClusterQueue"]
    assert found["LocalQueue"]["spec"]["clusterQueue"] == queue["metadata"]["name"]
    (resources,) = queue["spec"]["resourceGroups"]
    (flavor,) = resources["flavors"]
    assert flavor["name"] == found["ResourceFlavor"]["metadata"]["name"]
    quotas = {resource["name"]: size(resource["nominalQuota"]) for resource in flavor["resources"]}
    assert list(quotas) == resources["coveredResources"]
    head, worker = (pod["containers"][0]["resources"]["requests"] for pod in pods("rayjob.yaml"))
    count = job_spec("rayjob.yaml")["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"]
    for name, quota in quotas.items():
        # The pod that submits asks for less than one CPU and 1 GiB.
        submitter = {"cpu": 1, "memory": 2**30}.get(name, 0)
        assert size(head.get(name, 0)) + count * size(worker[name]) + submitter <= quota


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_the_command_in_the_manifest_gives_the_run_its_queue() -> None:
    text = (INFRA / "rayjob.yaml").read_text()
    command = re.search(r"^#   (kubectl label .*) \|$", text, re.MULTILINE)
    assert command is not None
    done = subprocess.run(command[1].split(), cwd=INFRA.parent, capture_output=True, text=True, check=True)
    labelled = [document for document in yaml.safe_load_all(done.stdout) if document["kind"] == "RayJob"]
    (queue,) = (document for document in documents("kueue.yaml") if document["kind"] == "LocalQueue")
    labels = labelled[0]["metadata"]["labels"]
    assert labels == {"kueue.x-k8s.io/queue-name": queue["metadata"]["name"]}


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_policy_covers_the_places_of_the_manifests(name: str, tmp_path: Path) -> None:
    """tests/integration/test_s3_policy.py has what it allows; here, that it is about the same places."""
    config = load(name, tmp_path)
    policy: dict[str, Any] = json.loads((INFRA / "s3-policy.json").read_text())
    allowed = {"read": set[str](), "write": set[str]()}
    for statement in policy["Statement"]:
        resources = statement["Resource"]
        kind = "write" if "s3:PutObject" in statement["Action"] else "read"
        allowed[kind] |= {resources} if isinstance(resources, str) else set(resources)

    def covers(patterns: set[str], uri: str) -> bool:
        return any(
            fnmatchcase(f"arn:aws:s3:::{uri.removeprefix('s3://')}/x", pattern) for pattern in patterns
        )

    assert covers(allowed["write"], config.output.uri)
    assert all(covers(allowed["read"], place) for place in (config.input.manifest, *config.input.allowed))
    assert not any(covers(allowed["write"], place) for place in config.input.allowed)
