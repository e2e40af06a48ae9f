"""Which keys a profile under ~/.aws gives, and how often it is asked."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from mira_batch.storage.stores.profiles import find_profile


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    return tmp_path / ".aws"


def test_a_program_is_asked_once_for_all_stores(home: Path) -> None:
    calls, given = home / "calls", {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "s"}
    (home / "give.py").write_text(
        f"open({str(calls)!r}, 'a').write('asked\\n')\nprint({json.dumps(json.dumps(given))})"
    )
    (home / "config").write_text(f"[default]\ncredential_process = {sys.executable} {home / 'give.py'}\n")
    found = [find_profile() for _ in range(5)]
    assert all(profile is not None and profile()["access_key_id"] == "a" for profile in found)
    assert calls.read_text().splitlines() == ["asked"]


def test_keys_that_are_renewed_in_the_file_count(home: Path) -> None:
    for at, key in enumerate(("old", "new")):
        file = home / "credentials"
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")
        os.utime(file, ns=(at, at))
        profile = find_profile()
        assert profile is not None and profile()["access_key_id"] == key


def test_a_config_without_keys_is_no_profile(home: Path) -> None:
    (home / "config").write_text("[default]\nregion = eu-central-1\noutput = json\n[profile other]\n")
    assert find_profile() is None


def test_the_endpoint_of_a_profile_is_its_services_too(home: Path) -> None:
    (home / "config").write_text(
        "[default]\nservices = minio\naws_access_key_id = a\naws_secret_access_key = s\n"
        "[services minio]\ns3 =\n  endpoint_url = http://minio:9000\n"
    )
    profile = find_profile()
    assert profile is not None and profile.endpoint == "http://minio:9000"
