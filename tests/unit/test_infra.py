"""What infra/ ships, as far as it shows without a cluster: schemas, configs, and that the pieces fit."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray._private.ray_constants import RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S

import mira_batch
from mira_batch.config.base import is_remote
from mira_batch.config.edit import BulkEditConfig
from tests.support import ROOT

INFRA = ROOT / "infra"
DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
MANIFESTS = ("rayjob.yaml", "nightly.yaml")
CRDS = os.environ.get("KUBERAY_CRDS")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the CRDs are megabytes
needs_crds = pytest.mark.skipif(
    CRDS is None, reason="KUBERAY_CRDS doesn't name a folder with KubeRay's CRDs (ray.io_rayjobs.yaml, …)"
)


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((INFRA / name).read_text()))


def resource(name: str) -> dict[str, Any]:
    """The manifest's RayJob or RayCronJob."""
    return next(document for document in documents(name) if document["apiVersion"] == "ray.io/v1")


def job_spec(name: str) -> dict[str, Any]:
    spec = resource(name)["spec"]
    return spec.get("jobTemplate", spec)


def pods(name: str) -> list[dict[str, Any]]:
    cluster = job_spec(name)["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def load(name: str, folder: Path) -> BulkEditConfig:
    """The config inside the manifest's ConfigMap, as the job will read it."""
    config_map = next(document for document in documents(name) if document["kind"] == "ConfigMap")
    ((key, text),) = config_map["data"].items()
    (folder / key).write_text(text)
    return mira_batch.load_config(folder / key)


def pinned(package: str) -> str:
    match = re.search(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert match is not None, f"constraints.txt doesn't pin {package}"
    return match[1]


# --- KubeRay's own schemas


def errors(document: dict[str, Any]) -> list[str]:
    """What the API server would refuse or drop, by the schema of the document's CRD."""
    assert CRDS is not None
    group, _, version = document["apiVersion"].partition("/")
    file = Path(CRDS) / f"{group}_{document['kind'].lower()}s.yaml"
    if not file.exists():
        pytest.skip(f"KUBERAY_CRDS has no {file.name}")
    crd = yaml.load(file.read_text(), Loader=LOADER)
    assert (crd["spec"]["group"], crd["spec"]["names"]["kind"]) == (group, document["kind"])
    found = next(v for v in crd["spec"]["versions"] if v["name"] == version and v["served"])
    schema = strict(found["schema"]["openAPIV3Schema"])
    # CRDs leave an object's own metadata to the API server.
    names = ("name", "namespace", "labels", "annotations")
    schema["properties"]["metadata"] = {"additionalProperties": False, "properties": dict.fromkeys(names, {})}
    validator = jsonschema.Draft202012Validator(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def strict(schema: Any) -> Any:
    """The JSON schema of a CRD's OpenAPI schema in which unknown fields fail instead of vanishing."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        out["properties"] = {name: strict(field) for name, field in schema["properties"].items()}
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    closed = schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields")
    if closed and "additionalProperties" not in schema:
        out["additionalProperties"] = False
    if schema.get("nullable") and "type" in out:
        out["type"] = [out["type"], "null"]
    return out


@needs_crds
@pytest.mark.parametrize("name", MANIFESTS)
def test_the_manifest_satisfies_its_crd(name: str) -> None:
    assert errors(resource(name)) == []


@needs_crds
@pytest.mark.parametrize("document", [*documents("podmonitor.yaml"), *documents("kueue.yaml")])
def test_what_stands_beside_satisfies_its_crd(document: dict[str, Any]) -> None:
    assert errors(document) == []


@needs_crds
def test_the_cluster_that_kuberay_makes_for_the_job_satisfies_its_crd() -> None:
    cluster = job_spec("rayjob.yaml")["rayClusterSpec"]
    document = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "x"}, "spec": cluster}
    assert errors(document) == []


@needs_crds
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.shutDownAfterJobFinishes", True),
        ("spec.backoffLimit", "two"),
        ("spec.rayClusterSpec.authOptions.mode", "password"),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.container", []),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.containers.0.envfrom", []),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.containers.0.resources.limits.cpu", [2]),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.containers.0.resources.limits.memory", "8 GB"),
        ("metadata.label", {}),
    ],
)
def test_a_mistake_in_a_manifest_is_found(path: str, value: object) -> None:
    document = json.loads(json.dumps(resource("rayjob.yaml")))  # as it is sent: no shared parts
    *parents, last = path.split(".")
    target: Any = document
    for key in parents:
        target = target[int(key)] if key.isdigit() else target[key]
    target[last] = value
    (error, *more) = errors(document)
    assert not more and last in error


# --- how the pieces fit


@pytest.mark.parametrize("path", sorted(INFRA.glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_is_yaml_and_says_nothing_twice(path: Path) -> None:
    assert all(isinstance(document, dict) for document in yaml.safe_load_all(path.read_text()))
    nodes: list[Any] = list(yaml.compose_all(path.read_text()))
    for node in nodes:  # grows meanwhile
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        keys = [key.value for key, _ in pairs if key.value != "<<"]
        assert len(keys) == len(set(keys)), node.start_mark
        nodes += [value for _, value in pairs] + (node.value if isinstance(node, yaml.SequenceNode) else [])


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_entrypoint_runs_a_script_of_the_image_with_the_mounted_config(name: str) -> None:
    replace_the_shell, python, script, option, config = shlex.split(job_spec(name)["entrypoint"])
    assert (replace_the_shell, python, option) == ("exec", "python", "--config")
    assert (ROOT / script).is_file() and Path(script).parts[0] in copied()
    head = pods(name)[0]  # where the driver runs
    (mount,) = head["containers"][0]["volumeMounts"]
    (volume,) = (volume for volume in head["volumes"] if "configMap" in volume)
    config_map = next(document for document in documents(name) if document["kind"] == "ConfigMap")
    assert mount["name"] == volume["name"]
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    assert [f"{mount['mountPath']}/{key}" for key in config_map["data"]] == [config]


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_config_is_valid_and_its_pool_fits_the_pods(name: str, tmp_path: Path) -> None:
    config = load(name, tmp_path)
    places = (config.input.manifest, config.output.uri, *config.input.allowed)
    assert all(is_remote(place) for place in places), "every node must see them"
    (group,) = job_spec(name)["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    limits, workers = container["resources"]["limits"], config.workers
    each = int(limits["nvidia.com/gpu"] // workers.gpus)
    assert workers.most == group["maxReplicas"] * each, "no GPU idle, no worker without one"
    assert workers.cpus * each < limits["cpu"], "the tasks that read the manifest need a CPU"


def test_one_run_has_its_pods_from_the_start_and_a_night_only_those_that_it_needs(tmp_path: Path) -> None:
    fixed, grows = (job_spec(name)["rayClusterSpec"] for name in MANIFESTS)
    (group,) = fixed["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"]
    assert not fixed.get("enableInTreeAutoscaling"), "Kueue takes a fixed size"
    (group,) = grows["workerGroupSpecs"]
    assert grows["enableInTreeAutoscaling"] and group["replicas"] == group["minReplicas"] == 0
    assert grows["headGroupSpec"]["rayStartParams"]["num-cpus"] == "1", "to read the manifest"
    assert load("nightly.yaml", tmp_path).workers.min == 1
    # The autoscaler alone may call Kubernetes: the pod's token is mounted into its container and no other.
    (mount,) = grows["autoscalerOptions"]["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    (volume,) = (volume for volume in pods("nightly.yaml")[0]["volumes"] if "projected" in volume)
    assert mount["name"] == volume["name"]
    assert all(pod["automountServiceAccountToken"] is False for name in MANIFESTS for pod in pods(name))


def test_a_night_is_the_job_with_another_config_that_grows() -> None:
    night = job_spec("nightly.yaml")
    assert (night["backoffLimit"] + 1) * night["activeDeadlineSeconds"] < 24 * 3600
    as_job = json.loads(json.dumps(night).replace('"bulk-edit-nightly"', '"bulk-edit"'))
    as_job["entrypoint"] = as_job["entrypoint"].replace("jobs/nightly.py", "jobs/bulk_edit.py")
    cluster = as_job["rayClusterSpec"]
    del cluster["enableInTreeAutoscaling"], cluster["autoscalerOptions"]
    cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] = "0"
    cluster["headGroupSpec"]["template"]["spec"]["volumes"].pop()
    cluster["workerGroupSpecs"][0] |= {"replicas": 4, "minReplicas": 4}
    assert as_job == job_spec("rayjob.yaml")


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_that_are_to_end_have_the_time_to_end_in_order(name: str, tmp_path: Path) -> None:
    spec, grace = job_spec(name), load(name, tmp_path).limits.grace_seconds
    assert grace <= RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S, (
        "a worker's node drains as long as the driver waits"
    )
    for pod in pods(name):
        own = {entry["name"]: float(entry["value"]) for entry in pod["containers"][0].get("env", ())}
        drain = own.get(DRAIN, RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S)
        first = grace if "lifecycle" in pod["containers"][0] else 0  # a head stops the job before it drains
        assert pod["terminationGracePeriodSeconds"] >= first + drain + 5
    stop = pods(name)[0]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert (stop[:3], stop[-1]) == (["ray", "job", "stop"], spec["jobId"])
    wait = yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]
    assert int(wait) > grace
    assert spec["backoffLimit"] == 0, "exit code 2 is not tried again"


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_run_our_image_as_nobody_special_with_credentials_by_reference(name: str) -> None:
    assert job_spec(name)["rayClusterSpec"]["rayVersion"] == pinned("ray")
    assert any(
        variable["name"] == DRAIN for pod in pods(name) for variable in pod["containers"][0].get("env", ())
    )
    assert all(document["kind"] != "Secret" for document in documents(name))
    for pod in pods(name):
        (container,) = pod["containers"]
        assert container["image"] == f"mira-batch:{mira_batch.__version__}"
        assert container["envFrom"] == [{"secretRef": {"name": "bulk-edit-credentials"}}]
        own = {variable["name"]: variable["value"] for variable in container.get("env", ())}
        assert own.keys() <= {DRAIN}, "credentials come by reference"
        assert pod.get("terminationGracePeriodSeconds", 30) >= float(own.get(DRAIN, 0)) + 5
        assert pod["securityContext"]["runAsNonRoot"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]


def copied() -> set[str]:
    """What of the checkout the Dockerfile copies into the image."""
    lines = re.findall(r"^COPY (.+)$", (INFRA / "Dockerfile").read_text(), re.MULTILINE)
    return {source for line in lines for source in line.split()[:-1]}


def test_the_image_holds_what_it_needs_and_does_not_run_as_root() -> None:
    text = (INFRA / "Dockerfile").read_text()
    rules = (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
    assert rules[1] == "*", "all that isn't named stays out"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert copied() == let_in and {"mira_batch", "jobs"} <= copied()
    assert all((ROOT / source).exists() for source in copied())
    assert all("-c constraints.txt" in line for line in text.splitlines() if "pip install" in line)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE)[-1] == "1000"
    assert f"-t mira-batch:{mira_batch.__version__} " in text


@pytest.mark.parametrize(("extras", "installed"), [("", "."), ("openai,gcs", ".[openai,gcs]")])
def test_the_image_takes_the_extras_that_it_is_built_with(extras: str, installed: str) -> None:
    text = (INFRA / "Dockerfile").read_text()
    default, command = re.search(r'^ARG EXTRAS=(".*")\nRUN (pip install .*)$', text, re.MULTILINE).groups()
    script = f"pip() {{ shift $(($# - 1)); printf '%s' \"$1\"; }}; {command}"
    said = subprocess.run(
        ["sh", "-ec", script], env={"EXTRAS": extras}, capture_output=True, text=True, check=True
    )
    assert (default, said.stdout) == ('""', installed)


@pytest.mark.parametrize("name", ["cluster.yaml", "aws.yaml"])
def test_the_cluster_file_is_what_ray_up_takes(name: str) -> None:
    spec = importlib.util.find_spec("ray")
    assert spec is not None and spec.origin is not None
    schema = json.loads((Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    (cluster,) = documents(name)
    jsonschema.validate(cluster, schema)
    mounted = [local for local in cluster["file_mounts"].values() if not local.startswith("~")]
    assert set(mounted) <= copied() and all((ROOT / local).exists() for local in mounted)


def test_the_cluster_on_aws_starts_as_any_other_and_takes_spot_after_one_machine_that_stays() -> None:
    (any_other,), (aws,) = documents("cluster.yaml"), documents("aws.yaml")
    for part in ("file_mounts", "setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        assert aws[part] == any_other[part], part
    first, spot = (aws["available_node_types"][name] for name in ("gpu-on-demand", "gpu-spot"))
    assert first["resources"] == spot["resources"], "Ray Data asks for one machine of each size"
    assert first["priority"] > spot.get("priority", 0) and first["max_workers"] == 1
    assert "min_workers" not in first and "min_workers" not in spot, "no GPU without work"
    assert first["max_workers"] + spot["max_workers"] == aws["max_workers"]
    assert spot["node_config"].pop("InstanceMarketOptions") == {"MarketType": "spot"}
    assert first["node_config"] == spot["node_config"]


def test_the_trial_store_is_the_tested_one_and_for_this_machine_only() -> None:
    (compose,) = documents("object-store.compose.yaml")
    (service,) = compose["services"].values()
    assert "-c constraints.txt ministack" in service["build"]["dockerfile_inline"]
    assert pinned("ministack")
    assert all(fnmatch(port, "127.0.0.1:*:*") for port in service["ports"])
