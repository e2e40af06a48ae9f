"""A policy that is credited step by step: proposals at states of its trajectories, in the synthetic world."""

from __future__ import annotations

import json
import math
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pyarrow.parquet as pq
import pytest

from mira_batch import read_outputs
from mira_batch.storage import schema
from tests.support.runs.disturbed import CLI, until
from tests.support.runs.drivers import Begin
from tests.support.runs.grpo import RECORDS, ROLLOUTS, learn, read_adapters, settings, write_world


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Path]:
    """Holds the world's model and tasks."""
    folder = tmp_path_factory.mktemp("grpo")
    write_world(folder)
    yield folder


def test_steps_are_credited_by_proposals_at_their_states(folder: Path, tmp_path: Path) -> None:
    """One iteration; cut off after its proposals it ends alike."""
    changes = {
        "output": {"uri": str(tmp_path / "out")},
        "credit": "step",
        "states": 5,
        "choose": "doubt",
        "iterations": 1,
    }
    learn(folder, **changes)
    files = tmp_path / "out" / "iterations" / "000000"
    line = json.loads((files / "iteration.json").read_text())
    assert line["rollouts"] == 5 * ROLLOUTS == line["rewarded"] and line["states"] == line["groups"] == 5
    assert line["used"] + line["alike"] + line["alone"] == line["rewarded"]
    assert line["records_without_state"] == line["states_rejected"] == 0
    assert line["agreement_mean"] < 1e-5 and line["sight"] > 0
    trunks = {row["work_id"]: row for row in read_outputs(str(files / "rollouts" / "run")).to_pylist()}
    asked = {(work, answer["step"]) for work, row in trunks.items() for answer in row["answers"]}
    assert len(trunks) == RECORDS and line["states_found"] == len(asked)
    doubts = [
        1 - math.exp(sum(answer["logprobs"]))
        for row in trunks.values()
        for answer in row["answers"]
        if answer["attempt"] == 0
    ]
    assert len(doubts) == len(asked) and line["states_doubt"] == pytest.approx(fmean(doubts))
    rows = read_outputs(str(files / "proposals" / "run"), list(schema.RESULTS.names)).to_pylist()
    rewards = {
        (r["record_id"], r["rollout"]): r for r in pq.read_table(files / "rewards.parquet").to_pylist()
    }
    own = 0
    for row in rows:
        state = row["branch"]["work_id"], row["branch"]["steps"]
        assert state in asked and row["record_id"].endswith(f"#state-{state[1]}")
        made = row["num_steps"] - state[1]
        proposal = [answer for answer in row["answers"] if answer["step"] >= state[1]]
        assert made in (0, 1) and {answer["step"] for answer in proposal} == {state[1]}
        reward = rewards[row["record_id"], row["rollout"]]
        malformed = sum(answer["kind"] == "malformed" for answer in proposal)
        assert (reward["edits"], reward["answers"], reward["malformed"]) == (made, len(proposal), malformed)
        cost = 0.05 * made + 0.25 * malformed
        assert reward["reward"] == pytest.approx((reward["score"] or 0.0) - cost)
        own += len(proposal) * (reward["advantage"] is not None)
    assert own == line["answers_used"]
    adapters = read_adapters(tmp_path / "out")
    kept = (
        "records.parquet",
        "columns.json",
        "rollouts",
        "states.parquet",
        "states-columns.json",
        "proposals",
    )
    shutil.rmtree(tmp_path / "out" / "adapter")
    (tmp_path / "out" / "result.json").unlink()
    for path in files.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    learn(folder, **changes)
    assert read_adapters(tmp_path / "out") == adapters


@pytest.mark.soak
@pytest.mark.faults
@pytest.mark.parametrize(
    "moment",
    [
        "rollouts/run/plan/plan.json",
        "states.parquet",
        "proposals/run/plan/plan.json",
        "scores/run/plan/plan.json",
        "rewards.json",
        "adapter/adapter_config.json",
    ],
)
def test_a_training_by_steps_that_was_killed_ends_with_the_same_bytes(
    folder: Path, tmp_path: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out, file = tmp_path / "out", tmp_path / "config.json"
    changes = {"output": {"uri": str(out)}, "credit": "step", "states": 3, "iterations": 1}
    learn(folder, **changes)
    whole = read_adapters(out)
    shutil.rmtree(out)
    file.write_text(json.dumps(settings(folder, **changes)))
    driver = begin(*CLI, "train", "policy-grpo", "--config", file)
    until(lambda: (out / "iterations/000000" / moment).exists() or driver.process.poll() is not None, 300)
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()
    assert not (out / "result.json").exists(), driver.end()
    learn(folder, **changes)
    assert read_adapters(out) == whole
