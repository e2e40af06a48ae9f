"""What a turn is given that nobody meant: it says so before it trains, and what it names is what helps."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.load import load_own_config
from mira_batch.core.errors import ConfigError, RunConflict, StoreError
from mira_batch.train.flywheel.lineage import trace
from mira_batch.train.flywheel.promote import promote_anew
from mira_batch.train.flywheel.run import abandon, turn
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.tasks import generate_tasks
from tests.support.models import taught
from tests.support.runs.wheel import show_night, wheel_settings


class Cut(BaseException):
    """A killed process."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Path]:
    """What turns are given: a base model, a catalogue, and held-out records."""
    folder = tmp_path_factory.mktemp("astray")
    taught.write_taught(folder / "base")
    write_manifest(folder / "train.parquet", generate_tasks("train", 4))
    write_manifest(folder / "heldout.parquet", generate_tasks("val", 7))
    write_manifest(folder / "more.parquet", generate_tasks("val", 8))
    write_manifest(folder / "few.parquet", generate_tasks("val", 2))
    show_night(str(folder / "train.parquet"), str(folder / "nights"))
    yield folder


def configure(world: Path, own: Path, **changes: Any) -> FlywheelConfig:
    """A flywheel with a place of its own, whose held-out manifest may be replaced."""
    if not (own / "heldout.parquet").exists():
        shutil.copy(world / "heldout.parquet", own)
    given = wheel_settings(
        world, output={"uri": str(own / "wheel")}, promoted=str(own / "promoted"), **changes
    )
    given["edit"] = given["edit"] | {"input": {"manifest": str(own / "heldout.parquet")}}
    return load_own_config(FlywheelConfig, given)


def cut_at(config: FlywheelConfig, words: str) -> None:
    def note(text: str) -> None:
        if text.startswith(words):
            raise Cut(text)

    with pytest.raises(Cut):
        turn(config, note)


def has_trained(own: Path, number: int = 1) -> bool:
    return (own / f"wheel/turns/{number:06d}/trained").exists()


def test_two_held_out_records_are_too_few_and_more_are_taken_by_the_same_turn(
    world: Path, tmp_path: Path
) -> None:
    shutil.copy(world / "few.parquet", tmp_path / "heldout.parquet")
    config = configure(world, tmp_path)
    with pytest.raises(ConfigError, match="edit.input.manifest: 2 original images .* 6 at least"):
        turn(config, print)
    assert not has_trained(tmp_path)
    shutil.copy(world / "heldout.parquet", tmp_path / "heldout.parquet")
    found = turn(config, print)
    assert (found["turn"], found["outcome"]) == (1, "promoted")


def test_a_judge_that_scores_nothing_is_told_before_the_training(world: Path, tmp_path: Path) -> None:
    hush = tmp_path / "hush"
    hush.touch()
    factory = "tests.support.models.speechless:make_speechless"
    judge = {"type": "custom", "factory": factory, "options": {"hush": str(hush)}}
    judging = wheel_settings(world)["evaluate"] | {"judge": judge}
    config = configure(world, tmp_path, evaluate=judging)
    with pytest.raises(ConfigError, match=r"none of the 7 results .*judge_failed 7; .*no verdict") as told:
        turn(config, print)
    assert not has_trained(tmp_path)
    hush.unlink()
    with pytest.raises(ConfigError, match="none of the 7 results"):
        turn(config, print)  # that evaluation is done
    named = re.search(r"delete (\S+), and", str(told.value))
    assert named is not None
    shutil.rmtree(named[1])
    found = turn(config, print)
    assert (found["turn"], found["outcome"]) == (1, "promoted")


def test_a_held_out_manifest_that_changes_under_a_turn_is_told_before_the_training(
    world: Path, tmp_path: Path
) -> None:
    config = configure(world, tmp_path)
    cut_at(config, "the candidate is trained")
    shutil.copy(world / "more.parquet", tmp_path / "heldout.parquet")
    with pytest.raises(
        RunConflict, match="has changed since the current policy was tried on it; .*--abandon"
    ):
        turn(config, print)
    assert not has_trained(tmp_path)


