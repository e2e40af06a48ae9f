"""Teaching a policy by demonstrations, inline, with a tiny Qwen2.5-VL: what comes of it, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mira_batch.cli import main
from mira_batch.config.models.local import QwenVLConfig
from mira_batch.core.errors import ConfigError, RunConflict, UserError
from mira_batch.core.types import Weights
from mira_batch.models.qwen.policy import QwenVLPolicy
from mira_batch.train.encoding import build_request
from tests.support.runs.trainings import read_gradients, read_learned, read_metrics, settings_of, train_here
from tests.support.samples import make_sample, write_samples

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def learned(tiny_models: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The output of a training that was not disturbed."""
    output = tmp_path_factory.mktemp("learned") / "sft"
    train_here(settings_of(tiny_models / "qwen2.5-vl", data, output))
    yield output


def load(model: Path, adapter: Path | None) -> QwenVLPolicy:
    given: dict[str, Any] = {"type": "qwen_vl", "weights": str(model), "dtype": "float32", "devices": ["cpu"]}
    if adapter:
        given["adapter"] = {"weights": str(adapter)}
    config = QwenVLConfig.model_validate(given | {"sampling": {"max_tokens": 16}})
    return QwenVLPolicy(
        config, Weights(str(model), "m"), "cpu", Weights(str(adapter), "a") if adapter else None
    )


def test_what_is_learned_lowers_the_loss(learned: Path) -> None:
    metrics = read_metrics(learned)
    validated = [line["val_loss"] for line in metrics if "val_loss" in line]
    assert [line["step"] for line in metrics if "val_loss" in line] == [0, 3, 6]
    assert validated[0] > validated[1] > validated[2]
    assert [line["step"] for line in metrics if "loss" in line] == [2, 4, 6]
    assert [line["samples"] for line in metrics if "loss" in line] == [4, 8, 12]
    assert all(line["sight"] > 0 for line in metrics if "sight" in line)


