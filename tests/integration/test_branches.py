"""Records that begin from a stored state: the first steps of an earlier trajectory, then their own."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mira_batch import load_config, read_outputs, run
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError, UserError
from mira_batch.storage import schema
from mira_batch.storage.run.planfile import read_rejects
from mira_batch.storage.stores import open_store
from tests.support import ROOT
from tests.support.models.deadly import deadly
from tests.support.models.spoken import spoken
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.edits import verify_edits
from tests.support.runs.program import call

RECORDS, STEPS = 3, 3
MODELS: dict[str, Any] = {
    "policy": spoken(steps={"exact": {"*": STEPS}}),
    "editor": {"type": "simulated"},
    "workers": {"records_in_flight": 4, "shard_size": 8},
}
TOKENS = {"tokens": True}
Rows = list[dict[str, Any]]


def rows_of(where: str) -> Rows:
    assert verify_edits(open_store(where, StorageConfig())).problems == []
    return read_outputs(where, list(schema.RESULTS.names)).to_pylist()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalogue(tmp_path_factory.mktemp("branches") / "catalogue", RECORDS)


def configure(manifest: Path, output: Path, **more: Any) -> dict[str, Any]:
    given = settings(manifest, output, **(MODELS | more))
    return given | {"output": {"uri": str(output), **TOKENS}}


@pytest.fixture(scope="module")
def trunk(manifest: Path) -> str:
    return run(load_config(configure(manifest, manifest.parent.parent / "trunk"))).run


@pytest.fixture
def branch(manifest: Path, trunk: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The config of a run that begins each record after so many steps of the trunk's trajectory."""

    def make(steps: int, change: Callable[[dict[str, Any]], Any] = lambda row: None, **more: Any) -> Any:
        works = {row["record_id"]: row["work_id"] for row in rows_of(trunk)}
        lines = []
        for line in manifest.read_text().splitlines():
            row = json.loads(line)
            row |= {"branch": {"work_id": works[row["record_id"]], "steps": steps}}
            row["image"] = str(manifest.parent / row["image"])
            change(row)
            lines.append(json.dumps(row))
        (tmp_path / "states.jsonl").write_text("\n".join(lines))
        given = configure(tmp_path / "states.jsonl", tmp_path / "out", **more)
        given["input"] |= {"branches": trunk, "allow": [str(manifest.parent)]}
        return given

    return make


def test_a_branch_has_the_steps_of_its_trunk_and_then_its_own(
    branch: Callable[..., dict[str, Any]], trunk: str
) -> None:
    trunks = {row["record_id"]: row for row in rows_of(trunk)}
    done = run(load_config(branch(1, rollouts=2)))
    rows = rows_of(done.run)
    assert [row["rollout"] for row in rows] == [0, 1] * RECORDS
    for row in rows:
        was = trunks[row["record_id"]]
        assert row["branch"] == {"run": trunk, "work_id": was["work_id"], "steps": 1}
        assert (row["status"], row["num_steps"], row["source_digest"]) == ("ok", STEPS, was["source_digest"])
        before, after = row["steps"][0], row["steps"][1]
        paid = ("seconds", "cost")  # by the trunk's run
        assert {n: v for n, v in before.items() if n not in paid} == {
            n: v for n, v in was["steps"][0].items() if n not in paid
        }
        assert before["seconds"]["editor"] == 0
        assert after["before"] == before["after"] and after["seed"] != was["steps"][1]["seed"]
        assert [each["step"] for each in row["answers"]] == [0, 1, 2, 3]
        assert row["answers"][0] == was["answers"][0]
    assert len({row["steps"][1]["after"] for row in rows}) == 2 * RECORDS


def test_one_proposal_of_a_state_is_carried_out_with_one_step_more(
    branch: Callable[..., dict[str, Any]],
) -> None:
    done = run(load_config(branch(2, limits={"max_steps": 3}, policy=spoken(steps={"exact": {"*": 9}}))))
    for row in rows_of(done.run):
        assert (row["status"], row["stop_reason"], row["num_steps"]) == ("unfinished", "max_steps", 3)


@pytest.mark.parametrize("steps", [0, 2])
def test_new_steps_bound_what_comes_after_the_state(
    branch: Callable[..., dict[str, Any]], trunk: str, steps: int
) -> None:
    done = run(load_config(branch(steps, limits={"new_steps": 1, "max_steps": 1}, rollouts=2)))
    before = {row["record_id"]: [step["after"] for step in row["steps"]] for row in rows_of(trunk)}
    rows = rows_of(done.run)
    assert len(rows) == 2 * RECORDS
    for row in rows:
        assert (row["status"], row["stop_reason"]) == ("unfinished", "new_steps")
        assert (row["num_steps"], row["branch"]["steps"]) == (steps + 1, steps)
        assert [step["after"] for step in row["steps"][:steps]] == before[row["record_id"]][:steps]
        assert [answer["step"] for answer in row["answers"]] == list(range(steps + 1)), "not asked once more"