def test_other_held_out_records_are_something_new(world: Path, tmp_path: Path) -> None:
    """As somebody gives whose candidate could not show enough on those of before."""
    config = configure(world, tmp_path, gate=["overall>=1"])
    assert turn(config, print)["outcome"] == "not promoted"
    assert turn(config, print)["outcome"] == "nothing new"
    shutil.copy(world / "more.parquet", tmp_path / "heldout.parquet")
    found = turn(config, print)
    assert (found["turn"], found["outcome"]) == (3, "not promoted")
    comparison = json.loads((tmp_path / "wheel/turns/000003/comparison.json").read_text())
    assert comparison["figures"]["paired"] == 8


def test_a_damaged_promotion_that_came_between_is_overtaken_as_its_message_says(
    world: Path, tmp_path: Path
) -> None:
    config = configure(world, tmp_path)
    assert turn(config, print)["promotion"] == 1
    again = configure(world, tmp_path, max_unscored=0.5)
    cut_at(again, "gate overall")
    (tmp_path / "promoted/000002.json").write_text("{")
    with pytest.raises(StoreError, match=r"000002.json: is damaged .*mira-batch promote \S+ --to N"):
        turn(again, print)
    assert promote_anew(str(tmp_path / "promoted"), 1, "", config.storage).number == 3
    found = turn(again, print)
    assert found["outcome"] == "not promoted" and "promotion 3 has come in between" in found["why"]


def test_an_adapter_that_is_gone_is_named_with_what_wants_it(world: Path, tmp_path: Path) -> None:
    config = configure(world, tmp_path)
    cut_at(config, "held-out records: the candidate")
    adapter = tmp_path / "wheel/turns/000001/trained/adapter"
    adapter.rename(tmp_path / "away")
    with pytest.raises(
        ConfigError, match=rf"^{adapter}: no such directory.* This turn tries it: .*--abandon"
    ):
        turn(config, print)
    (tmp_path / "away").rename(adapter)
    assert turn(config, print)["outcome"] == "promoted"
    shutil.rmtree(adapter.parent)
    with pytest.raises(
        ConfigError, match=rf"^{adapter}: no such .*promoted as number 1; restore it, or prom"
    ):
        turn(config, print)
    with pytest.raises(ConfigError, match=r"promotion 1 is of .*, where no training .* lies .*; restore it"):
        trace(str(tmp_path / "promoted"), config.storage)


def test_notes_that_are_lost_or_damaged_are_told_and_cured(world: Path, tmp_path: Path) -> None:
    config, own = configure(world, tmp_path), tmp_path / "wheel/turns/000001"
    cut_at(config, "gate overall")
    (own / "current.json").write_text("{}")
    with pytest.raises(
        StoreError, match="current.json: is damaged .*delete it: the same command notes it ag"
    ):
        turn(config, print)
    (own / "current.json").unlink()
    assert turn(config, print)["outcome"] == "promoted"
    (own / "trained.json").unlink()  # then nobody knows whether it is current
    assert turn(config, print)["outcome"] == "promoted"
    begun = tmp_path / "wheel/turns/000003/turn.json"
    cut_at(configure(world, tmp_path, min_samples=2), "samples are made")
    begun.write_text("{")
    with pytest.raises(
        StoreError,
        match="turn.json: is damaged .*where this turn is open end it with `mira-batch flywheel --ab",
    ):
        turn(config, print)
    assert abandon(config, "its note is damaged")["turn"] == 3
    assert turn(config, print)["outcome"] == "nothing new"


def test_too_few_samples_say_what_became_of_the_others(world: Path, tmp_path: Path) -> None:
    found = turn(configure(world, tmp_path, undecided="leave_out"), print)
    assert found["outcome"] == "too few samples"
    assert found["why"].startswith(
        "0 samples to train on, and min_samples is 1; results that are in no sample: "
    )
    assert found["why"].endswith("in no sample: not_approved 4")
