"""Teaching an editor by pairs, inline, with tiny pipelines of the real classes."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.models.base import AdapterConfig
from mira_batch.config.models.local import DiffusersConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict, UserError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import EditRequest
from mira_batch.core.types import Weights
from mira_batch.models.diffusion.editor import DiffusersEditor
from mira_batch.models.diffusion.flows import find_flow
from mira_batch.storage.stores import open_store
from mira_batch.train.checkpoints import fetch_newest
from mira_batch.train.editor.learner import load_learner
from mira_batch.train.flywheel.promote import read_training
from mira_batch.train.model import load_weights
from tests.support.pairs import write_pairs
from tests.support.runs.disturbed import CLI, until
from tests.support.runs.drivers import Begin
from tests.support.runs.trainings import (
    editor_settings_of,
    read_learned,
    read_metrics,
    train_editor_here,
)

pytestmark = pytest.mark.usefixtures("one_thread")
KONTEXT = "FluxKontextPipeline"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def learned(folders: dict[str, Path], pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a training that was not disturbed."""
    output = tmp_path_factory.mktemp("learned") / "sft"
    train_editor_here(editor_settings_of(folders[KONTEXT], pairs, output))
    return output


def test_mixed_precision_teaches_too(folders: dict[str, Path], pairs: Path, tmp_path: Path) -> None:
    """The weights of the default, bfloat16, beside inputs and an adapter in float32."""
    settings = editor_settings_of(
        folders[KONTEXT], pairs, tmp_path / "out", precision="bfloat16", max_steps=2
    )
    settings["editor"]["dtype"] = "bfloat16"
    assert train_editor_here(settings)["steps"] == 2
    (*_, metrics) = (line for line in read_metrics(tmp_path / "out") if "val_loss" in line)
    assert metrics["step"] == 2 and metrics["val_loss"] > 0


def load(weights: Path, lora: Path | None = None) -> DiffusersEditor:
    config = DiffusersConfig(
        type="diffusers",
        pipeline=f"diffusers.{KONTEXT}",
        weights=str(weights),
        dtype="float32",
        steps=2,
        area=64 * 64,
        loras=() if lora is None else (AdapterConfig(weights=str(lora)),),
    )
    loras = () if lora is None else (Weights(str(lora), "lora"),)
    return DiffusersEditor(config, Weights(str(weights), "base"), "cpu", loras)


def edit(editor: DiffusersEditor) -> np.ndarray:
    pixels = np.random.default_rng(5).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    image = frame_of(Image.fromarray(pixels))
    asked = EditRequest(record_id="r", step=0, instruction="make it red", image=image, original=image, seed=7)
    (found,) = editor.apply([asked])
    assert isinstance(found, Image.Image)
    return np.asarray(found).astype(int)


def test_what_is_learned_lowers_the_loss_of_held_out_images(learned: Path) -> None:
    metrics = read_metrics(learned)
    validated = [line["val_loss"] for line in metrics if "val_loss" in line]
    assert [line["step"] for line in metrics if "val_loss" in line] == [0, 3, 6]
    assert validated[-1] < validated[0]
    assert [line["step"] for line in metrics if "loss" in line] == [3, 6]
    assert all(line["sight"] > 0 for line in metrics if "sight" in line)


def test_the_editor_of_the_edit_job_gives_the_images_of_the_training(
    learned: Path, folders: dict[str, Path], pairs: Path, tmp_path: Path
) -> None:
    config = EditorSftConfig.model_validate(editor_settings_of(folders[KONTEXT], pairs, learned))
    flow = find_flow(KONTEXT, {})
    learner = load_learner(config, Weights(str(folders[KONTEXT]), ""), flow, torch.device("cpu"))
    assert fetch_newest(open_store(str(learned), StorageConfig()), tmp_path, print) is not None
    load_weights(learner, tmp_path / "learned.safetensors")
    trained, reloaded = load(folders[KONTEXT]), load(folders[KONTEXT], learned / "lora")
    plain = edit(trained)
    trained._pipe.transformer = learner.transformer.eval()
    wanted = edit(trained)
    assert np.abs(wanted - plain).max() > 2, "the adapter does nothing that could be seen"
    assert np.array_equal(edit(reloaded), wanted)
    reloaded._pipe.fuse_lora()
    reloaded._pipe.unload_lora_weights()
    assert np.abs(edit(reloaded) - wanted).max() <= 1


