"""From a YAML or JSON file and `--set a.b=c` overrides to a checked config, or one readable error."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from mira_batch.config.base import SETTLED, find_models, find_tag
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.inspect import InspectConfig
from mira_batch.config.models import EditorConfig, JudgeConfig, PolicyConfig
from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import ConfigError

Lines = dict[tuple[str, ...], int]
"""Where each key stands in the file: path of keys -> line, from 1."""


JOBS: Mapping[str, type[JobConfig]] = {"edit": BulkEditConfig, "inspect": InspectConfig}
"""The config of each job, by the name that `job` has in it."""
Settings = tuple[str, dict[str, Any], Lines, frozenset[str]]
"""What to call the source in messages, its settings, where each stands, and the texts in which `$` stands for
itself."""
Source = str | os.PathLike[str] | Mapping[str, Any]
"""A YAML or JSON file, the `run.json` of an earlier run, or the settings as a mapping."""
C = TypeVar("C", bound=JobConfig)


def load_config(source: Source, overrides: Iterable[str] = ()) -> BulkEditConfig:
    """Load the config of a bulk edit.

    Args:
        source: a YAML or JSON file, the `run.json` of an earlier run, or the settings as a mapping.
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
    name, data, lines, settled = _read(source, overrides)
    wanted = data.setdefault("job", job or "edit")
    if not isinstance(wanted, str) or wanted not in JOBS:
        place = name if ("job",) not in lines else f"{name}:{lines['job',]}"
        raise ConfigError(f"{place}: job: {wanted!r} is no job; there are {', '.join(JOBS)}")
    if job is not None and wanted != job:
        raise ConfigError(
            f"{name}: job: is {wanted}, but {job} is wanted here; leave it out, or make a config of its own"
        )
    return _validate(JOBS[wanted], name, data, lines, settled)


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
    name, lines, settled = _name_source(source), {}, frozenset[str]()
    if isinstance(source, Mapping):
        data = _copy(source)
    else:
        data, lines, settled = _read_file(Path(source))
    for override in overrides:
        lines.pop(_apply(data, override), None)
    return name, data, lines, settled


def _validate(model: type[C], name: str, data: dict[str, Any], lines: Lines, settled: frozenset[str]) -> C:
    try:
        return model.model_validate(data, context={SETTLED: settled})
    except ValidationError as error:
        raise ConfigError(_explain(error, model, name, lines)) from None


def _name_source(source: Source) -> str:
    return "config" if isinstance(source, Mapping) else os.fspath(source)


def _copy(source: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in source.items()}


def _read_file(path: Path) -> tuple[dict[str, Any], Lines, frozenset[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: can't read the config file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file in UTF-8") from None
    form = "JSON" if path.suffix.lower() == ".json" else "YAML"
    try:
        # As YAML, JSON's 1e-05 would be a text and an escaped emoji two broken halves.
        data = json.loads(text) if form == "JSON" else yaml.safe_load(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: is not valid {form}: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: should hold settings such as 'input: …', found {type(data).__name__}")
    lines: Lines = {}
    settled = frozenset[str]()
    _find_lines(node, (), lines)
    if "config" in data and "mira_batch" in data:  # a run.json
        data = data["config"]
        lines = {keys[1:]: line for keys, line in lines.items() if keys[:1] == ("config",) and keys[1:]}
        settled = frozenset(_find_texts(data))  # a run is where it is, whatever the environment says today
    return data, lines, settled


def _find_texts(settings: Any) -> Iterator[str]:
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, dict | list):
        for inner in settings.values() if isinstance(settings, dict) else settings:
            yield from _find_texts(inner)


def _find_lines(node: yaml.Node | None, path: tuple[str, ...], lines: Lines) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            lines[(*path, str(key.value))] = key.start_mark.line + 1
            _find_lines(value, (*path, str(key.value)), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, str(index))] = value.start_mark.line + 1
            _find_lines(value, (*path, str(index)), lines)


def _apply(data: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set one override in place; returns the path it set."""
    dotted, equals, text = override.partition("=")
    keys = tuple(dotted.strip().split("."))
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: should look like workers.max=4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not valid YAML; quote it") from None
    target = data
    for depth, key in enumerate(keys[:-1]):
        if target.get(key) is None:  # absent, or switched off as in `judge: null`
            target[key] = {}
        target = target[key]
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override}: {'.'.join(keys[: depth + 1])} holds a value, not settings")
    target[keys[-1]] = value
    return keys


def _explain(error: ValidationError, model: type[BaseModel], name: str, lines: Lines) -> str:
    """One line per problem: file:line: field: what is wrong, and the fix where it is known."""
    problems = []
    for item in error.errors(include_url=False):
        path = tuple(str(part) for part in item["loc"])
        keys = _drop_tags(path, lines)
        place = name if keys not in lines else f"{name}:{lines[keys]}"
        problems.append(f"{place}: {'.'.join(keys) or 'config'}: {_describe(item, path, model)}")
    return "\n".join(problems)


_TAGS = {
    tag
    for union in (PolicyConfig, EditorConfig, JudgeConfig)
    for model in find_models(union)
    if (tag := find_tag(model))
}
"""The values that `type` may have."""


def _drop_tags(path: tuple[str, ...], lines: Lines) -> tuple[str, ...]:
    """Pydantic puts a union's tag into the path (policy.rules.x); users wrote policy.x."""
    keys: tuple[str, ...] = ()
    for part in path:
        if (
            part in _TAGS
            and keys
            and keys[-1] in {"policy", "editor", "model"}
            and (*keys, part) not in lines
        ):
            continue
        keys = (*keys, part)
    return keys


def _describe(item: Any, path: tuple[str, ...], model: type[BaseModel]) -> str:
    value = item.get("input")
    match item["type"]:
        case "extra_forbidden":
            known = _find_known_keys(path[:-1], model)
            near = difflib.get_close_matches(path[-1], known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
            return f"unknown key; {hint}"
        case "missing":
            return "is missing; it has no default"
        case "union_tag_invalid":
            return f"type {item['ctx']['tag']!r} is not one of {item['ctx']['expected_tags']}"
        case "union_tag_not_found":
            return f"needs a 'type' ({', '.join(sorted(_TAGS))})"
        case "value_error":
            return str(item["ctx"]["error"])
        case _:
            return f"{item['msg']}, found {value!r}"


def _find_known_keys(path: tuple[str, ...], root: type[BaseModel]) -> list[str]:
    """The field names of the config model at a path (union tags included), by walking annotations."""
    models: list[type[BaseModel]] = [root]
    for part in path:
        if part.isdigit():  # an index: the models of the list's items are already at hand
            continue
        if part in _TAGS:
            models = [m for m in models if find_tag(m) in (part, None)]
            continue
        fields = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        models = [m for annotation in fields for m in find_models(annotation)]
    return sorted({name for m in models for name in m.model_fields})