def test_states_have_names_of_work_of_their_own_and_are_no_part_of_the_catalogue(
    branch: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    from mira_batch import read_catalogue

    works = [
        {row["work_id"] for row in rows_of(run(load_config(branch(steps, run_id=f"b{steps}"))).run)}
        for steps in (1, 2)
    ]
    assert not works[0] & works[1]
    with pytest.raises(StoreError, match="branches"):
        read_catalogue(str(tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"select.*input\.branches"):
        load_config(branch(1), ["select.sample=1"])


def test_edits_are_laid_down_after_a_state_and_then_the_policy_goes_on_or_nobody(
    branch: Callable[..., dict[str, Any]], trunk: str
) -> None:
    """Of one record its whole trajectory anew, of one without its second step and no more, of one the end."""
    trunks = {row["record_id"]: row for row in rows_of(trunk)}
    made = {name: [step["instruction"] for step in row["steps"]] for name, row in trunks.items()}
    plans: dict[str, dict[str, Any]] = {
        "rec-00000": {"steps": 0, "edits": made["rec-00000"][:2]},
        "rec-00001": {"steps": 1, "edits": made["rec-00001"][2:], "stop": True},
        "rec-00002": {"steps": STEPS, "stop": True},
    }
    done = run(load_config(branch(1, lambda row: row["branch"].update(plans[row["record_id"]]))))
    rows = {row["record_id"]: row for row in rows_of(done.run)}
    again, dropped, end = rows.values()
    assert [step["instruction"] for step in again["steps"]] == made["rec-00000"]
    assert [bool(step["raw_answer"]) for step in again["steps"]] == [False, False, True]
    assert (again["status"], again["stop_reason"]) == ("ok", "policy_stop")
    assert {answer["step"] for answer in again["answers"]} == {2, 3}
    for row, steps in ((dropped, [0, 2]), (end, [0, 1, 2])):
        assert [step["instruction"] for step in row["steps"]] == [made[row["record_id"]][k] for k in steps]
        assert (row["status"], row["stop_reason"]) == ("unfinished", "laid_down")
    assert end["result_digest"] == trunks["rec-00002"]["result_digest"]
    assert dropped["steps"][1]["seed"] != trunks["rec-00001"]["steps"][2]["seed"]
    assert [answer["step"] for answer in dropped["answers"]] == [0]


@pytest.mark.faults
def test_a_branch_that_was_killed_goes_on_after_its_own_steps(
    branch: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    given = branch(1, editor=deadly({"rec-00001/2": "kill"}, once=tmp_path))
    (tmp_path / "c.json").write_text(json.dumps(given))
    done = [call("run", "--config", tmp_path / "c.json", "--json", folder=ROOT) for _ in range(2)]
    assert [each.returncode for each in done] == [-signal.SIGKILL, 0]
    killed = {row["record_id"]: row for row in rows_of(json.loads(done[1].stdout)["run"])}
    given["output"]["uri"] = str(tmp_path / "whole")  # by now nothing kills
    whole = {row["record_id"]: row for row in rows_of(run(load_config(given)).run)}
    for name, row in killed.items():
        assert row["result_digest"] == whole[name]["result_digest"]
        assert [step["after"] for step in row["steps"]] == [step["after"] for step in whole[name]["steps"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"branch": {"work_id": "0" * 32, "steps": 1}}, "no such trajectory"),
        ({"image": "other"}, "another image"),
        ({"steps": STEPS + 1}, f"has {STEPS} steps"),
    ],
)
def test_a_state_that_cannot_be_had_fails_its_record_and_says_why(
    branch: Callable[..., dict[str, Any]], manifest: Path, change: dict[str, Any], words: str
) -> None:
    def spoil(row: dict[str, Any]) -> None:
        if row["record_id"] == "rec-00001":
            row["branch"] |= change.get("branch", {"steps": change.get("steps", 1)})
            if "image" in change:
                row["image"] = str(
                    manifest.parent / json.loads(manifest.read_text().splitlines()[0])["image"]
                )

    rows = rows_of(run(load_config(branch(1, spoil))).run)
    failed = [row for row in rows if row["status"] == "failed"]
    assert [row["record_id"] for row in failed] == ["rec-00001"]
    assert failed[0]["error_kind"] == "state_unusable" and words in failed[0]["error_message"]
    assert failed[0]["image"] is not None and failed[0]["num_steps"] == 0


def test_images_with_loss_are_no_states(
    branch: Callable[..., dict[str, Any]], manifest: Path, tmp_path: Path
) -> None:
    given = configure(manifest, tmp_path / "lossy")
    given["output"] |= {"format": "jpeg"}
    lossy = run(load_config(given)).run
    works = {row["record_id"]: row["work_id"] for row in read_outputs(lossy).to_pylist()}
    again = branch(1, lambda row: row["branch"].update(work_id=works[row["record_id"]]))
    again["input"]["branches"] = lossy
    rows = rows_of(run(load_config(again)).run)
    assert {row["error_kind"] for row in rows} == {"state_unusable"}
    assert all("not without loss" in row["error_message"] for row in rows)


def test_rows_without_a_state_are_rejects_and_a_run_must_be_there(
    branch: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    done = run(load_config(branch(1, lambda row: row["record_id"].endswith("1") and row.pop("branch"))))
    (reject,) = read_rejects(open_store(done.run, StorageConfig()))
    assert (reject["record_id"], reject["field"]) == ("rec-00001", "branch")
    assert done.committed == RECORDS - 1
    given = branch(1, run_id="nowhere")
    given["input"]["branches"] = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="nowhere"):
        run(load_config(given))
    given["input"]["columns"] = {"metadata": ["sku"]}
    with pytest.raises(ConfigError, match=r"columns\.metadata"):
        load_config(given)
