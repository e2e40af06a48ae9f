"""LoRA adapters and schedulers of an editor, on a tiny pipeline of the real class."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mira_batch.core.errors import ConfigError
from mira_batch.core.types import Weights
from mira_batch.models.diffusion.editor import DiffusersEditor
from tests.support.models.pipelines import apart, build, config, request

pytestmark = pytest.mark.usefixtures("one_thread")
LOADERS = ("diffusers.loaders.lora_base", "diffusers.loaders.peft")
"""Loggers that warn of a text encoder, or of a transformer, that an adapter has nothing for."""


# LoRA adapters


@pytest.fixture(scope="module")
def adapted(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Image.Image]:
    """An adapter whose alpha isn't its rank, as diffusers and as peft save it, and an image made with it."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    editor = build(folders)
    part = editor._pipe.transformer
    settings = LoraConfig(r=4, lora_alpha=16, target_modules=["to_q", "to_v"], init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        part.add_adapter(settings, "trained")
    weights = get_peft_model_state_dict(part, adapter_name="trained")
    root = tmp_path_factory.mktemp("loras")
    type(editor._pipe).save_lora_weights(
        root / "diffusers",
        transformer_lora_layers=weights,
        transformer_lora_adapter_metadata=settings.to_dict(),
    )
    (root / "peft").mkdir()
    settings.save_pretrained(root / "peft")
    named = {f"base_model.model.{key}": value.contiguous() for key, value in weights.items()}
    save_file(named, root / "peft" / "adapter_model.safetensors")
    return root / "diffusers", root / "peft", editor.apply([request(0)])[0]


def with_loras(folders: dict[str, Path], *loras: tuple[Path, float], **more: Any) -> DiffusersEditor:
    named = [Weights(str(path), path.name) for path, _ in loras]
    fields = [{"weights": str(path), "scale": scale, **more} for path, scale in loras]
    weights = Weights(str(folders["FluxKontextPipeline"]), "w")
    return DiffusersEditor(config(folders, loras=fields), weights, "cpu", named)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """What diffusers says of adapters."""
    said: list[str] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    loggers, noting = [logging.getLogger(name) for name in LOADERS], Noting()
    for logger in loggers:
        logger.addHandler(noting)
    try:
        yield said
    finally:
        for logger in loggers:
            logger.removeHandler(noting)


def test_an_adapter_of_the_transformer_alone_loads_without_a_word(
    folders: dict[str, Path], adapted: tuple[Path, Path, Image.Image]
) -> None:
    """diffusers warns that such an adapter has nothing for CLIP, as nearly none has."""
    with hearing() as said:
        with_loras(folders, (adapted[0], 1.0))
        logging.getLogger(LOADERS[0]).warning("of something else")
    assert said == ["of something else"]


def test_an_adapter_that_has_nothing_for_the_transformer_is_heard_of(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    modules = build(folders)._pipe.text_encoder.named_modules()
    name, layer = next((name, module) for name, module in modules if name.endswith("self_attn.q_proj"))
    weights = {"lora_A": torch.ones(2, layer.in_features), "lora_B": torch.ones(layer.out_features, 2)}
    file = tmp_path / "pytorch_lora_weights.safetensors"
    save_file({f"text_encoder.{name}.{part}.weight": value for part, value in weights.items()}, file)
    with hearing() as said:
        with_loras(folders, (tmp_path, 1.0))
    assert any("No LoRA keys associated to FluxTransformer2DModel" in text for text in said)


@pytest.mark.parametrize("form", [0, 1], ids=["diffusers", "peft"])
def test_an_adapter_gives_what_it_gave_when_it_was_saved(
    folders: dict[str, Path], adapted: tuple[Path, Path, Image.Image], form: int
) -> None:
    folder, trained = adapted[form], adapted[2]
    assert apart(trained, build(folders).apply([request(0)])[0]) > 3
    assert apart(trained, with_loras(folders, (folder, 1.0)).apply([request(0)])[0]) <= 1


def test_the_scale_of_an_adapter_counts_and_is_part_of_the_identity(
    folders: dict[str, Path], adapted: tuple[Path, Path, Image.Image]
) -> None:
    off, half = with_loras(folders, (adapted[0], 0.0)), with_loras(folders, (adapted[0], 0.5))
    assert apart(off.apply([request(0)])[0], build(folders).apply([request(0)])[0]) == 0
    assert apart(half.apply([request(0)])[0], adapted[2]) > 3
    assert len({off.identity, half.identity, build(folders).identity}) == 3


def test_two_adapters_add_up(folders: dict[str, Path], adapted: tuple[Path, Path, Image.Image]) -> None:
    both = with_loras(folders, (adapted[0], 0.5), (adapted[1], 0.5))
    assert apart(both.apply([request(0)])[0], adapted[2]) <= 1


def test_an_adapter_of_another_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"transformer.nothing.lora_A.weight": torch.zeros(1, 1)}, tmp_path / "x.safetensors")
    with pytest.raises(ConfigError, match=r"editor\.loras\.0"):
        with_loras(folders, (tmp_path, 1.0))
    save_file({"unet.a.lora_A.weight": torch.zeros(1, 1)}, tmp_path / "x.safetensors")
    with pytest.raises(ConfigError, match=r"editor\.loras\.0: nothing in .* fits a FluxKontextPipeline"):
        with_loras(folders, (tmp_path, 1.0))


