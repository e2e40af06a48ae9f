"""Which pipelines are known, where their class is, and whether a folder holds one."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

from mira_batch.core.errors import ConfigError
from mira_batch.models.diffusion.pipelines.batch import Family
from mira_batch.models.diffusion.pipelines.flux2 import FLUX2, KLEIN
from mira_batch.models.diffusion.pipelines.generic import GENERIC, PIX2PIX, PIX2PIX_XL
from mira_batch.models.diffusion.pipelines.kontext import KONTEXT
from mira_batch.models.diffusion.pipelines.qwen_edit import QWEN_EDIT, QWEN_EDIT_PLUS
from mira_batch.models.diffusion.pipelines.step1x import STEP1X
from mira_batch.models.imports import import_foreign
from mira_batch.models.torch_support import count_loaded_bytes, list_weight_files

_NO_WEIGHTS = re.compile(r"(Tokenizer(Fast)?|Processor(Fast)?|Scheduler|FeatureExtractor)$")


def find_family(name: str, index: dict[str, Any]) -> Family:
    """The family of the class `name`, given its `model_index.json`."""
    match name:
        case "FluxKontextPipeline":
            return KONTEXT
        case "QwenImageEditPipeline":
            return QWEN_EDIT
        case "QwenImageEditPlusPipeline":
            return QWEN_EDIT_PLUS
        case "Flux2KleinPipeline":
            # Base models have the same class and are not distilled to four steps.
            return KLEIN if index.get("is_distilled") else FLUX2
        case "Flux2Pipeline":
            return FLUX2
        case "StableDiffusionInstructPix2PixPipeline":
            return PIX2PIX
        case "StableDiffusionXLInstructPix2PixPipeline":
            return PIX2PIX_XL
        case "Step1XEditPipelineV1P2":
            return STEP1X
        case _:
            return GENERIC


def import_pipeline(path: str) -> Any:
    """The class at a dotted path.

    Raises:
        ConfigError: the module or the class is missing, or is no pipeline.
    """
    module_name, _, name = path.rpartition(".")
    module = import_foreign(
        module_name,
        f"editor.pipeline: module {module_name} of {path}",
        "install it on the workers, or put its folder on their PYTHONPATH",
    )
    found = getattr(module, name, None)
    if found is None:
        close = difflib.get_close_matches(name, [n for n in dir(module) if n.endswith("Pipeline")], 3)
        version = getattr(module, "__version__", "")
        raise ConfigError(
            f"editor.pipeline: {f'{module_name} {version}'.strip()} has no {name}"
            + (f"; near it are {', '.join(close)}" if close else "")
        )
    if not callable(getattr(found, "from_pretrained", None)) or not callable(found):
        raise ConfigError(f"editor.pipeline: {path} is no pipeline: it has no from_pretrained")
    return found


def check_pipeline_files(path: Path, pipeline: str) -> dict[str, Path]:
    """See, without loading anything, that `path` holds weights for the class at the dotted path `pipeline`.

    Returns the folders of the components that have weights, by name.

    Raises:
        ConfigError: no pipeline is there, it is of another class, or weights are missing, cut off or not
            safetensors.
    """
    index = read_index(path)
    module, _, wanted = pipeline.rpartition(".")
    found = index["_class_name"]
    # A class of the user's own may well load what another one saved.
    if found != wanted and module.partition(".")[0] == "diffusers":
        raise ConfigError(
            f"editor.pipeline: {wanted} was asked for, but editor.weights ({path}) holds a {found}; "
            f"set pipeline: diffusers.{found}, or other weights"
        )
    folders = {}
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list) or len(entry) != 2 or not entry[1]:
            continue
        library, class_name = entry
        folder = path / name
        if not folder.is_dir():
            raise ConfigError(f"editor.weights: {path} lacks the folder {name} of its {class_name}; copy it")
        if (folder / f"{library}.py").exists():
            raise ConfigError(
                f"editor.weights: {folder} brings code of its own ({library}.py), which isn't run"
            )
        if not _NO_WEIGHTS.search(class_name):
            folders[name] = folder
            _check_component(folder, class_name)
    return folders


def read_index(path: Path) -> dict[str, Any]:
    """The `model_index.json` of a pipeline's folder.

    Raises:
        ConfigError: there is none, or it can't be read.
    """
    file = path / "model_index.json"
    if not file.is_file():
        raise ConfigError(
            f"editor.weights: {path} has no model_index.json, so it holds no pipeline of diffusers; name the "
            "folder that save_pretrained or a download of the whole repository gave"
        )
    try:
        index = json.loads(file.read_text())
    except ValueError as error:
        raise ConfigError(f"editor.weights: {file} is no JSON ({error}); copy it again") from error
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise ConfigError(f"editor.weights: {file} names no class, or one with code of its own; it isn't run")
    return index


def _check_component(folder: Path, class_name: str) -> None:
    files = list_weight_files(folder)
    if not files:
        others = sorted(p.name for pattern in ("*.bin", "*.pt", "*.ckpt") for p in folder.glob(pattern))
        what = f"only {', '.join(others[:3])}, which may run code when it is read" if others else "no weights"
        raise ConfigError(
            f"editor.weights: {folder} has {what}; safetensors are wanted for its {class_name} "
            "(save_pretrained writes them)"
        )
    count_loaded_bytes(files, "float32")
