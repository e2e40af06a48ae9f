"""Whoever has signed in by `aws configure`, or by a program of the house, needs no variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import CLI
from tests.support.servers.s3 import S3Server


def start(arguments: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line of somebody whose home is that folder, and who has set no keys."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [*CLI, *arguments],
        capture_output=True,
        text=True,
        env=kept | {"HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true"} | environment,
        timeout=120,
        check=False,
    )


def sign_in(folder: Path, server: S3Server, how: str) -> None:
    """What `aws configure` leaves, or the line that leads to a program which prints keys that run out."""
    home = folder / ".aws"
    home.mkdir()
    keys = f"aws_access_key_id = {server.access_key}\naws_secret_access_key = {server.secret_key}\n"
    if how == "keys":
        (home / "credentials").write_text(f"[default]\naws_access_key_id = x\n\n[editors]\n{keys}")
        place = f"region = us-east-1\nendpoint_url = {server.endpoint}\n"
        (home / "config").write_text(f"[profile editors]\n{place}")
        return
    program = folder / "give_keys.py"
    given = {
        "Version": 1,
        "AccessKeyId": server.access_key,
        "SecretAccessKey": server.secret_key,
        "Expiration": "2999-01-01T00:00:00Z",
    }
    program.write_text(f"print({json.dumps(json.dumps(given))})")
    (home / "config").write_text(
        f"[profile editors]\nregion = us-east-1\ncredential_process = {sys.executable} {program}\n"
    )


@pytest.mark.parametrize("how", ["keys", "a program"])
def test_a_profile_reads_and_writes(tmp_path: Path, s3: S3Server, how: str) -> None:
    sign_in(tmp_path, s3, how)
    place = f"s3://{s3.bucket}/profile-{how.replace(' ', '-')}"
    s3.upload(make_catalogue(tmp_path / "catalogue", 4).parent, place.rpartition("/")[2])
    storage = {} if how == "keys" else {"endpoint_url": s3.endpoint}  # else the profile has it
    config = settings(f"{place}/manifest.jsonl", f"{place}/out", storage=storage)
    (tmp_path / "config.json").write_text(json.dumps(config))
    given = ["--config", str(tmp_path / "config.json")]
    done = start(["run", *given, "--json"], tmp_path, AWS_PROFILE="editors")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["committed"] == 4
    whole = start(["verify", *given, "--json"], tmp_path, AWS_PROFILE="editors")  # by Arrow
    assert whole.returncode == 0, whole.stderr
    for form in ("csv", "delta", "lance"):  # whose libraries have clients of their own
        given_out = [f"{place}/{form}", "--as", form, "--catalogue", f"{place}/out", "--json"]
        more = [word for name in storage for word in ("--set", f"storage.{name}={storage[name]}")]
        handed = start(
            ["export", *given_out, "--set", "backend=inline", *more], tmp_path, AWS_PROFILE="editors"
        )
        assert handed.returncode == 0, handed.stderr
        assert json.loads(handed.stdout)["exported"] == 4
    here = ["--set", f"input.manifest={tmp_path / 'catalogue' / 'manifest.jsonl'}"]
    for more in ([], here):  # by s3fs, and by obstore
        nobody = start(["run", *given, *more], tmp_path, AWS_PROFILE="nobody")
        assert nobody.returncode == 2 and "(nobody) could not be found" in nobody.stderr, nobody.stderr
        assert "Traceback" not in nobody.stderr