def test_a_folder_with_no_or_several_files_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"editor\.loras\.0: .* should hold one safetensors file, .* none"):
        with_loras(folders, (tmp_path, 1.0))
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_text(json.dumps({}))
    with pytest.raises(ConfigError, match=r"there is: a\.safetensors, b\.safetensors; name .*loras\.0\.file"):
        with_loras(folders, (tmp_path, 1.0))


@pytest.mark.parametrize("form", [0, 1], ids=["diffusers", "peft"])
def test_of_several_files_the_one_that_is_named_is_taken(
    folders: dict[str, Path], adapted: tuple[Path, Path, Image.Image], tmp_path: Path, form: int
) -> None:
    (file,) = adapted[form].glob("*.safetensors")
    shutil.copy(file, tmp_path / "8steps-V2.0.safetensors")
    for config_file in adapted[form].glob("*.json"):
        shutil.copy(config_file, tmp_path)
    for other in ("4steps.safetensors", "pytorch_lora_weights.safetensors"):
        (tmp_path / other).write_bytes(b"not this one")
    named = with_loras(folders, (tmp_path, 1.0), file="8steps-V2.0.safetensors")
    assert apart(adapted[2], named.apply([request(0)])[0]) <= 1
    assert "8steps-V2.0.safetensors" in named.identity
    with pytest.raises(
        ConfigError, match=r"editor\.loras\.0\.file: .* has no x\.safetensors; there is: 4steps"
    ):
        with_loras(folders, (tmp_path, 1.0), file="x.safetensors")


# Schedulers


def test_a_setting_of_the_scheduler_goes_before_the_checkpoints(folders: dict[str, Path]) -> None:
    plain = build(folders, steps=2)
    lightning = {"base_shift": 1.0986, "max_shift": 1.0986, "shift_terminal": None}
    other = build(folders, steps=2, scheduler=lightning)
    was, now = plain._pipe.scheduler.config, other._pipe.scheduler.config
    assert (was["base_shift"], now["base_shift"], now["max_shift"]) == (0.5, 1.0986, 1.0986)
    assert now["use_dynamic_shifting"] is was["use_dynamic_shifting"] is True
    assert apart(plain.apply([request(0)])[0], other.apply([request(0)])[0]) > 0
    assert '"base_shift": 1.0986' in other.identity
    assert other.identity != plain.identity


def test_null_takes_a_setting_of_the_checkpoint_back(folders: dict[str, Path], tmp_path: Path) -> None:
    stretched = shutil.copytree(folders["FluxKontextPipeline"], tmp_path / "weights")
    file = stretched / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shift_terminal": 0.02}))
    there = {"FluxKontextPipeline": stretched}
    assert build(there)._pipe.scheduler.config["shift_terminal"] == 0.02
    assert build(there, scheduler={"shift_terminal": None})._pipe.scheduler.config["shift_terminal"] is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"shft": 3.0},
            r"shft can't be set on a FlowMatchEulerDiscreteScheduler; it takes .*base_shift.*shift",
        ),
        ({"time_shift_type": "cubic"}, r"FlowMatchEulerDiscreteScheduler: .*must either be"),
    ],
)
def test_what_a_scheduler_does_not_take_is_named(
    folders: dict[str, Path], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"editor\.scheduler: {message}"):
        build(folders, scheduler=settings)
