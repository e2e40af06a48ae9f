"""What a Qwen-VL model must have before it is loaded: files, packages. Looks, and loads nothing; torch is
not imported, so `mira-batch validate` can ask."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from mira_batch.config.models.local import QwenWeightsConfig
from mira_batch.core.errors import ConfigError

MODEL_TYPES = {"qwen2_5_vl": "Qwen2.5-VL", "qwen3_vl": "Qwen3-VL"}
"""`model_type` in config.json of the models that are known to work."""


def check_qwen_files(path: str, field: str = "policy.weights") -> None:
    """See that a directory holds a whole Qwen-VL model in safetensors, with tokenizer and processor.

    Raises:
        ConfigError: it doesn't; names the config field, and all that is missing at once.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"{field}: {path} is no directory on this machine; every worker must see it")
    if not (folder / "config.json").is_file():
        hint = "it holds no model, since config.json is missing"
        if (folder / "adapter_config.json").is_file():
            adapter = f"{field.removesuffix('weights')}adapter.weights"
            hint = f"it holds a LoRA adapter: name it under {adapter}, and its base model here"
        elif (folder / "model_index.json").is_file():
            hint = "it holds a diffusers pipeline, which is an editor: name a Qwen2.5-VL or Qwen3-VL here"
        raise ConfigError(f"{field}: {path}: {hint}")
    found = _read(folder / "config.json", field).get("model_type")
    if found not in MODEL_TYPES:
        raise ConfigError(
            f"{field}: {path} holds a model of type {found!r}; a qwen_vl {field.partition('.')[0]} takes "
            f"{' or '.join(MODEL_TYPES.values())}"
        )
    if missing := [*_missing_weights(folder, field), *_missing_processor(folder, field)]:
        raise ConfigError(f"{field}: {path} is not a whole model; it lacks {'; '.join(missing)}")


def check_adapter_files(path: str, field: str = "policy.adapter.weights") -> None:
    """See that a directory holds a LoRA adapter in safetensors.

    Raises:
        ConfigError: it doesn't; names the config field.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"{field}: {path} is no directory on this machine; every worker must see it")
    names = ("adapter_config.json", "adapter_model.safetensors")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise ConfigError(f"{field}: {path} is no adapter as peft saves it; it lacks {' and '.join(missing)}")
    found = _read(folder / "adapter_config.json", field).get("peft_type")
    if found != "LORA":
        raise ConfigError(f"{field}: {path} holds an adapter of type {found!r}; only LORA is supported")


def check_attention(config: QwenWeightsConfig, on_gpu: bool, field: str = "policy") -> None:
    """See that the attention kernels asked for can run.

    Args:
        config: which kernels.
        on_gpu: whether the model is on one.
        field: where the job's config has the model.

    Raises:
        ConfigError: the package is missing, or they don't run on that device in that number format.
    """
    if config.attention != "flash_attention_2":
        return
    if importlib.util.find_spec("flash_attn") is None:
        raise ConfigError(
            f"{field}.attention: flash_attention_2 needs the package flash-attn, which isn't installed; "
            "install it on the workers, or take sdpa"
        )
    if not on_gpu or config.dtype == "float32":
        raise ConfigError(
            f"{field}.attention: flash_attention_2 runs on a GPU in bfloat16 or float16 only; take sdpa"
        )


def _read(file: Path, field: str) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{field}: {file} can't be read ({error}); fetch it again") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{field}: {file} holds no JSON object; fetch it again")
    return data


def _missing_weights(folder: Path, field: str) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = sorted(set(_read(index, field).get("weight_map", {}).values()))
        gone = [part for part in parts if not (folder / part).is_file()]
        return [f"{len(gone)} of {len(parts)} parts of its weights, {gone[0]} among them"] if gone else []
    if (folder / "model.safetensors").is_file():
        return []
    other = sorted(folder.glob("*.bin")) + sorted(folder.glob("*.pt")) + sorted(folder.glob("*.gguf"))
    instead = f" (there is {other[0].name}, but only safetensors are read)" if other else ""
    return [f"model.safetensors{instead}"]


def _missing_processor(folder: Path, field: str) -> list[str]:
    def lacks(*names: str) -> bool:
        return not any((folder / name).is_file() for name in names)

    missing = []
    if lacks("tokenizer.json") and (lacks("vocab.json") or lacks("merges.txt")):
        missing.append("the tokenizer (tokenizer.json)")
    if lacks("tokenizer_config.json"):
        missing.append("tokenizer_config.json")
    if lacks("preprocessor_config.json", "processor_config.json"):
        missing.append("the image processor (preprocessor_config.json or processor_config.json)")
    if lacks("chat_template.jinja", "chat_template.json") and (
        lacks("tokenizer_config.json")
        or "chat_template" not in _read(folder / "tokenizer_config.json", field)
    ):
        missing.append("the chat template (chat_template.jinja or chat_template.json)")
    return missing