def test_a_step_teaches_the_same_however_it_is_divided(tiny_models: Path, data: Path, tmp_path: Path) -> None:
    """Answers have different lengths, and each of their tokens counts alike."""
    step: dict[str, Any] = {"max_steps": 1, "validation": None, "checkpoints": {"every": 1}, "log_every": 1}
    still = {"tuning": {"type": "lora", "r": 4, "alpha": 8}, "optimizer": {"max_grad_norm": 1e9}}
    found = []
    for batch in (8, 2, 1):
        output = tmp_path / str(batch)
        divided = {"batch": batch, "accumulate": 8 // batch}
        train_here(settings_of(tiny_models / "qwen2.5-vl", data, output, **step | still | divided))
        gradients = torch.cat([gradient.flatten() for gradient in read_gradients(output)])
        found.append((gradients, next(line["loss"] for line in read_metrics(output) if "loss" in line)))
    (whole, loss), *parts = found
    assert float(whole.abs().max()) > 0.1
    for gradient, told in parts:
        assert torch.allclose(gradient, whole, rtol=0, atol=1e-5)
        assert told == pytest.approx(loss)


@pytest.mark.parametrize("tuning", [{"type": "lora", "r": 4}, {"type": "full", "vision": True}])
def test_mixed_precision_is_measured_as_it_learns(
    tiny_models: Path, data: Path, tmp_path: Path, tuning: dict[str, Any]
) -> None:
    """Before the first step as after: nothing is learned at a rate of next to nothing."""
    settings = settings_of(
        *(tiny_models / "qwen2.5-vl", data, tmp_path / "out"),
        **{"precision": "bfloat16", "tuning": tuning, "optimizer": {"learning_rate": 1e-12}, "max_steps": 1},
    )
    if tuning["type"] == "lora":
        settings["model"]["dtype"] = "bfloat16"
    else:
        del settings["model"]["dtype"]
    train_here(settings)
    metrics = read_metrics(tmp_path / "out")
    for name in ("sight", "val_loss"):
        first, last = (line[name] for line in metrics if name in line)
        assert first == last > 0


def test_the_adapter_is_what_the_policy_of_the_edit_job_loads(learned: Path, tiny_models: Path) -> None:
    from mira_batch.config.models.local import PromptConfig
    from mira_batch.train.encoding import SampleEncoder
    from mira_batch.train.measure import score_answers
    from mira_batch.train.samples import SampleReader, find_samples

    tuned, plain = (load(tiny_models / "qwen2.5-vl", each) for each in (learned / "adapter", None))
    config = json.loads((learned / "train.json").read_text())["config"]
    from mira_batch.config.shared import StorageConfig

    val = find_samples(config["data"]["uri"], "val", StorageConfig())
    samples = SampleReader(val, StorageConfig(), 8).read(range(len(val)))
    scores = {}
    for name, policy in (("tuned", tuned), ("plain", plain)):
        encoder = SampleEncoder(policy.processor, policy.model, PromptConfig())
        found = score_answers(policy.model, [encoder.encode_sample(sample) for sample in samples])
        scores[name] = found.loss / found.tokens
    # Four of these six samples were measured by the training; its own figures are close, and on its side.
    assert scores["tuned"] < scores["plain"] - 0.1
    assert len(tuned.propose([build_request(make_sample(1))])) == 1


def test_the_adapter_says_which_model_it_is_of(learned: Path, tiny_models: Path) -> None:
    settings = json.loads((learned / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(tiny_models / "qwen2.5-vl")
    assert settings["inference_mode"] is True
    assert {path.name for path in (learned / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_the_card_names_data_settings_and_figures(learned: Path, data: Path) -> None:
    card = (learned / "README.md").read_text()
    result = json.loads((learned / "result.json").read_text())
    assert result["samples"] == 40 and result["steps"] == 6
    for wanted in (
        f"snapshot `{result['data_digest']}`",
        "mira-prompt/1",
        "validation loss (nats a token) | ",
        "learning_rate: 0.003",
        "- trl ",
        f"base weights `{result['base_identity']}`",
        "by kind: continue 13, start 20, stop 7",
        "by licence: CC0-1.0 40",
    ):
        assert wanted in card
    assert result["figures"]["val_loss"] == read_metrics(learned)[-3]["val_loss"]


def test_a_second_call_does_nothing_and_says_the_same(learned: Path, tiny_models: Path, data: Path) -> None:
    before = read_learned(learned)
    notes: list[str] = []
    found = train_here(settings_of(tiny_models / "qwen2.5-vl", data, learned), notes)
    assert notes == [f"complete already: {learned}/adapter"]
    assert found == json.loads((learned / "result.json").read_text())
    assert read_learned(learned) == before


def test_other_settings_or_data_in_the_same_place_are_refused(
    learned: Path, tiny_models: Path, data: Path, tmp_path: Path
) -> None:
    model = tiny_models / "qwen2.5-vl"
    with pytest.raises(RunConflict, match=r"\(learning\.seed\)"):
        train_here(settings_of(model, data, learned, seed=1))
    other = write_samples(tmp_path / "other", train=39)
    with pytest.raises(RunConflict, match=r"\(data\.train\)"):
        train_here(settings_of(model, other, learned))
    train_here(settings_of(model, data, learned, log_every=1))  # which changes nothing that is learned


def test_an_earlier_adapter_is_gone_on_with(
    learned: Path, tiny_models: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = {
        "weights": str(tiny_models / "qwen2.5-vl"),
        "dtype": "float32",
        "adapter": str(learned / "adapter"),
    }
    settings = settings_of(tiny_models / "qwen2.5-vl", data, tmp_path / "more", model=model, max_steps=2)
    del settings["tuning"]
    (tmp_path / "c.json").write_text(json.dumps(settings))
    assert main(["train", "policy-sft", "--config", str(tmp_path / "c.json"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["learned"] == "adapter"
    first, last = (
        line["val_loss"] for line in read_metrics(learned) if "val_loss" in line and line["step"] != 3
    )
    begun = next(line["val_loss"] for line in read_metrics(tmp_path / "more") if "val_loss" in line)
    assert begun == pytest.approx(last, abs=1e-4) and begun < first


def test_all_weights_may_learn_and_make_a_model(tiny_models: Path, data: Path, tmp_path: Path) -> None:
    base = tiny_models / "qwen2.5-vl"
    settings = settings_of(
        base,
        data,
        tmp_path / "full",
        model={"weights": str(base)},
        tuning={"type": "full"},
        optimizer={"learning_rate": 1e-3},
        max_steps=2,
        gradient_checkpointing=True,
        validation=None,
    )
    assert train_here(settings)["learned"] == "model"
    policy, before = load(tmp_path / "full" / "model", None), load(base, None)
    assert len(policy.propose([build_request(make_sample(1))])) == 1
    changed = {
        name: not weight.equal(other)
        for (name, weight), other in zip(
            policy.model.named_parameters(), before.model.parameters(), strict=True
        )
    }
    assert not any(change for name, change in changed.items() if "visual" in name)
    assert any(change for name, change in changed.items() if "visual" not in name)


def test_a_loss_that_is_no_number_ends_it_and_the_last_good_checkpoint_stays(
    tiny_models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl.trainer.sft_trainer import SFTTrainer

    step = SFTTrainer.training_step

    def break_weights(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 3:
            with torch.no_grad():
                next(weight for weight in self.model.parameters() if weight.requires_grad).fill_(torch.nan)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(SFTTrainer, "training_step", break_weights)
    settings = settings_of(tiny_models / "qwen2.5-vl", data, tmp_path / "out", validation=None)
    with pytest.raises(UserError, match="the loss is nan at step 4; the checkpoint of step 2 is kept. Lower"):
        train_here(settings)
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["00000002"]
    assert not (tmp_path / "out" / "adapter").exists()


def test_a_model_that_does_not_see_is_told(tiny_models: Path, data: Path, tmp_path: Path) -> None:
    from transformers import Qwen2_5_VLForConditionalGeneration

    model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny_models / "qwen2.5-vl")
    with torch.no_grad():  # whatever is shown, the tower says the same
        for weight in model.model.visual.merger.mlp[2].parameters():
            weight.zero_()
    blind = tmp_path / "blind"
    model.save_pretrained(blind)
    for file in (tiny_models / "qwen2.5-vl").iterdir():
        if not (blind / file.name).exists():
            (blind / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="the model is blind: of 2 samples no answer's likelihood changes"):
        train_here(settings_of(blind, data, tmp_path / "out"))
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_what_can_be_known_before_is_refused_before(tiny_models: Path, data: Path, tmp_path: Path) -> None:
    model = tiny_models / "qwen2.5-vl"
    with pytest.raises(ConfigError, match="40 samples, 40 over all epochs, don't make one step of 64"):
        train_here(settings_of(model, data, tmp_path / "a", max_steps=None, epochs=1, batch=64))
    write_samples(tmp_path / "no-val", val=0)
    with pytest.raises(ConfigError, match="no samples of the split 'val'"):
        train_here(settings_of(model, tmp_path / "no-val", tmp_path / "b"))
    targets = {"type": "lora", "targets": ["q_proj", "qkv"]}
    with pytest.raises(ConfigError, match=r"tuning\.targets: there is no layer 'qkv' in its language model"):
        train_here(settings_of(model, data, tmp_path / "c", tuning=targets))
