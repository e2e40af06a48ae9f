"""An editor goes on with an adapter that was learned before, and what its validations say: inline, with a
tiny FluxKontextPipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from safetensors.torch import load_file, save_file

from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.load import load_own_config
from mira_batch.core.errors import ConfigError, UserError
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import Weights
from mira_batch.storage.stores import open_store
from mira_batch.train.iterations import Course
from mira_batch.train.nft.learner import NftLearner
from mira_batch.train.nft.record import WEIGHTS
from mira_batch.train.nft.update import find_taught, update_editor
from mira_batch.train.nft.validation import validate
from tests.support.runs.nft import JUDGE, nft_settings, teach, write_records
from tests.support.runs.updates import read_update, update_again

pytestmark = pytest.mark.usefixtures("one_thread")
KONTEXT = "FluxKontextPipeline"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds records, and others that are held out."""
    folder = tmp_path_factory.mktemp("nft")
    write_records(folder / "train", 4)
    write_records(folder / "val", 2, seed=1)
    return folder


def test_an_adapter_is_gone_on_with(folders: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    """As it is: it makes the first samples, learns, and is what the model may not drift away from."""
    import torch

    given = nft_settings(
        folders[KONTEXT], folder / "train" / "records.jsonl", tmp_path / "begun", iterations=1
    )
    teach(given)
    begun = tmp_path / "begun" / "lora"
    settings = {**given, "adapter": str(begun), "output": {"uri": str(tmp_path / "on")}}
    del settings["tuning"]
    teach(settings)
    files = tmp_path / "on" / "iterations" / "000000"
    about = json.loads((files / "samples" / "run" / "run.json").read_text())
    assert [lora["weights"] for lora in about["config"]["editor"]["loras"]] == [str(begun)]
    assert "adapter=" in json.loads((tmp_path / "on" / "base.json").read_text())["identity"]
    line = json.loads((tmp_path / "on" / "metrics.jsonl").read_text())
    assert line["used"] == line["samples"] and line["drift"] > 0
    before, after = (load_file(folder / WEIGHTS) for folder in (begun, tmp_path / "on" / "lora"))
    assert before.keys() == after.keys()
    apart = max(float((before[name] - after[name]).abs().max()) for name in before)
    assert 0 < apart < max(float(part.abs().max()) for part in before.values())
    config = load_own_config(EditorNftConfig, settings)
    weights, flow, adapter = find_taught(config)
    learner = NftLearner(config, weights, flow, torch.device("cpu"), None, adapter)
    own = dict(learner.module.transformer.named_parameters())
    for name, part in own.items():
        if ".default." in name:
            assert part.requires_grad
            assert all(
                torch.equal(part, own[name.replace(".default.", f".{o}.")]) for o in ("sampling", "begun")
            )
    parts = {f"transformer.{name}": part for name, part in learner.average.items()}
    assert parts.keys() == before.keys() and all(torch.equal(parts[name], before[name]) for name in before)
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match=r"holds no model files"):
        teach({**settings, "adapter": str(tmp_path / "none"), "output": {"uri": str(tmp_path / "x")}})
    save_file({"unet.a.lora_A.weight": torch.zeros(1, 1)}, tmp_path / "none" / WEIGHTS)
    with pytest.raises(ConfigError, match=r"adapter: nothing in .* fits this transformer"):
        NftLearner(config, weights, flow, torch.device("cpu"), None, Weights(str(tmp_path / "none"), "x"))


@pytest.mark.slow
@pytest.mark.soak
def test_an_update_by_two_workers_is_that_of_one(
    folders: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    """All of it, in steps of three samples of two sizes: weights, AdamW's means, figures."""
    import torch

    settings = nft_settings(
        folders[KONTEXT],
        folder / "train" / "records.jsonl",
        tmp_path / "out",
        iterations=1,
        rollouts=3,
        minibatch=4,
        loss={"clip": 1.0, "drift_weight": 0.1},
        optimizer={"learning_rate": 1e-4, "max_grad_norm": 0.05},
    )
    teach(settings)
    again = update_again(update_editor, tmp_path / "out", tmp_path / "two", settings | {"batch": 1}, 2)
    files = (tmp_path / "out" / "iterations" / again.name, again)
    one, two = map(read_update, files)
    assert {name.partition("/")[0] for name in one} >= {"trained", "sampling", "lora"}
    for name, part in one.items():
        torch.testing.assert_close(two[name], part, rtol=0, atol=1e-6)
    alone, together = (json.loads((each / "update.json").read_text()) for each in files)
    assert alone["steps"] == 6 and alone["drift"] > 0 and alone["grad_norm"] > 0.05
    for name in alone.keys() - {"seconds"}:
        assert together[name] == pytest.approx(alone[name], rel=1e-4)


def test_a_validation_says_of_how_many_it_is_and_one_of_too_few_is_none(
    folders: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    settings = nft_settings(
        folders[KONTEXT],
        folder / "train" / "records.jsonl",
        tmp_path / "out",
        validation={"input": {"manifest": str(folder / "val" / "records.jsonl")}, "steps": 2},
    )
    notes: list[str] = []

    def look(most: float) -> dict[str, Any]:
        rewards = {"judge": JUDGE | {"options": {"fails_for": "r0"}}, "max_left_out": most}
        config = load_own_config(EditorNftConfig, settings | {"rewards": rewards})
        store = open_store(config.output.uri, config.storage)
        return validate(Course(config, store, cast(Any, None), StopRequest(), notes.append), 0)

    with pytest.raises(
        UserError,
        match=r"1 of 2 held-out records have no reward score \(judge_failed 1\).*max_left_out is 0\.4"
        r".*validation/000000 for what failed.*makes it anew",
    ):
        look(0.4)
    figures = look(0.5)
    assert (figures["records"], figures["rejected"], figures["reward_judged"]) == (2, 0, 1)
    assert figures["reward_left_out"] == {"judge_failed": 1} and figures["score"] == figures["reward_mean"]
    assert notes[-1].endswith(f"reward {figures['score']:.4f} of 1 of 2 records")
    assert look(0.4) == figures  # it is there


@pytest.mark.soak
@pytest.mark.parametrize("name", ["Flux2KleinPipeline", "QwenImageEditPipeline", "QwenImageEditPlusPipeline"])
def test_other_families_learn_too(folders: dict[str, Path], folder: Path, tmp_path: Path, name: str) -> None:
    """And the edit job loads what they learned."""
    settings = nft_settings(
        folders[name],
        folder / "train" / "records.jsonl",
        tmp_path / "out",
        iterations=1,
        force=True,  # the small Klein says that it was distilled
        validation={"input": {"manifest": str(folder / "val" / "records.jsonl")}, "every": 1, "steps": 2},
    )
    teach(settings)
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    (line,) = (line for line in lines if line["of"] == "iteration")
    assert line["used"] == line["samples"] and line["sight"] > 0 and line["loss"] > 0
    before, after = (line for line in lines if line["of"] == "validation")
    assert after["reward_mean"] != before["reward_mean"]  # the adapter does something to images
    assert after["reward_judged"] == after["records"] == 2
