"""Policies and editors that go wrong, and one record much longer than all others: each keeps to itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_outputs, run
from mira_batch.config.shared import WorkersConfig
from mira_batch.runtime.backends.cluster import ray_session
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.planfile import read_plan, read_shard
from mira_batch.storage.stores.objects import open_store
from tests.support.models.counted import counted, read_edits
from tests.support.models.unruly import unruly
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.disturbed import assert_whole, left_alone, results

pytestmark = [pytest.mark.ray, pytest.mark.faults]
TWO = {"min": 2, "max": 2, "records_in_flight": 8, "shard_size": 4}
MOST = 6
"""limits.max_steps of the unruly run."""
ENDS = {
    "endless-1": ("unfinished", "max_steps", None, MOST),
    "endless-2": ("unfinished", "max_steps", None, MOST),
    "circles-1": ("unfinished", "oscillation", None, 3),
    "still-1": ("unfinished", "no_progress", None, 2),
    "babble-1": ("failed", None, "malformed_action", 0),
    "babble-2": ("failed", None, "malformed_action", 1),
    "refuses-1": ("failed", None, "policy_failed", 1),
    "raises-1": ("failed", None, "editor_failed", 1),
    "nothing-1": ("unfinished", "no_progress", None, 2),
    "nothing-2": ("unfinished", "no_progress", None, 3),
    "hangs-1": ("failed", None, "step_timeout", 1),
    "huge-1": ("failed", None, "editor_out_of_memory", 1),
}
"""What becomes of each unruly record: status, stop reason, error kind, steps."""


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    """One Ray for all tests of this file: a run uses the one that is there."""
    with ray_session(WorkersConfig(max=2)):
        yield


def renamed(manifest: Path, names: dict[int, str], keep: bool = True) -> Path:
    """The manifest with other names for some records; with `keep=False` without them."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for index, name in names.items():
        rows[index]["record_id"] = name
    chosen = [row for index, row in enumerate(rows) if keep or index not in names]
    other = manifest.with_name(f"{'all' if keep else 'good'}.jsonl")
    other.write_text("".join(f"{json.dumps(row)}\n" for row in chosen))
    return other


def unruly_models() -> dict[str, Any]:
    policy = [
        {"records": "babble-1", "does": "malformed"},
        {"records": "babble-2", "does": "malformed", "step": 1},
        {"records": "refuses-*", "does": "raise", "step": 1},
    ]
    editor = [
        {"records": "raises-*", "does": "raise", "step": 1},
        {"records": "nothing-1", "does": "nothing"},
        {"records": "nothing-2", "does": "nothing", "step": 1},
        {"records": "nothing-2", "does": "nothing", "step": 2},
        {"records": "still-*", "does": "nothing"},
        {"records": "hangs-*", "does": "hang", "step": 1},
        {"records": "huge-*", "does": "out_of_memory", "step": 1},
        {"records": "*", "does": "out_of_memory", "above_batch": 3},
    ]
    steps = {"exact": {"endless-*": 1000, "nothing-*": 5, "rec-*": 2, "*": 3}}
    return {
        "policy": unruly("policy", 8, faults=policy, steps=steps),
        "editor": unruly("editor", 8, faults=editor, service={"seconds": 0.02}),
    }


def test_unruly_records_end_each_in_its_own_way_and_all_others_as_if_alone(tmp_path: Path) -> None:
    """Also with an editor that runs out of memory whenever it is given more than three at once."""
    records = 48
    catalogue = make_catalogue(tmp_path / "catalogue", records)
    names = {1 + 3 * index: name for index, name in enumerate(ENDS)}
    base = unruly_models() | {"workers": TWO, "limits": {"max_steps": MOST, "edit_seconds": 8.0}}
    good = settings(renamed(catalogue, names, keep=False), tmp_path / "alone", **base)
    expected = left_alone(load_config(good), tmp_path / "alone")
    config = load_config(settings(renamed(catalogue, names), tmp_path / "out", backend="ray", **base))
    summary = run(config)
    assert_whole(summary.run, config, records)
    rows = {row["record_id"]: row for row in read_outputs(summary.run).to_pylist()}
    ends = {
        name: (row["status"], row["stop_reason"], row["error_kind"], row["num_steps"])
        for name, row in rows.items()
        if name in ENDS
    }
    assert ends == ENDS
    assert all(rows[name]["image"] is not None for name in ENDS), "the best image so far is kept"
    others = {name: end for name, end in results(summary.run).items() if name not in ENDS}
    assert others == expected and len(others) == records - len(ENDS)
    assert sum(end[0] == "ok" for end in others.values()) == len(others) - 1, "one image is missing"


def test_a_record_that_takes_too_long_ends_with_what_it_has(tmp_path: Path) -> None:
    slow = {"type": "simulated", "service": {"seconds": 0.6}}
    manifest = make_catalogue(tmp_path / "catalogue", 1)
    config = load_config(
        settings(
            manifest,
            tmp_path / "out",
            policy={"type": "simulated", "steps": {"exact": {"*": 5}}},
            editor=slow,
            limits={"max_seconds_per_record": 1.0},
        )
    )
    summary = run(config)
    assert summary.stops == {"time_limit": 1} and (summary.ok, summary.unfinished) == (0, 1)
    assert_whole(summary.run, config, 1)
    row = read_outputs(summary.run).to_pylist()[0]
    assert 1 <= row["num_steps"] <= 2 and row["image"] is not None


def test_a_long_record_delays_its_own_shard_and_no_other(tmp_path: Path) -> None:
    records, log = 48, tmp_path / "edits.log"
    manifest = make_catalogue(tmp_path / "catalogue", records)
    steps = {"exact": {"rec-00001": 60, "*": 1}}  # seconds longer than all others, on a busy machine too
    config = load_config(
        settings(
            manifest,
            tmp_path / "out",
            backend="ray",
            workers=TWO,
            policy={"type": "simulated", "steps": steps},
            editor=counted(log, 0.1, max_batch=4),
            limits={"max_steps": 64},
        )
    )
    summary = run(config)
    assert_whole(summary.run, config, records)
    store = open_store(summary.run, config.storage)
    plan = read_plan(store)
    assert plan is not None
    committed = {
        shard.index: os.stat(store.locate(result_key(shard.index))).st_mtime_ns for shard in plan.shards()
    }
    own = next(
        shard.index
        for shard in plan.shards()
        if any(row["record_id"] == "rec-00001" for row in read_shard(store, shard))
    )
    others = [moment for shard, moment in committed.items() if shard != own]
    assert len(others) > 8 and max(others) < committed[own], "its shard comes last"
    began = [line.split(" ", 3)[2:] for line in log.read_text().splitlines() if line.startswith("begin")]
    last_other = max(index for index, (_, record) in enumerate(began) if record != "rec-00001")
    after = sum(record == "rec-00001" for _, record in began[last_other:])
    print(f"{after} of its 60 steps were made after all other records' last")
    assert after >= 1 and read_edits(log).repeated == 0
