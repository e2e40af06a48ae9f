"""Runs with the same `seed` draw the same noise, whatever their models and settings are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_outputs, read_trajectories, run
from tests.support.runs.catalogue import make_catalogue, settings

SIMULATED = {
    "policy": {"type": "simulated", "steps": {"exact": {"*": 2}}},
    "editor": {"type": "simulated"},
    "backend": "inline",
}
OTHERS = [
    {"limits": {"max_steps": 5}},
    {"policy": {"type": "simulated", "steps": {"exact": {"*": 2, "nobody": 3}}}},
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalogue(tmp_path_factory.mktemp("seed") / "catalogue", 4)


def find_draws(manifest: Path, output: Path, **more: Any) -> dict[tuple[str, int, int], tuple[int, str]]:
    """Seed and image of each step, by record, rollout and step."""
    done = run(load_config(settings(manifest, output, **(SIMULATED | more))))
    works = read_outputs(done.run, ["work_id", "rollout"]).to_pylist()
    rollouts = {row["work_id"]: row["rollout"] or 0 for row in works}
    rows = read_trajectories(done.run).to_pylist()
    assert len(rows) == 2 * done.committed
    return {
        (row["record_id"], rollouts[row["work_id"]], row["index"]): (row["seed"], row["after"])
        for row in rows
    }


@pytest.mark.parametrize("other", OTHERS)
def test_runs_of_other_settings_draw_alike_where_they_have_the_same_seed(
    manifest: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    first = find_draws(manifest, tmp_path / "first", seed=7)
    second = find_draws(manifest, tmp_path / "second", seed=7, **other)
    assert first == second
    assert len(set(first.values())) == len(first) == 8  # each draw has a seed of its own


def test_without_one_each_setting_draws_for_itself(manifest: Path, tmp_path: Path) -> None:
    first = find_draws(manifest, tmp_path / "first")
    second = find_draws(manifest, tmp_path / "second", **OTHERS[0])
    assert not set(first.values()) & set(second.values())


def test_another_seed_draws_otherwise_and_is_another_run(manifest: Path, tmp_path: Path) -> None:
    first = find_draws(manifest, tmp_path, seed=7)
    second = find_draws(manifest, tmp_path, seed=8)
    assert not set(first.values()) & set(second.values())
    assert len([path for path in tmp_path.iterdir() if (path / "run.json").exists()]) == 2


def test_rollouts_of_a_record_are_seeded_apart_and_the_first_as_if_it_were_alone(
    manifest: Path, tmp_path: Path
) -> None:
    alone = find_draws(manifest, tmp_path / "alone", seed=7)
    three = find_draws(manifest, tmp_path / "three", seed=7, rollouts=3)
    assert len(set(three.values())) == len(three) == 3 * len(alone)
    assert {name: draw for name, draw in three.items() if name[1] == 0} == alone


def test_a_run_without_seed_has_the_name_that_it_always_had(manifest: Path, tmp_path: Path) -> None:
    find_draws(manifest, tmp_path)
    (made,) = [path for path in tmp_path.iterdir() if (path / "run.json").exists()]
    assert "seed" not in json.loads((made / "run.json").read_text())["settings"]["pixels"]


def test_what_follows_a_state_is_not_how_its_own_run_went_on(manifest: Path, tmp_path: Path) -> None:
    base = run(load_config(settings(manifest, tmp_path / "base", seed=7, rollouts=2, **SIMULATED)))
    works = {
        row["record_id"]: row["work_id"]
        for row in read_outputs(base.run, ["record_id", "work_id", "rollout"]).to_pylist()
        if row["rollout"] == 0
    }
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row in rows:
        row["branch"] = {"work_id": works[row["record_id"]], "steps": 1}
    branches = manifest.with_name("branches.jsonl")
    branches.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = settings(branches, tmp_path / "more", seed=7, rollouts=2, **SIMULATED)
    config["input"]["branches"] = base.run
    more = run(load_config(config))
    seeds = [
        {row["seed"] for row in read_trajectories(done.run).to_pylist() if row["index"] == 1}
        for done in (base, more)
    ]
    assert len(seeds[0]) == len(seeds[1]) == 8 and not seeds[0] & seeds[1]
