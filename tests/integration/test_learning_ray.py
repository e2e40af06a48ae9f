"""A turn of the flywheel and a counterfactual on a real Ray, two workers each: what they come to is what the
same comes to in one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from mira_batch import load_config, read_counterfactual, run
from mira_batch.storage.promotions import read_promotion
from mira_batch.storage.stores import open_store
from mira_batch.train.counterfactual.run import find_values
from mira_batch.train.flywheel.run import turn
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.tasks import generate_tasks
from tests.support.models import taught
from tests.support.runs import counterfactuals
from tests.support.runs.wheel import configure, show_night, wheel_settings

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.soak, pytest.mark.usefixtures("one_thread")]

PAIR = {"min": 2, "max": 2}


def test_a_turn_of_the_flywheel_on_two_workers_is_that_of_one_process(tmp_path: Path) -> None:
    taught.write_taught(tmp_path / "base")
    write_manifest(tmp_path / "train.parquet", generate_tasks("train", 8))
    write_manifest(tmp_path / "heldout.parquet", generate_tasks("val", 7))
    show_night(str(tmp_path / "train.parquet"), str(tmp_path / "nights"))
    found, places = {}, {"inline": tmp_path / "one", "ray": tmp_path / "two"}
    for backend, place in places.items():
        given = wheel_settings(tmp_path)
        share = 2 if backend == "ray" else 1  # of a step's samples
        given |= {"output": {"uri": str(place)}, "promoted": str(place / "promoted"), "backend": backend}
        given["train"] |= {"batch": 4 // share, "workers": {"num": share}}
        if backend == "ray":
            given["edit"]["workers"] = given["evaluate"]["workers"] = PAIR | {"shard_size": 2}
        config = configure(tmp_path, **given)
        found[backend] = turn(config, print)
        promotion = read_promotion(open_store(str(place / "promoted"), config.storage))
        assert promotion is not None and promotion.adapter == f"{place}/turns/000001/trained/adapter"
        assert turn(config, print)["outcome"] == "nothing new"
    assert found["ray"]["outcome"] == found["inline"]["outcome"] == "promoted"
    assert _read(places["ray"], "data")["snapshot"] == _read(places["inline"], "data")["snapshot"]
    for each in ("current", "candidate"):
        one, two = (_read(place, each) for place in places.values())
        counts = ("records", "ok", "unfinished", "failed")
        assert [two[name] for name in counts] == [one[name] for name in counts] and two["records"] == 7
    name = "turns/000001/trained/adapter/adapter_model.safetensors"
    one, two = (load_file(place / name) for place in places.values())
    # That both learn the same is for test_train_ray.py, by gradients: AdamW's first steps are of one length
    # for all weights, and turn the rounding of a gradient of nearly 0 into a step.
    assert {key: weights.shape for key, weights in one.items()} == {key: w.shape for key, w in two.items()}
    assert all(weights.isfinite().all() for weights in two.values())


def test_a_counterfactual_on_two_workers_says_what_one_process_says(tmp_path: Path) -> None:
    names = counterfactuals.write_tasks(tmp_path)
    ruined = {names[0]: 1, names[2]: 0}
    trunk = run(load_config(counterfactuals.edit_settings(tmp_path, ruined))).run
    for place, more in (("one", {}), ("two", {"backend": "ray", "workers": PAIR | {"shard_size": 2}})):
        find_values(counterfactuals.configure(trunk, tmp_path / place, **more), lambda text: None)
    one, two = (
        sorted(
            read_counterfactual(str(tmp_path / place)).to_pylist(),
            key=lambda row: (row["work_id"], row["step"]),
        )
        for place in ("one", "two")
    )
    assert {row["record_id"]: row["step"] for row in two if row["ruined"]} == ruined
    assert two == one


def _read(place: Path, name: str) -> dict[str, Any]:
    return json.loads((place / f"turns/000001/{name}.json").read_text())
