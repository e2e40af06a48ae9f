"""A training whose process is killed goes on from its newest checkpoint, and ends with the same bytes."""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path

import pytest

from mira_batch.config.shared import StorageConfig
from mira_batch.config.train import SftConfig
from mira_batch.core.stop_request import StopRequest
from mira_batch.storage.stores import open_store
from mira_batch.train.checkpoints import list_whole
from mira_batch.train.run import train
from tests.support.runs.trainings import read_learned, read_metrics, settings_of, start_training, train_here
from tests.support.samples import write_samples

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("one_thread")]
KILLS = 1


@pytest.mark.soak
@pytest.mark.slow
def test_killed_at_random_it_ends_with_the_same_bytes(tiny_models: Path, tmp_path: Path) -> None:
    data = write_samples(tmp_path / "data")
    model, steps = tiny_models / "qwen2.5-vl", 16
    calm, disturbed = (
        settings_of(model, data, tmp_path / name, max_steps=steps, accumulate=2)
        for name in ("calm", "disturbed")
    )
    train_here(calm)

    draw, newest = random.Random(), 0
    store = open_store(str(tmp_path / "disturbed"), StorageConfig())
    for kill in range(KILLS):
        process = start_training(disturbed, tmp_path / f"{kill}.yaml")
        try:
            while newest >= (max(list_whole(store), default=0)):
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            time.sleep(draw.uniform(0, 0.8))
        finally:
            process.send_signal(signal.SIGKILL)
            told = process.communicate()[1]
        newest = list_whole(store)[0]
        assert "step 2 of 16: loss " in told and "checkpoint at step 2\n" in told
        assert not (tmp_path / "disturbed" / "result.json").exists(), "it was over before it was killed"
    notes: list[str] = []
    train_here(disturbed, notes)
    assert f"40 samples, {steps} steps of 4; going on after step {newest}" in notes
    assert read_learned(tmp_path / "disturbed") == read_learned(tmp_path / "calm")
    assert read_metrics(tmp_path / "disturbed") == read_metrics(tmp_path / "calm")


def test_cut_off_between_any_two_things_it_keeps_it_ends_with_the_same_bytes(
    tiny_models: Path, tmp_path: Path
) -> None:
    """Each word that it says is a place to cut: after a measurement, a line, a checkpoint, the end."""

    class CutOff(BaseException):
        """As a kill, without the time that a process takes to start."""

    data = write_samples(tmp_path / "data", train=16)
    model = tiny_models / "qwen2.5-vl"
    calm, cut = (settings_of(model, data, tmp_path / name, max_steps=3) for name in ("calm", "cut"))
    said: list[str] = []
    train_here(calm, said)

    class Cutting(list[str]):
        def append(self, text: str) -> None:
            place = re.sub(r"[\d.,]+ samples/s, .* left", "", text)  # the rest says where it is
            super().append(place)
            if self.count(place) == 1:  # the first time that it is said
                raise CutOff

    notes = Cutting()
    for _ in range(3 * len(said)):
        try:
            train_here(cut, notes)
        except CutOff:
            continue
        break
    assert (tmp_path / "cut" / "result.json").exists()
    assert any("going on after step 3" in text for text in notes), "never cut between its end and its result"
    assert read_learned(tmp_path / "cut") == read_learned(tmp_path / "calm")
    assert read_metrics(tmp_path / "cut") == read_metrics(tmp_path / "calm")


def test_a_signal_ends_it_between_two_steps_with_a_checkpoint(tiny_models: Path, tmp_path: Path) -> None:
    data = write_samples(tmp_path / "data", train=16)
    model, every = tiny_models / "qwen2.5-vl", {"every": 100}
    calm, stopped = (
        settings_of(
            model, data, tmp_path / name, max_steps=4, validation=None, checkpoints=every, log_every=1
        )
        for name in ("calm", "stopped")
    )
    train_here(calm)
    stop, notes = StopRequest(), list[str]()

    def note(text: str) -> None:
        notes.append(text)
        if text.startswith("step 2 of 4: "):
            assert stop.heeded
            stop.interrupt("SIGINT received")

    with pytest.raises(KeyboardInterrupt, match="SIGINT received"):
        train(SftConfig.model_validate(stopped), note, stop)
    assert list_whole(open_store(str(tmp_path / "stopped"), StorageConfig())) == [3]
    assert not stop.heeded and not (tmp_path / "stopped" / "result.json").exists()
    train_here(stopped)
    assert read_learned(tmp_path / "stopped") == read_learned(tmp_path / "calm")


def test_all_weights_go_on_too(tiny_models: Path, tmp_path: Path) -> None:
    class CutOff(BaseException):
        """As a kill."""

    class Cutting(list[str]):
        def append(self, text: str) -> None:
            if text == "checkpoint at step 2" and text not in self:
                super().append(text)
                raise CutOff
            super().append(text)

    data = write_samples(tmp_path / "data", train=8)
    full = {
        "tuning": {"type": "full"},
        "optimizer": {"learning_rate": 1e-3},
        "max_steps": 3,
        "validation": None,
    }
    calm, cut = (
        settings_of(tiny_models / "qwen2.5-vl", data, tmp_path / name, **full) for name in ("calm", "cut")
    )
    train_here(calm)
    notes = Cutting()
    with pytest.raises(CutOff):
        train_here(cut, notes)
    train_here(cut, notes)
    assert "8 samples, 3 steps of 2; going on after step 2" in notes
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("calm", "cut")]
    assert models[0] == models[1]
