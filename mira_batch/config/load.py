"""From a YAML or JSON file and `--set a.b=c` overrides to a checked config, or one readable error."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mira_batch.config.base import SETTLED, Strict
from mira_batch.config.document import DocumentError, read_document, read_value
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.config.explain import Places, explain
from mira_batch.config.export import ExportConfig
from mira_batch.config.inspect import InspectConfig
from mira_batch.config.shared import JobConfig, StorageConfig
from mira_batch.core.errors import ConfigError

_MOST_BYTES = {"YAML": 2_000_000, "JSON": 100_000_000}
"""A `run.json` names every file of its manifest."""
_CALLS = "calls/[0-9]*.json"
"""Beside a `run.json`: the configs of later calls that had another one; see `storage/run/layout.py`."""
_IGNORED = "x-"
"""What the names of top-level keys begin with that hold no settings: anchors for aliases elsewhere, say."""
JOBS: Mapping[str, type[JobConfig]] = {
    "edit": BulkEditConfig,
    "inspect": InspectConfig,
    "evaluate": EvaluateConfig,
}
"""The config of each job, by the name that `job` has in it."""
_COMMANDS = ("construct", "counterfactual")
"""Jobs that run no records themselves: each is for the command of its name."""
Settings = tuple[dict[str, Any], Places, frozenset[str]]
"""The settings of a source, where each was written, and the texts in which `$` stands for itself."""
Source = str | os.PathLike[str] | Mapping[str, Any]
"""A YAML or JSON file, the `run.json` of an earlier run, or the settings as a mapping."""
C = TypeVar("C", bound=BaseModel)


def load_config(source: Source, overrides: Iterable[str] = ()) -> BulkEditConfig:
    """Load the config of a bulk edit.

    Args:
        source: a YAML or JSON file, the `run.json` of an earlier run (which stands for the config of that
            run's last call), or the settings as a mapping.
        overrides: settings of the form `workers.max=4`; the value is read as YAML.

    Raises:
        ConfigError: naming the file, line, field and value, and what would be right.
    """
    config = load_job_config(source, overrides)
    if not isinstance(config, BulkEditConfig):
        raise ConfigError(
            f"{_name_source(source)}: job: is {config.job}, but a bulk edit is wanted here (job: edit)"
        )
    return config


def load_job_config(source: Source, overrides: Iterable[str] = (), job: str | None = None) -> JobConfig:
    """Load the config of any job of this package, which its `job` names: edit, where it is left out.

    Args:
        source, overrides: as `load_config` takes them.
        job: the job that is wanted, where the config does not say.

    Raises:
        ConfigError: as `load_config`; also where the config is of another job than is wanted.
    """
    data, places, settled = _read(source, overrides)
    wanted = data.setdefault("job", job or "edit")
    model = _find_job(wanted, places)
    if job is not None and wanted != job:
        raise ConfigError(
            f"{places.find(('job',))}: job: is {wanted}, but {job} is wanted here; leave it out, or make a "
            "config of its own"
        )
    return _validate(model, data, places, settled)


def load_run_config(config: Mapping[str, Any], uri: str, overrides: Iterable[str] = ()) -> JobConfig:
    """Load the config that a run was called with, to do something about that very run, wherever it lies now.

    Args:
        config: as its `run.json` or the document of its last call has it.
        uri: the run's directory.
        overrides: as `load_config` takes them.

    Raises:
        ConfigError: as `load_config`.
    """
    output, _, name = uri.rpartition("/")
    data, places = _copy(config), Places(f"{uri}/run.json", {}, {})
    data |= {"output": {**data.get("output", {}), "uri": output}, "run_id": name}
    settled = frozenset(_find_texts(data))
    for override in overrides:
        places.override(_apply(data, override), override)
    return _validate(_find_job(data.get("job", "edit"), places), data, places, settled)


def load_storage(overrides: Iterable[str]) -> StorageConfig:
    """How a store is reached of which no config is known.

    Args:
        overrides: settings such as `storage.endpoint_url=http://…`.

    Raises:
        ConfigError: one is wrong.
    """
    data, places = dict[str, Any](), Places("config", {}, {})
    for override in overrides:
        places.override(_apply(data, override), override)
    return _validate(_Reaching, data, places, frozenset()).storage


def load_export(options: Mapping[str, Any], overrides: Iterable[str]) -> ExportConfig:
    """The config of an export.

    Args:
        options: its fields, by name; what is None is as if it were not there.
        overrides: settings such as `workers.max=4` or `storage.endpoint_url=http://…`.

    Raises:
        ConfigError: one is wrong.
    """
    data = _copy({name: value for name, value in options.items() if value is not None})
    places, settled = Places("export", {}, {}), frozenset(_find_texts(data))
    for override in overrides:
        places.override(_apply(data, override), override)
    return _validate(ExportConfig, data, places, settled)


class _Reaching(Strict):
    storage: StorageConfig = StorageConfig()


def _find_job(name: Any, places: Places) -> type[JobConfig]:
    if name in _COMMANDS:
        raise ConfigError(f"{places.find(('job',))}: job: {name} is for `mira-batch {name}`")
    if not isinstance(name, str) or name not in JOBS:
        raise ConfigError(f"{places.find(('job',))}: job: {name!r} is no job; there are {', '.join(JOBS)}")
    return JOBS[name]


def load_own_config(model: type[C], source: Source, overrides: Iterable[str] = ()) -> C:
    """Load the config of a job of your own.

    Args:
        model: its class.
        source, overrides: as `load_config` takes them.

    Raises:
        ConfigError: as `load_config`.
    """
    return _validate(model, *_read(source, overrides))


def _read(source: Source, overrides: Iterable[str]) -> Settings:
    """The settings of a source, overrides applied."""
    if isinstance(source, Mapping):
        data, places, settled = _copy(source), Places(_name_source(source), {}, {}), frozenset[str]()
    else:
        data, places, settled = _read_file(FilePath(source))
    data = {key: value for key, value in data.items() if not str(key).startswith(_IGNORED)}
    for override in overrides:
        places.override(_apply(data, override), override)
    return data, places, settled


def _validate(model: type[C], data: dict[str, Any], places: Places, settled: frozenset[str]) -> C:
    try:
        return model.model_validate(data, context={SETTLED: settled})
    except ValidationError as error:
        raise ConfigError(explain(error, model, places)) from None


def _name_source(source: Source) -> str:
    return "config" if isinstance(source, Mapping) else os.fspath(source)


def _copy(source: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in source.items()}


def _read_file(path: FilePath) -> Settings:
    form = "JSON" if path.suffix.lower() == ".json" else "YAML"
    try:
        with open(path, "rb") as file:
            raw = file.read(_MOST_BYTES[form] + 1)
        if len(raw) > _MOST_BYTES[form]:
            raise ConfigError(f"{path}: is too large for a config file; is it the manifest?")
        document = read_document(raw.decode("utf-8-sig"), form)
    except OSError as error:
        raise ConfigError(f"{path}: can't read the config file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file in UTF-8") from None
    except DocumentError as error:
        place = path if error.line is None else f"{path}:{error.line}"
        raise ConfigError(f"{place}: {error}") from None
    data, lines, comments, settled = document.data, document.lines, document.comments, frozenset[str]()
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise ConfigError(f"{path}: should hold settings such as 'input: …', found {found}")
    if "config" in data and "mira_batch" in data:  # a run.json
        if later := list(path.parent.glob(_CALLS)) if path.name == "run.json" else []:
            return _read_file(max(later, key=lambda call: (len(call.name), call.name)))
        data = data["config"]
        lines = {keys[1:]: line for keys, line in lines.items() if keys[:1] == ("config",) and keys[1:]}
        settled = frozenset(_find_texts(data))  # a run is where it is, whatever the environment says today
    return data, Places(str(path), lines, comments), settled


def _find_texts(settings: Any) -> Iterator[str]:
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict | list):
        for inner in settings.values() if isinstance(settings, dict) else settings:
            yield from _find_texts(inner)


def _apply(data: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set one override in place; returns the path it set."""
    dotted, equals, text = override.partition("=")
    keys = tuple(key.strip() for key in dotted.split("."))
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: should look like workers.max=4")
    try:
        value = read_value(text)
    except DocumentError as error:
        hint = "; put it in quotes if it is text" if "not valid" in str(error) else ""
        raise ConfigError(f"--set {override}: the value {error}{hint}") from None
    target = data
    for depth, key in enumerate(keys[:-1]):
        if target.get(key) is None:  # absent, or switched off as in `judge: null`
            target[key] = {}
        target = target[key]
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override}: {'.'.join(keys[: depth + 1])} holds a value, not settings")
    target[keys[-1]] = value
    return keys