def test_the_adapter_says_how_it_is_scaled(learned: Path) -> None:
    assert {path.name for path in (learned / "lora").iterdir()} == {"pytorch_lora_weights.safetensors"}
    with safe_open(learned / "lora" / "pytorch_lora_weights.safetensors", "pt") as file:
        said = json.loads(file.metadata()["lora_adapter_metadata"])
    assert (said["transformer.r"], said["transformer.lora_alpha"]) == (4, 8)


def test_the_card_names_data_settings_and_figures(learned: Path) -> None:
    card, result = (learned / "README.md").read_text(), json.loads((learned / "result.json").read_text())
    assert result["pairs"] + result["held_out"] == 8 and result["held_out"] > 0 and result["steps"] == 6
    for wanted in ("loras:", f"snapshot `{result['data_digest']}`", "64 x 64 ", "- diffusers ", "alpha: 8"):
        assert wanted in card


def test_a_second_call_does_nothing_and_other_settings_are_refused(
    learned: Path, folders: dict[str, Path], pairs: Path, tmp_path: Path
) -> None:
    before, notes = read_learned(learned, "lora"), list[str]()
    train_editor_here(editor_settings_of(folders[KONTEXT], pairs, learned), notes)
    assert notes == [f"complete already: {learned}/lora"]
    assert read_learned(learned, "lora") == before
    with pytest.raises(RunConflict, match=r"\(learning\.seed\)"):
        train_editor_here(editor_settings_of(folders[KONTEXT], pairs, learned, seed=1))
    with pytest.raises(RunConflict, match=r"\(data\.pairs\)"):
        other = write_pairs(tmp_path / "other", 6)
        train_editor_here(editor_settings_of(folders[KONTEXT], other, learned))


def test_cut_off_between_any_two_things_it_keeps_it_ends_with_the_same_bytes(
    learned: Path, folders: dict[str, Path], pairs: Path, tmp_path: Path
) -> None:
    class CutOff(BaseException):
        """As a kill, without the time that a process takes to start."""

    class Cutting(list[str]):
        def append(self, text: str) -> None:
            place = re.sub(r"[\d.,]+ samples/s, .* left", "", text)  # the rest says where it is
            super().append(place)
            if self.count(place) == 1:  # the first time that it is said
                raise CutOff

    notes, cut = Cutting(), editor_settings_of(folders[KONTEXT], pairs, tmp_path / "cut")
    for _ in range(40):
        try:
            train_editor_here(cut, notes)
        except CutOff:
            continue
        break
    assert any("going on after step 6" in text for text in notes), "never cut between its end and its result"
    assert read_learned(tmp_path / "cut", "lora") == read_learned(learned, "lora")
    assert read_metrics(tmp_path / "cut") == read_metrics(learned)


@pytest.mark.soak
@pytest.mark.faults
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bytes(
    folders: dict[str, Path], pairs: Path, tmp_path: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    long = {"max_steps": 40, "checkpoints": {"every": 4}}
    train_editor_here(editor_settings_of(folders[KONTEXT], pairs, tmp_path / "alone", **long))
    given, output = editor_settings_of(folders[KONTEXT], pairs, tmp_path / "out", **long), tmp_path / "out"
    (tmp_path / "config.json").write_text(json.dumps(given))
    for said in ("encoding", "checkpoint at step 4\n", "checkpoint at step 16\n"):
        driver = begin(*CLI, "train", "editor-sft", "--config", tmp_path / "config.json")
        until(lambda: said in driver.read() or driver.process.poll() is not None, 600)  # noqa: B023
        driver.process.send_signal(signal.SIGKILL)
        driver.process.wait()
        assert not (output / "result.json").exists(), driver.end()
    notes: list[str] = []
    train_editor_here(given, notes)
    assert any("going on after step" in text for text in notes)
    assert read_learned(output, "lora") == read_learned(tmp_path / "alone", "lora")


def test_rows_that_are_no_pair_are_left_out_and_counted(folders: dict[str, Path], tmp_path: Path) -> None:
    manifest = write_pairs(tmp_path / "pairs", 6)
    Image.new("RGB", (64, 128)).save(tmp_path / "pairs" / "0-after.png")
    (tmp_path / "pairs" / "1-after.png").write_bytes(b"no image")
    with manifest.open("a") as file:
        file.write(json.dumps({"record_id": "bad", "image": "2.png", "instruction": "turn it"}) + "\n")
    settings = editor_settings_of(
        folders[KONTEXT], manifest, tmp_path / "out", max_steps=1, validation=None, batch=1
    )
    settings["data"]["split"] = {"val_fraction": 0}
    result = train_editor_here(settings)
    assert result["pairs"] == 4 and sum(result["left_out"].values()) == 3
    assert result["unseen"] == 3, "the only step takes one"
    assert "- in no step of the training: 3" in (tmp_path / "out/README.md").read_text()
    assert set(result["left_out"]) == {
        "source and target have other shapes",
        "image_unreadable",
        "original is missing or no text; it is where the original image is",
    }


def test_all_weights_may_learn_and_make_a_pipeline(
    folders: dict[str, Path], pairs: Path, tmp_path: Path
) -> None:
    settings = editor_settings_of(
        folders[KONTEXT],
        pairs,
        tmp_path / "full",
        tuning={"type": "full"},
        optimizer={"learning_rate": 1e-3},
        max_steps=2,
        gradient_checkpointing=True,
        validation=None,
    )
    assert train_editor_here(settings)["learned"] == "model"
    assert np.abs(edit(load(tmp_path / "full" / "model")) - edit(load(folders[KONTEXT]))).max() > 0


def copy_altered(pipeline: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> Path:
    """A copy of a pipeline whose transformer has other weights."""
    shutil.copytree(pipeline, folder / pipeline.name)
    file = folder / pipeline.name / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})
    return folder / pipeline.name


