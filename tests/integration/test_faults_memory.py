"""Models that leak or end their process, and records that are too large: a record fails for memory only in a
fresh process, and no process is started for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_outputs, run
from mira_batch.config.shared import WorkersConfig
from mira_batch.core.errors import ConfigError, EngineDead
from mira_batch.runtime.backends.cluster import ray_session
from tests.support.models.odd import LEAK, odd
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import assert_whole

pytestmark = [pytest.mark.ray, pytest.mark.faults]
RECORDS = 12
ONE = {"min": 1, "max": 1, "records_in_flight": 4, "shard_size": 4}


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    """One Ray for all tests of this file: a run uses the one that is there."""
    with ray_session(WorkersConfig(max=1)):
        yield


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Records of which the last is called odd: its process has answered others when it comes, so that only a
    fresh one can tell."""
    path = make_catalogue(tmp_path / "catalogue", RECORDS)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[-1]["record_id"] = "odd-1"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def run_all(manifest: Path, models: dict[str, Any], **more: Any) -> tuple[dict[str, Any], int]:
    """How each record ended, and how often a shard was handed out again."""
    base = {"backend": "ray", "workers": ONE, **models, **more}
    config = load_config(settings(manifest, manifest.parent / "out", **base))
    summary = run(config)
    assert_whole(summary.run, config, RECORDS)
    rows = read_outputs(summary.run).to_pylist()
    return {row["record_id"]: row["error_kind"] or row["status"] for row in rows}, summary.total.restarts


@pytest.mark.soak
def test_an_editor_that_leaks_costs_processes_and_no_record(manifest: Path) -> None:
    ends, restarts = run_all(manifest, odd(way="leaks"))
    assert set(ends.values()) == {"ok"}
    assert restarts >= (RECORDS - 1) // LEAK


@pytest.mark.soak
def test_so_does_a_policy_that_leaks(manifest: Path) -> None:
    """Its answers are not logged: a process asks again what the one before it was told."""
    ends, restarts = run_all(manifest, odd(policy="make_leaking_policy"))
    assert set(ends.values()) == {"ok"}
    assert restarts >= 2 * RECORDS // (2 * LEAK) - 1


def test_a_record_that_is_too_large_fails_and_no_other(manifest: Path) -> None:
    ends, restarts = run_all(manifest, odd(way="too-large"))
    assert ends.pop("odd-1") == "editor_out_of_memory"
    assert set(ends.values()) == {"ok"} and restarts >= 1


@pytest.mark.soak
def test_a_factory_that_ends_its_process_is_named_and_not_called_for_ever(manifest: Path) -> None:
    words = "3 worker processes in a row died while opening it and calling .*odd:make_nothing"
    with pytest.raises(ConfigError, match=words):
        run_all(manifest, odd("make_nothing", way="os-exit"))


def test_without_a_process_to_spare_the_run_ends_and_loses_nothing(manifest: Path) -> None:
    """The inline backend lives in the caller's: it says so, and goes on with the same command."""
    inline = {"backend": "inline"}
    with pytest.raises(EngineDead, match="the editor ran out of memory with one request alone, in a process"):
        run_all(manifest, odd(way="too-large"), **inline)
