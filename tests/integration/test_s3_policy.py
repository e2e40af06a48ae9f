"""infra/s3-policy.json on a real S3 server that checks it: enough for every command, and nothing too much."""

from __future__ import annotations

import copy
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT
from tests.support.runs.catalogue import make_catalogue
from tests.support.servers.s3 import S3Server

pytestmark = [pytest.mark.s3, pytest.mark.slow]
POLICY: dict[str, Any] = json.loads((ROOT / "infra" / "s3-policy.json").read_text())
PLACE = "s3://catalogue"
COMMANDS = (
    "validate",
    "plan",
    "run",
    "status",
    "verify",
    "clean",
    "report",
    "report --config {config} --review",
)
READING = (
    "plan --config {config}",
    "explain --config {config} rec-00000",
    "status {run}",
    "verify {run}",
    "verify {run} --catalogue",
    "show {output} rec-00000",
    "diff {run} {run}-webp",
    "catalogue list {output}",
    "catalogue verify {output}",
)
"""Commands that need no right but to list and to read."""

Command = Callable[[str], subprocess.CompletedProcess[str]]


def list_of(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def without(action: str, resource: str) -> dict[str, Any]:
    """The policy less one action on one resource."""
    policy = copy.deepcopy(POLICY)
    for statement in list(policy["Statement"]):
        actions, resources = list_of(statement["Action"]), list_of(statement["Resource"])
        if action not in actions or resource not in resources:
            continue
        statement["Resource"] = [other for other in resources if other != resource]
        others = [other for other in actions if other != action]
        policy["Statement"].append({"Effect": "Allow", "Action": others, "Resource": resource})
    policy["Statement"] = [s for s in policy["Statement"] if s["Action"] and s["Resource"]]
    return policy


def grants() -> Iterator[tuple[str, str]]:
    for statement in POLICY["Statement"]:
        for action in list_of(statement["Action"]):
            for resource in list_of(statement["Resource"]):
                yield action, resource


@pytest.fixture
def command(s3: S3Server, tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], Command]]:
    """Commands of a user whom a policy binds, over a catalogue where the policy expects it."""
    manifest = make_catalogue(tmp_path / "images", 12)
    s3.upload(manifest.parent / "images", "images")
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row["image"] = f"{PLACE}/{row['image']}"
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    s3.client().put_object(Bucket=s3.bucket, Key="manifests/spring.jsonl", Body=text.encode())
    own = secrets.token_hex(4)
    page = "0123456789ab/strips-0.js"
    for left in (
        "live.json",
        "plan/plan-of-a-killed-driver.parquet",
        "state/00000/of-a-slow-worker/0.step",
        f"report.data/{page}",
        f"review.data/{page}",
    ):
        s3.client().put_object(Bucket=s3.bucket, Key=f"edited/{own}/run/{left}", Body=b"")
    config = {
        "input": {"manifest": f"{PLACE}/manifests", "allow": [f"{PLACE}/images"]},
        "output": {"uri": f"{PLACE}/edited/{own}"},  # a catalogue of its own
        "storage": {"endpoint_url": s3.endpoint, "retry_seconds": 0},
        "workers": {"shard_size": 4},
        "run_id": "run",
        "backend": "inline",
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))

    def bind(policy: dict[str, Any]) -> Command:
        user = s3.as_user(f"job-{secrets.token_hex(4)}", policy)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}

        def call(name: str) -> subprocess.CompletedProcess[str]:
            """A command by its name, over the config; or with words in which places are named."""
            output = config["output"]["uri"]
            words = name.format(config=file, output=output, run=f"{output}/run").split()
            if len(words) == 1:
                words += ["--config", str(file)]
            if "--config" not in words:
                words += ["--set", f"storage.endpoint_url={s3.endpoint}"]
            return subprocess.run(
                [sys.executable, "-m", "mira_batch.cli", *words],
                env=clean | user.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )

        return call

    yield bind


def test_every_command_can_do_its_work(command: Callable[[dict[str, Any]], Command]) -> None:
    call = command(POLICY)
    for name in COMMANDS:
        done = call(name)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("action", "resource"), list(grants()))
def test_what_it_grants_is_needed(
    action: str, resource: str, command: Callable[[dict[str, Any]], Command]
) -> None:
    call = command(without(action, resource))
    # What a run leaves behind shows only in `clean`, and what an earlier page did only when it is made anew.
    said = ""
    for name in ("run", "clean", "report", "report --config {config} --review"):
        done = call(name)
        said += done.stdout
        if done.returncode != 0:
            break
    words = ("Forbidden", "AccessDenied", "access denied", "not authorized", "image_unreadable 12")
    refused = done.returncode != 0 and any(word in done.stdout for word in words)
    assert refused or "taking the run over" in said, said  # from who could not let go of it


def make_two_runs(call: Command) -> None:
    """The second supersedes the first."""
    for words in ("run", "run --config {config} --set run_id=run-webp --set output.format=webp"):
        assert call(words).returncode == 0


@pytest.mark.soak
def test_who_only_looks_needs_only_to_read(command: Callable[[dict[str, Any]], Command]) -> None:
    """As docs/deploy.md says of each of these commands."""
    make_two_runs(command(POLICY))
    policy = copy.deepcopy(POLICY)
    policy["Statement"] = [s for s in policy["Statement"] if s["Action"] != "s3:DeleteObject"]
    for statement in policy["Statement"]:
        statement["Action"] = [a for a in list_of(statement["Action"]) if a != "s3:PutObject"]
    call = command(policy)
    for words in READING:
        done = call(words)
        assert done.returncode == 0, f"{words}: {done.stdout}"
    assert call("run --config {config} --set run_id=third").returncode == 2
    said = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (row,) = [line for line in said.splitlines() if line.startswith("| `plan`, `explain`")]
    for words in READING:
        assert f"`{words.split(' {')[0].removesuffix(' --config')}`" in row, words


def test_forgetting_needs_to_delete_results(command: Callable[[dict[str, Any]], Command]) -> None:
    make_two_runs(command(POLICY))
    may_not = command(POLICY)
    refused = may_not("forget {output}")
    assert refused.returncode == 2 and "edited" in refused.stdout, refused.stdout
    assert may_not("catalogue verify {output}").returncode == 0, "nothing that is needed is gone"
    policy = copy.deepcopy(POLICY)
    (kept,) = [s for s in policy["Statement"] if s["Sid"] == "KeepRuns"]
    kept["Action"].append("s3:DeleteObject")
    call = command(policy)
    done = call("forget {output}")
    assert done.returncode == 0 and "deleting run" in done.stdout, done.stdout
    assert call("catalogue verify {output}").returncode == 0