def test_a_loss_that_is_no_number_ends_it(folders: dict[str, Path], pairs: Path, tmp_path: Path) -> None:
    broken = copy_altered(folders[KONTEXT], tmp_path, lambda found: found["proj_out.bias"].fill_(torch.inf))
    settings = editor_settings_of(broken, pairs, tmp_path / "out", validation=None)
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step 1; there is no checkpoint yet"):
        train_editor_here(settings)
    assert not (tmp_path / "out" / "lora").exists()


@pytest.mark.parametrize("layer", ["x_embedder", "proj_out"])  # nothing goes in, nothing comes out
def test_an_editor_that_does_not_see_is_told(
    layer: str, folders: dict[str, Path], pairs: Path, tmp_path: Path
) -> None:
    def blind(found: dict[str, torch.Tensor]) -> None:
        for name in (f"{layer}.weight", f"{layer}.bias"):
            found[name].zero_()

    settings = editor_settings_of(copy_altered(folders[KONTEXT], tmp_path, blind), pairs, tmp_path / "out")
    with pytest.raises(UserError, match="the editor is blind: of 2 pairs no prediction changes"):
        train_editor_here(settings)
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_what_is_encoded_is_gone_on_with_whatever_the_data_are_by_now(
    folders: dict[str, Path], pairs: Path, tmp_path: Path
) -> None:
    shutil.copytree(pairs.parent, tmp_path / "data")
    manifest = tmp_path / "data" / pairs.name
    settings = editor_settings_of(folders[KONTEXT], manifest, tmp_path / "out", max_steps=1)
    result = train_editor_here(settings)
    manifest.write_text("".join(manifest.read_text().splitlines(keepends=True)[:-1]))
    assert train_editor_here(settings) == result
    settings["output"] = {"uri": str(tmp_path / "anew")}
    train_editor_here(settings)
    digests = [json.loads((tmp_path / name / "train.json").read_text())["data"] for name in ("out", "anew")]
    assert digests[0] != digests[1]
    with pytest.raises(ConfigError, match=r"taught an editor.*name its lora/ in editor\.loras"):
        read_training(str(tmp_path / "out" / "lora"), StorageConfig())


def test_what_can_be_known_before_is_refused(folders: dict[str, Path], pairs: Path, tmp_path: Path) -> None:
    def refuse(match: str, **other: Any) -> None:
        settings = editor_settings_of(folders[KONTEXT], pairs, tmp_path / match[:6].strip(), **other)
        with pytest.raises(ConfigError, match=match):
            train_editor_here(settings)

    refuse(r"don't make one step of 64", max_steps=None, epochs=1, batch=64)
    refuse(
        r"tuning\.targets: there is no linear layer 'q_proj' in the transformer's blocks; they have attn\.",
        tuning={"type": "lora", "targets": ["to_q", "q_proj"]},
    )
    data = {"manifest": str(pairs), "approved_only": True}
    refuse(r"data\.approved_only: is for results of runs", data=data)
