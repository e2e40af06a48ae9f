"""Writes all tiny models below one directory, and sees that nothing else is there."""

from __future__ import annotations

from pathlib import Path

from mira_batch.core.errors import ConfigError
from mira_batch.models.torch_support import prepare

MARKER = ".mira-batch-tiny"
"""File that says a directory was made here, and may be written again."""


def make_tiny(directory: Path) -> dict[str, Path]:
    """Write all tiny models below `directory`, the same bytes each time: name -> the model's directory.

    Raises:
        ConfigError: `directory` holds something else already.
    """
    from mira_batch.models.tiny.diffusion import write_pipelines
    from mira_batch.models.tiny.qwen import write_qwen2_5_vl, write_qwen3_vl

    claim(directory)
    prepare()
    from transformers.utils import logging

    logging.disable_progress_bar()
    qwen = {"qwen2.5-vl": write_qwen2_5_vl, "qwen3-vl": write_qwen3_vl}
    for name, write in qwen.items():
        write(directory / name)
    return {name: directory / name for name in qwen} | write_pipelines(directory)


def claim(directory: Path) -> None:
    """Make `directory`, and mark it as one of ours before anything is written to it.

    Raises:
        ConfigError: it is a file, can't be written, or holds something that was not made here.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is a file; name a directory for the tiny models")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / MARKER).is_file():
        raise ConfigError(f"{directory} holds other files; name a new or empty directory for the tiny models")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / MARKER).write_text("Written by mira_batch.models.tiny; may be written again.\n")
    except OSError as error:
        raise ConfigError(
            f"{directory}: can't be written ({error.strerror}); name another directory"
        ) from None
