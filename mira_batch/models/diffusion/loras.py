"""LoRA adapters, as diffusers saves them or as peft does (with an `adapter_config.json`)."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mira_batch.config.models.base import AdapterConfig
from mira_batch.core.errors import ConfigError, describe
from mira_batch.core.types import Weights
from mira_batch.models.diffusion.speed import find_denoiser

_PEFT = "base_model.model."
_TEXT_LOADER = "diffusers.loaders.lora_base"
"""What warns of each text encoder that an adapter has nothing for. Of the transformer another one warns, and
that is heard."""


def add_loras(pipe: Any, loras: Sequence[Weights], configs: Sequence[AdapterConfig]) -> None:
    """Load each adapter, by the file that its config names, and set its scale.

    Raises:
        ConfigError: a folder holds no adapter for this pipeline.
    """
    names = [f"lora{number}" for number in range(len(loras))]
    for number, (name, lora, config) in enumerate(zip(names, loras, configs, strict=True)):
        field = f"editor.loras.{number}"
        with _without_needless_warnings():
            _load(pipe, find_lora_file(Path(lora.path), config.file, field), name, field)
        # diffusers only warns where no weight of a file fits, and the plain model would do the edits.
        if not any(name in adapters for adapters in pipe.get_list_adapters().values()):
            raise ConfigError(
                f"{field}: nothing in {lora.path} fits a {type(pipe).__name__}; was it trained on it?"
            )
    if names:
        pipe.set_adapters(names, adapter_weights=[config.scale for config in configs])


@contextmanager
def _without_needless_warnings() -> Iterator[None]:
    """Several adapters are what is wanted, and so are some of the transformer alone."""

    def keep(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("No LoRA keys associated to")

    logger = logging.getLogger(_TEXT_LOADER)
    logger.addFilter(keep)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
            yield
    finally:
        logger.removeFilter(keep)


def _load(pipe: Any, file: Path, name: str, field: str) -> None:
    """A boundary: adapters come in many forms, and diffusers says what it can't read."""
    try:
        if (file.parent / "adapter_config.json").is_file():
            _load_peft(pipe, file, name)
        else:
            pipe.load_lora_weights(
                str(file.parent),
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
    find_denoiser(pipe).load_lora_adapter(weights, prefix=None, adapter_name=name, metadata=config)


def find_lora_file(folder: Path, wanted: str | None, field: str) -> Path:
    """The file of weights in an adapter's folder.

    Args:
        folder: of this machine.
        wanted: name of the file; None: there is one.
        field: where the config has the folder, for errors.

    Raises:
        ConfigError: there is none, or it can't be told which.
    """
    found = sorted(folder.glob("*.safetensors"))
    names = ", ".join(path.name for path in found) or "none"
    if wanted is not None:
        if folder / wanted not in found:
            raise ConfigError(f"{field}.file: {folder} has no {wanted}; there is: {names}")
        return folder / wanted
    usual = [p for p in found if p.name in ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")]
    if len(usual or found) != 1:
        raise ConfigError(
            f"{field}: {folder} should hold one safetensors file, but there is: {names}; "
            f"name the one to take as {field}.file"
        )
    return (usual or found)[0]
