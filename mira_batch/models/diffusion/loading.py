"""Loading a pipeline of diffusers, or its transformer alone, from a folder that was looked at before."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from mira_batch.core.errors import ConfigError, MiraError, describe
from mira_batch.models.diffusion.pipelines.families import read_index
from mira_batch.models.torch_support import find_dtype


def load_pipeline(kind: Any, path: Path, pipeline: str, dtype: str, **options: Any) -> Any:
    """A pipeline with its weights in main memory. A boundary: anything may be wrong in a folder of weights.

    Args:
        kind: its class.
        path: the folder.
        pipeline: what the class is called, for messages.
        dtype: number format of the weights.
        options: further arguments of `from_pretrained`.

    Raises:
        ConfigError: it can't be loaded.
    """
    return _load(kind, path, pipeline, dtype, options)


def load_transformer(path: Path, dtype: str) -> Any:
    """The transformer of a pipeline, in main memory.

    Args:
        path: the pipeline's folder.
        dtype: number format of the weights.

    Raises:
        ConfigError: it has none, or it can't be loaded.
    """
    library, name = read_index(path).get("transformer") or (None, None)
    kind = getattr(importlib.import_module("diffusers"), name or "", None) if library == "diffusers" else None
    if kind is None:
        raise ConfigError(f"editor.weights: {path} has no transformer of diffusers; it can't be taught")
    return _load(kind, path / "transformer", name or "", dtype, {})


def _load(kind: Any, path: Path, called: str, dtype: str, options: dict[str, Any]) -> Any:
    import diffusers
    import transformers

    for library in (diffusers, transformers):  # of loading: a worker's log is no place for it
        library.utils.logging.disable_progress_bar()
    # Older diffusers, as forks of it are, would pass over the new name and load in float32.
    name = "dtype" if tuple(map(int, diffusers.__version__.split(".")[:2])) >= (0, 42) else "torch_dtype"
    try:
        return kind.from_pretrained(
            str(path), use_safetensors=True, local_files_only=True, **{name: find_dtype(dtype)}, **options
        )
    except MiraError:
        raise
    except Exception as error:
        raise ConfigError(f"editor.weights: {path} can't be loaded as {called}: {describe(error)}") from error
