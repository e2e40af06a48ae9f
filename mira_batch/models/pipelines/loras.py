"""LoRA adapters, as diffusers saves them or as peft does (with an `adapter_config.json`)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mira_batch.core.errors import ConfigError, describe
from mira_batch.core.types import Weights
from mira_batch.models.pipelines.speed import denoiser

_PEFT = "base_model.model."


def add_loras(pipe: Any, loras: Sequence[Weights], scales: Sequence[float]) -> None:
    """Load each adapter and set its scale.

    Raises:
        ConfigError: a folder holds no adapter for this pipeline.
    """
    names = [f"lora{number}" for number in range(len(loras))]
    for number, (name, lora) in enumerate(zip(names, loras, strict=True)):
        field = f"editor.loras.{number}"
        with warnings.catch_warnings():
            # Several adapters are what is wanted here.
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
            _load(pipe, Path(lora.path), name, field)
        # diffusers only warns where no weight of a file fits, and the plain model would do the edits.
        if not any(name in adapters for adapters in pipe.get_list_adapters().values()):
            raise ConfigError(
                f"{field}: nothing in {lora.path} fits a {type(pipe).__name__}; was it trained on it?"
            )
    if names:
        pipe.set_adapters(names, adapter_weights=list(scales))


def _load(pipe: Any, folder: Path, name: str, field: str) -> None:
    """A boundary: adapters come in many forms, and diffusers says what it can't read."""
    file = _file(folder, field)
    try:
        if (folder / "adapter_config.json").is_file():
            _load_peft(pipe, file, name)
        else:
            pipe.load_lora_weights(
                str(folder),
                weight_name=file.name,
                adapter_name=name,
                local_files_only=True,
                use_safetensors=True,
            )
    except Exception as error:
        raise ConfigError(f"{field}: {file} can't be loaded: {describe(error)}") from error


def _load_peft(pipe: Any, file: Path, name: str) -> None:
    """An adapter of the transformer alone, with its own config: rank and alpha may differ."""
    from safetensors.torch import load_file

    weights = {key.removeprefix(_PEFT): value for key, value in load_file(file).items()}
    config = json.loads((file.parent / "adapter_config.json").read_text())
    denoiser(pipe).load_lora_adapter(weights, prefix=None, adapter_name=name, metadata=config)


def _file(folder: Path, field: str) -> Path:
    """The one file of weights in an adapter's folder."""
    found = sorted(folder.glob("*.safetensors"))
    usual = [p for p in found if p.name in ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")]
    if len(usual or found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ConfigError(f"{field}: {folder} should hold one safetensors file, but there is: {names}")
    return (usual or found)[0]
