"""Turns of the flywheel in the synthetic world: a real catalogue, decisions, trainings of a real Qwen2.5-VL,
runs on held-out records, evaluations and promotions; a turn that is cut between any two stages; runs that
take what is promoted.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mira_batch import launch, read_outputs
from mira_batch.cli import main
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict, RunStopped, UserError
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import RunEnd
from mira_batch.storage.promotions import read_promotion
from mira_batch.storage.run.layout import read_run
from mira_batch.storage.stores import open_store
from mira_batch.train.flywheel.checks import check_apart
from mira_batch.train.flywheel.lineage import trace
from mira_batch.train.flywheel.promote import promote_adapter, promote_anew
from mira_batch.train.flywheel.run import abandon, look, turn
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.tasks import generate_tasks
from tests.support.models import taught
from tests.support.runs.wheel import configure, night, show_night, wheel_settings


def read_note(folder: Path, number: int, name: str) -> dict[str, Any]:
    return json.loads((folder / f"wheel/turns/{number:06d}/{name}.json").read_text())


def read_adapter(folder: Path, number: int) -> bytes:
    path = folder / f"wheel/turns/{number:06d}/trained/adapter/adapter_model.safetensors"
    return path.read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Path]:
    """A catalogue of the expert's, of which a person has rejected a result; and one turn, which promoted."""
    folder = tmp_path_factory.mktemp("flywheel")
    taught.write_taught(folder / "base")
    write_manifest(folder / "train.parquet", generate_tasks("train", 8))
    write_manifest(folder / "heldout.parquet", generate_tasks("val", 7))
    show_night(str(folder / "train.parquet"), str(folder / "nights"))
    rows = read_outputs(str(folder / "nights/night"), ["record_id", "work_id", "result_digest"]).to_pylist()
    lines = [
        rows[0] | {"decision": "reject", "reason": "colour", "by": "ada"},
        rows[1] | {"decision": "approve", "by": "ada"},
    ]
    (folder / "decisions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["decide", str(folder / "nights/night"), str(folder / "decisions.jsonl")]) == 0
    assert turn(configure(folder), print)["outcome"] == "promoted"
    yield folder


def test_a_turn_that_promotes(folder: Path) -> None:
    promotion = read_promotion(open_store(str(folder / "promoted"), configure(folder).storage))
    assert promotion is not None and promotion.number == 1
    assert promotion.adapter == str(folder / "wheel/turns/000001/trained/adapter")
    assert promotion.base == str(folder / "base") and promotion.prompt["form"] == "short"
    begun, result = read_note(folder, 1, "turn"), read_note(folder, 1, "result")
    assert begun["current"] == {"promotion": 0, "adapter": None}  # the base model
    assert result["promotion"] == 1 and promotion.why == f"turn 1: {result['why']}"
    data, comparison = read_note(folder, 1, "data"), read_note(folder, 1, "comparison")
    assert (
        promotion.evidence["data"]["snapshot"]
        == data["snapshot"]
        == json.loads((folder / "wheel/turns/000001/data/card.json").read_text())["snapshot"]
    )
    assert promotion.evidence["comparison"]["checks"] == comparison["checks"]
    assert [check["passed"] for check in comparison["checks"]] == [True, True]
    assert comparison["figures"]["paired"] == 7
    tried = [read_note(folder, 1, name) for name in ("current", "candidate")]
    assert all(each["ok"] + each["unfinished"] + each["failed"] == each["records"] == 7 for each in tried)
    assert tried[0]["run"] != tried[1]["run"] and tried[0]["manifest"] == tried[1]["manifest"]


def test_what_people_rejected_is_in_no_sample_and_each_model_is_traced(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = read_outputs(str(folder / "nights/night"), ["record_id"]).to_pylist()
    rejected, *kept = [row["record_id"] for row in rows]
    assert read_note(folder, 1, "data")["dropped"] == {"rejected": 1}
    found = trace(str(folder / "promoted"), configure(folder).storage)
    assert {row["record_id"] for row in found["records"]} == set(kept) and rejected not in kept
    assert {row["run"] for row in found["records"]} == {"night"}
    assert sum(row["samples"] for row in found["records"]) == read_note(folder, 1, "data")["train"]
    assert found["promotion"]["number"] == 1 and found["began_with"] is None
    training = str(folder / "wheel/turns/000001/trained")
    assert (
        found["training"] == training == trace(f"{training}/adapter", configure(folder).storage)["training"]
    )
    capfd.readouterr()
    assert main(["lineage", training]) == 0
    assert f"night: {len(kept)} records" in capfd.readouterr().out
    for turn_of_it in (training.removesuffix("/trained"), f"{training.removesuffix('/trained')}/data"):
        with pytest.raises(ConfigError, match="is not the adapter of a training .* a place of promotions"):
            trace(turn_of_it, configure(folder).storage)
    assert main(["lineage", str(folder), "--json"]) == 2
    assert "is not the adapter of a training that is complete" in json.loads(capfd.readouterr().out)["error"]


def test_a_turn_with_nothing_new_trains_nothing(folder: Path, tmp_path: Path) -> None:
    found = turn(configure(folder), print)
    assert found["outcome"] == "nothing new" and found["why"].endswith("are those of turn 1")
    assert not (folder / f"wheel/turns/{found['turn']:06d}/trained").exists()
    few = turn(configure(folder, min_samples=1_000), print)
    assert few["outcome"] == "too few samples" and "min_samples is 1,000" in few["why"]


def test_a_promotion_that_was_made_is_found_again(folder: Path) -> None:
    """The call was killed after it had promoted, and before it had said so."""
    for later in sorted((folder / "wheel/turns").iterdir())[1:]:  # then none had begun
        (later / "turn.json").rename(folder / f"{later.name}.json")
    result = folder / "wheel/turns/000001/result.json"
    was = json.loads(result.read_text())
    result.unlink()
    again = turn(configure(folder), print)
    assert {**again, "ended": ""} == {**was, "ended": ""}
    assert [path.name for path in (folder / "promoted").iterdir()] == ["000001.json"]
    for later in sorted((folder / "wheel/turns").iterdir())[1:]:
        (folder / f"{later.name}.json").rename(later / "turn.json")


class Cut(BaseException):
    """A killed process."""


def test_a_turn_that_is_cut_between_any_two_stages_and_fails_its_gate(folder: Path) -> None:
    config = configure(folder, gate=["overall>=1"])
    cuts = ["samples are made", "held-out records: the current", "the candidate is trained",
            "held-out records: the candidate", "gate overall"]  # fmt: skip
    heldout = {path.name for path in (folder / "wheel/heldout").iterdir()}
    for cut in cuts:

        def note(text: str, cut: str = cut) -> None:
            if text.startswith(cut):
                raise Cut(text)

        with pytest.raises(Cut):
            turn(config, note)
        assert look(config)["turns"][-1]["result"] is None
    with pytest.raises(RunConflict, match=r"(?s)train.batch: was 4, now 2.*--abandon"):
        other = wheel_settings(folder, gate=["overall>=1"])
        turn(load_own_config(FlywheelConfig, other | {"train": other["train"] | {"batch": 2}}), print)
    found = turn(config, print)
    number = found["turn"]
    assert found["outcome"] == "not promoted" and found["why"].startswith("gate overall>=1: not passed")
    assert read_adapter(folder, number) == read_adapter(folder, 1)  # as if nothing had disturbed it
    assert read_note(folder, number, "data")["snapshot"] == read_note(folder, 1, "data")["snapshot"]
    assert read_note(folder, number, "turn")["current"]["promotion"] == 1
    overall, *_ = read_note(folder, number, "comparison")["figures"]["scores"]
    assert overall["a"] == overall["b"]  # the same weights, found at two places
    new = {path.name for path in (folder / "wheel/heldout").iterdir()} - heldout
    assert len(new) == 1  # the current policy had been tried as a candidate
    assert [path.name for path in (folder / "promoted").iterdir()] == ["000001.json"]


def test_a_typo_in_a_source_is_mended_in_the_config_alone(folder: Path) -> None:
    right = wheel_settings(folder, output={"uri": str(folder / "typo")})
    wrong = copy.deepcopy(right)
    wrong["samples"]["sources"][0]["uri"] += "-typo"
    with pytest.raises(UserError, match="-typo"):
        turn(load_own_config(FlywheelConfig, wrong), print)

    def note(text: str) -> None:
        if text.startswith("samples are made"):
            raise Cut(text)

    with pytest.raises(Cut):
        turn(load_own_config(FlywheelConfig, right), note)
    outcomes = [each["result"] for each in look(load_own_config(FlywheelConfig, right))["turns"]]
    assert outcomes[0]["outcome"] == "abandoned" and outcomes[1:] == [None]


def test_an_open_turn_is_shown_and_may_be_ended(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = folder / "other.json"
    file.write_text(json.dumps(wheel_settings(folder, output={"uri": str(folder / "other")})))
    config = load_own_config(FlywheelConfig, file)

    def note(text: str) -> None:
        if text.startswith("held-out records"):
            raise Cut(text)

    with pytest.raises(Cut):
        turn(config, note)
    assert main(["flywheel", "--config", str(file), "--status"]) == 0
    said = capfd.readouterr().out
    assert "turn 1: open; the current policy is to be tried" in said and "current: promotion 1 of" in said
    assert main(["flywheel", "--config", str(file), "--abandon", "another judge", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["outcome"] == "abandoned"
    with pytest.raises(RunConflict, match="no turn is open"):
        abandon(config, "once more")


def test_held_out_images_in_the_samples_are_refused(folder: Path) -> None:
    """Here those of the training tasks are held out, too."""
    samples = str(folder / "wheel/turns/000001/data")
    taken = pq.read_table(next(Path(samples, "samples").glob("train-*.parquet"))).num_rows
    with pytest.raises(ConfigError, match=rf"7 of its 8 images are in {taken} samples, .*--abandon WHY"):
        check_apart(configure(folder), str(folder / "nights/night"), samples)


def test_a_gate_that_names_no_figure_is_refused_before_a_training(folder: Path) -> None:
    with pytest.raises(ConfigError, match="gate: 'overall': give a name"):
        turn(configure(folder, gate=["overall"]), print)
    with pytest.raises(ConfigError, match="a turn compares scores, and no pairs"):
        turn(configure(folder, gate=["pairwise>=0.5"]), print)
    config = configure(folder, gate=["overal>=0"])
    with pytest.raises(ConfigError, match="there is no figure 'overal'; there are overall, "):
        turn(config, print)
    ended = abandon(config, "a wrong name")
    assert not (folder / f"wheel/turns/{ended['turn']:06d}/trained").exists()


class StopAtFirst(Progress):
    """Asks for the end once a record is committed."""

    def __init__(self) -> None:
        self.stop = StopRequest()

    def committed(self, summary: RunSummary) -> None:
        self.stop.ask(RunEnd.interrupted, "by the test")


def read_taken(run: str) -> tuple[int, str]:
    adapter = read_run(open_store(run, StorageConfig()))["config"]["policy"]["adapter"]
    return adapter["promotion"], adapter["weights"]


def test_a_run_takes_what_is_promoted_and_keeps_it(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place, storage = str(folder / "promoted"), configure(folder).storage
    watch = StopAtFirst()
    with pytest.raises(RunStopped) as stopped:
        launch.run(night(folder), watch, watch.stop)
    first = stopped.value.summary
    assert 0 < first.committed < first.planned == 3
    own = shutil.copytree(folder / "wheel/turns/000001/trained", folder / "by-hand")
    assert promote_adapter(place, str(own), "by hand", storage).number == 2
    done = launch.run(night(folder))  # the same command goes on with what it began with
    assert done.run == first.run and done.committed == 3
    assert read_taken(done.run) == (1, str(folder / "wheel/turns/000001/trained/adapter"))
    second = launch.run(night(folder))
    assert second.run != first.run and second.committed == 3
    assert read_taken(second.run) == (2, f"{own}/adapter")
    assert promote_anew(place, 1, "as it was", storage).number == 3
    back = launch.run(night(folder))  # what the first adapter made still holds
    assert back.run == "" or read_taken(back.run)[1] == f"{folder}/wheel/turns/000001/trained/adapter"
    assert back.committed in (0, 3) and back.planned in (0, 3)
    file = folder / "night.json"
    file.write_text(night(folder).model_dump_json())
    capfd.readouterr()
    record = read_outputs(first.run, ["record_id"]).to_pylist()[0]["record_id"]
    assert main(["explain", record, "--config", str(file), "--json"]) == 0
    history = json.loads(capfd.readouterr().out)["history"]
    assert {each["promotion"] for each in history} == {1, 2}


def test_a_run_with_a_name_of_its_own_keeps_its_adapter_for_good(folder: Path) -> None:
    config = night(folder, run_id="mine", first=1, output={"uri": str(folder / "own")})
    done = launch.run(config)
    number, _ = read_taken(done.run)
    promote_anew(str(folder / "promoted"), 1, "once more", config.storage)
    assert launch.run(config).run == done.run and read_taken(done.run)[0] == number
    last = max((folder / "wheel/turns").glob("*/candidate.json")).parent
    gate = json.loads((last / "turn.json").read_text())["settings"]["gate"]
    again = turn(configure(folder, gate=gate), print)
    assert again["outcome"] == "nothing new"  # that turn compared with this very adapter, or made it


def test_what_can_not_be_taken_is_refused(folder: Path) -> None:
    nowhere = str(folder / "nowhere")
    policy = night(folder).policy.model_dump(mode="json")
    with pytest.raises(ConfigError, match="there is no such directory; check the name, or promote"):
        launch.run(night(folder, policy=policy | {"adapter": {"promoted": nowhere}}))
    with pytest.raises(ConfigError, match='policy.prompt.form: is "full"'):
        launch.run(night(folder, policy=policy | {"prompt": {"form": "full"}}))
    with pytest.raises(ConfigError, match="set run_id, or name the adapter"):
        launch.run(night(folder, rollouts=2, first=None))
