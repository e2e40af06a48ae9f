"""What a Qwen-VL policy is made of: files, adapters, draws."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from mira_batch.config.models.local import QwenVLConfig, SamplingConfig
from mira_batch.core.errors import ConfigError
from mira_batch.core.ports import PolicyRequest
from mira_batch.core.types import Weights
from mira_batch.models.qwen.draws import Draws, keep_nucleus
from mira_batch.models.qwen.files import check_adapter_files, check_qwen_files
from mira_batch.models.qwen.policy import QwenVLPolicy
from tests.support.models.tiny import a_step, noise, policy_of, write_adapter

MODELS = ["qwen2.5-vl", "qwen3-vl"]
DRAWN = {"max_tokens": 20, "temperature": 1.0, "top_p": 0.95}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tiny_models: Path) -> Path:
    return tiny_models / request.param


def requests() -> list[PolicyRequest]:
    first, second = noise(100, 60, 1), noise(40, 90, 2)
    return [
        PolicyRequest("fresh", "make it brighter", first, first, (), 1),
        PolicyRequest("begun", "crop it", first, second, (a_step(0, first, second),), 2),
    ]


# Draws


def test_draws_follow_the_distribution() -> None:
    """Gumbel noise makes the largest score a draw: frequencies come out as the soft-max says."""
    import torch

    chances_V = torch.tensor([0.5, 0.3, 0.15, 0.05, 0.0])
    draws = 4_000
    scores_B_V = chances_V.log().expand(draws, -1)
    never_V = torch.tensor([False] * 5)
    for sampling, expected in [
        (SamplingConfig(temperature=None, top_p=0.75), [1, 0, 0, 0, 0]),
        (SamplingConfig(temperature=1, top_p=None), [0.5, 0.3, 0.15, 0.05, 0]),
        (SamplingConfig(temperature=1), [0.5, 0.3, 0.15, 0.05, 0]),
        (SamplingConfig(temperature=1, top_p=0.75), [5 / 8, 3 / 8, 0, 0, 0]),
        (SamplingConfig(temperature=0.5), [0.6849, 0.2466, 0.0616, 0.0068, 0]),
    ]:
        picked = Draws(sampling, range(draws), never_V)(never_V, scores_B_V).argmax(-1)
        found = torch.bincount(picked, minlength=5) / draws
        assert torch.allclose(found, torch.tensor(expected, dtype=torch.float32), atol=0.03)


def test_of_the_nucleus_the_likeliest_token_always_stays() -> None:
    import torch

    scores = torch.tensor([[0.1, 3.0, 0.2]]).log()
    assert keep_nucleus(scores, 1e-6).isfinite().tolist() == [[False, True, False]]


def test_of_equal_scores_the_same_tokens_are_kept_as_ever() -> None:
    """In bfloat16 many are equal, and which of them stay decides the texts that a seed gives."""
    import torch

    scores = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]])
    kept = keep_nucleus(scores, 0.75).isfinite().tolist()
    assert kept == [[True, True, True, True, False, False]]


def test_a_seed_draws_the_tokens_that_it_always_drew() -> None:
    import torch

    generator = torch.Generator().manual_seed(7)
    scores = (torch.randn(3, 1_000, generator=generator) * 4).bfloat16().float()
    never = torch.zeros(1_000, dtype=torch.bool)
    never[990:] = True
    draws = Draws(SamplingConfig(temperature=0.8, top_p=0.9), [1, 2, 3], never)
    drawn = [draws(never, scores).argmax(-1).tolist() for _ in range(4)]
    assert drawn == [[405, 373, 860], [405, 445, 383], [405, 445, 152], [405, 373, 435]]


# Adapters


@pytest.fixture(scope="module")
def adapter(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(model, tmp_path_factory.mktemp("adapter"))


def tuned_policy(model: Path, adapter: Path, scale: float) -> QwenVLPolicy:
    settings = {"weights": str(adapter), "scale": scale}
    config = QwenVLConfig.model_validate(
        {"type": "qwen_vl", "weights": str(model), "dtype": "float32", "sampling": DRAWN, "adapter": settings}
    )
    return QwenVLPolicy(config, Weights(str(model), "tiny"), "cpu", Weights(str(adapter), "lora"))


def test_an_adapter_changes_answers_by_its_scale(model: Path, adapter: Path) -> None:
    asked, drawn = requests(), policy_of(model, sampling=DRAWN)
    policies = {scale: tuned_policy(model, adapter, scale) for scale in (0.0, 0.5, 1.0)}
    answers = {scale: list(policy.propose(asked)) for scale, policy in policies.items()}
    assert answers[0.0] == list(drawn.propose(asked))
    assert answers[0.0] != answers[0.5] != answers[1.0] != answers[0.0]
    assert [policies[1.0].propose([request])[0] for request in asked] == answers[1.0]
    assert len({drawn.identity, *(policy.identity for policy in policies.values())}) == 4


def test_an_adapter_of_another_model_is_refused(model: Path, adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(adapter, tmp_path / "other")
    file = tmp_path / "other" / "adapter_model.safetensors"
    save_file({name.replace("layers.0", "layers.7"): w for name, w in load_file(file).items()}, file)
    with pytest.raises(ConfigError, match=r"policy\.adapter\.weights: .* no adapter of this model"):
        tuned_policy(model, tmp_path / "other", 1.0)


def test_an_incomplete_adapter_is_refused(adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "cut")
    check_adapter_files(str(tmp_path / "cut"))
    os.remove(tmp_path / "cut" / "adapter_model.safetensors")
    with pytest.raises(ConfigError, match="lacks adapter_model.safetensors"):
        check_adapter_files(str(tmp_path / "cut"))


# Files


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        (["config.json"], "config.json is missing"),
        (["model.safetensors"], "lacks model.safetensors"),
        (["tokenizer.json"], "lacks the tokenizer"),
        (["processor_config.json"], "lacks the image processor"),
        (["chat_template.jinja"], "lacks the chat template"),
        (["tokenizer.json", "processor_config.json"], "the tokenizer .*; the image processor"),
    ],
)
def test_files_that_are_missing_are_named(
    model: Path, tmp_path: Path, gone: Sequence[str], says: str
) -> None:
    shutil.copytree(model, tmp_path / "part")
    check_qwen_files(str(tmp_path / "part"))
    for name in gone:
        os.remove(tmp_path / "part" / name)
    with pytest.raises(ConfigError, match=rf"policy\.weights: .*{says}"):
        policy_of(tmp_path / "part")


def test_weights_that_are_no_qwen_vl_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy\.weights: .* is no directory"):
        check_qwen_files(str(tmp_path / "nowhere"))
    config = json.loads((model / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    with pytest.raises(ConfigError, match=r"'llama'; a qwen_vl policy takes Qwen2\.5-VL or Qwen3-VL"):
        check_qwen_files(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json can't be read"):
        check_qwen_files(str(tmp_path))
    os.remove(tmp_path / "config.json")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="name it under policy.adapter.weights"):
        check_qwen_files(str(tmp_path))


def test_a_part_that_was_not_fetched_is_named(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "part")
    os.rename(tmp_path / "part/model.safetensors", tmp_path / "part/model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (tmp_path / "part/model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(ConfigError, match="1 of 2 parts of its weights, model-00002-of-00002"):
        check_qwen_files(str(tmp_path / "part"))


def test_weights_that_are_cut_off_or_lack_a_layer_are_refused(model: Path, tmp_path: Path) -> None:
    """transformers would draw the missing ones at random and only warn."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, tmp_path / "part")
    file = tmp_path / "part" / "model.safetensors"
    whole = load_file(file)
    save_file({name: w for name, w in whole.items() if "layers.1.mlp" not in name}, file, {"format": "pt"})
    with pytest.raises(ConfigError, match=r"lacks 3 weights of its model, .*layers\.1\.mlp"):
        policy_of(tmp_path / "part")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ConfigError, match=r"weights: .*model\.safetensors has [\d,]+ bytes of"):
        policy_of(tmp_path / "part")


def test_attention_kernels_that_are_not_there_are_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy\.attention: flash_attention_2 .* take sdpa"):
        policy_of(model, attention="flash_attention_2")
