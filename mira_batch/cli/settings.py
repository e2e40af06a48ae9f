"""How commands find the settings of what they are about: of a run, of its store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mira_batch.config.base import make_absolute
from mira_batch.config.load import load_job_config, load_run_config, load_storage
from mira_batch.config.shared import JobConfig, StorageConfig
from mira_batch.core.errors import ConfigError
from mira_batch.storage.run.calls import read_last_config
from mira_batch.storage.stores import open_store


def load_run(run: str | None, config: Path | None, sets: Sequence[str]) -> JobConfig:
    """The config of the job of a run that is named by its directory or by its config.

    Raises:
        ConfigError: not exactly one of both is given, or the config is wrong.
    """
    if (run is None) == (config is None):
        raise ConfigError("give the directory of a RUN, or the --config of its job, one of them")
    if config is not None:
        return load_job_config(config, sets)
    assert run is not None
    uri = make_absolute(run).rstrip("/")
    found = read_last_config(open_store(uri, read_storage(sets), make=False))
    return load_run_config(found, uri, sets)


def read_storage(sets: Sequence[str]) -> StorageConfig:
    """How a store is reached before any config of it is known: by `--set storage.…` and the environment.

    Raises:
        ConfigError: a setting is wrong.
    """
    return load_storage([text for text in sets if text.startswith("storage.")])


def quote(text: str) -> str:
    """A text as the YAML of a `--set` reads it back."""
    return "'" + text.replace("'", "''") + "'"
