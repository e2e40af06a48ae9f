"""The model that learns: loaded as a job loads it, with what learns and what doesn't set apart."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mira_batch.config.models.local import QwenWeightsConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.config.train import FullTuning, LoraTuning, TrainedModelConfig, TuningConfig
from mira_batch.core.errors import ConfigError, describe
from mira_batch.core.types import Weights
from mira_batch.models.qwen import (
    check_adapter_files,
    check_attention,
    check_qwen_files,
    load_model,
    load_processor,
)
from mira_batch.models.torch_support import prepare
from mira_batch.storage.weights import fetch_weights
from mira_batch.train.record import name_begun
from mira_batch.train.sharding import release, take_part

if TYPE_CHECKING:
    import torch

ADAPTER, MODEL = "adapter", "model"
"""Folder of what a training gives: LoRA weights alone, or a whole model."""


def name_base(config: TrainedModelConfig, storage: StorageConfig) -> str:
    """What tells the files that a training begins with from others: the model's, and its adapter's.

    Args:
        config: names them.
        storage: how an object store is reached.
    """
    adapter = None if config.adapter is None else fetch_weights(config.adapter, storage)
    return name_begun(fetch_weights(config.weights, storage), adapter)


def load_learner(
    config: TrainedModelConfig,
    tuning: TuningConfig,
    max_pixels: int,
    storage: StorageConfig,
    device: torch.device,
    seed: int,
) -> tuple[Any, Any, Weights]:
    """The model with its adapter, or with the weights that learn, and its processor.

    Args:
        config: which model, and how it runs.
        tuning: which weights learn.
        max_pixels: larger images are shown smaller.
        storage: how an object store is reached.
        device: where it goes.
        seed: of new weights.

    Returns:
        The model, its processor, and its files on this node, whose identity names those of an adapter, too.

    Raises:
        ConfigError: files are missing or don't fit, or a layer that is to learn isn't there.
    """
    prepare()
    import torch

    weights = fetch_weights(config.weights, storage)
    check_qwen_files(weights.path, "model.weights")
    full = isinstance(tuning, FullTuning) and config.adapter is None
    frozen = QwenWeightsConfig(
        weights=config.weights, dtype="float32" if full else config.dtype, attention=config.attention
    )
    check_attention(frozen, device.type == "cuda", "model")
    processor = load_processor(weights.path, max_pixels, "model")
    model = load_model(frozen, weights.path, device, "model")
    model.config.use_cache = False
    torch.manual_seed(seed)
    if config.adapter is not None:
        adapter = fetch_weights(config.adapter, storage)
        both = Weights(weights.path, name_begun(weights, adapter))
        return _continue_adapter(model, adapter.path), processor, both
    if isinstance(tuning, LoraTuning):
        return _add_adapter(model, tuning), processor, weights
    for name, weight in model.named_parameters():
        weight.requires_grad_(tuning.vision or ".visual." not in f".{name}")
    return model, processor, weights


def save_weights(model: Any, file: Path) -> None:
    """Write the weights that learn by their names in the model, for a checkpoint; of a model that is shared
    out, this worker's part of each.

    Args:
        model: from `load_learner`.
        file: where to.
    """
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: part.cpu().contiguous() for name, part in _list_learning(model).items()}, file)


def load_weights(model: Any, file: Path) -> None:
    """Put the weights of a checkpoint into the model, all of them.

    Args:
        model: from `load_learner`, with the same settings.
        file: from `save_weights`, of the same worker.

    Raises:
        ConfigError: they are those of another model, or of other settings.
    """
    from safetensors.torch import load_file

    found, own = load_file(file), _list_learning(model)
    shapes = ({name: weight.shape for name, weight in each.items()} for each in (found, own))
    if next(shapes) != next(shapes):
        raise ConfigError("the checkpoint's weights are not those that learn here; name another output.uri")
    for name, part in own.items():
        part.copy_(found[name])


def _list_learning(model: Any) -> dict[str, Any]:
    """Weights that learn, or this worker's part of each, by name."""
    release(model)
    return {name: take_part(w.detach()) for name, w in model.named_parameters() if w.requires_grad}


def save_learned(
    model: Any, processor: Any, folder: Path, base: str, gathered: dict[str, Any] | None = None
) -> str:
    """Write what was learned, as a job loads it: the same bytes for the same weights.

    Args:
        model: from `load_learner`.
        processor: of the model.
        folder: where to.
        base: location of the model that an adapter is of.
        gathered: its weights, where the model holds only this worker's part of them.

    Returns:
        The name of the folder below it: `ADAPTER` or `MODEL`.
    """
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        model.save_pretrained(folder / MODEL, state_dict=gathered, max_shard_size="2GB")
        processor.save_pretrained(folder / MODEL)
        return MODEL
    model.save_pretrained(str(folder / ADAPTER), state_dict=gathered)
    (folder / ADAPTER / "README.md").unlink(missing_ok=True)  # ours says more
    file = folder / ADAPTER / "adapter_config.json"
    settings = json.loads(file.read_text())
    settings["base_model_name_or_path"] = base
    for name, value in settings.items():
        if isinstance(value, list) and name != "rank_pattern":
            settings[name] = sorted(value, key=str)  # sets, in an order of their own each time
    file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    return ADAPTER


def _add_adapter(model: Any, tuning: LoraTuning) -> Any:
    from peft import LoraConfig, get_peft_model

    inside = "" if tuning.vision else r"language_model\."
    names = [name for name, _ in model.named_modules()]
    for target in tuning.targets:
        if not any(re.fullmatch(rf".*{inside}.*\.{re.escape(target)}", name) for name in names):
            where = (
                "the model" if tuning.vision else "its language model (tuning.vision adds the vision tower)"
            )
            raise ConfigError(f"tuning.targets: there is no layer {target!r} in {where}")
    targets = "|".join(map(re.escape, tuning.targets))
    settings: Any = {"lora_alpha": tuning.alpha, "lora_dropout": tuning.dropout}
    config = LoraConfig(
        r=tuning.r,
        target_modules=rf".*{inside}.*\.({targets})",
        task_type="CAUSAL_LM",
        **settings,
    )
    with _hush_peft():
        return get_peft_model(model, config)


def _continue_adapter(model: Any, path: str) -> Any:
    from peft import PeftModel
    from safetensors import SafetensorError

    check_adapter_files(path, "model.adapter")
    try:
        with _hush_peft():
            return PeftModel.from_pretrained(model, path, is_trainable=True, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"model.adapter: the adapter in {path} doesn't fit the model: {describe(error)}"
        ) from error


@contextmanager
def _hush_peft() -> Iterator[None]:
    """Without what peft calls and the next transformers won't have: nothing that a user could mend."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield
