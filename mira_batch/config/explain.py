"""What is wrong with a config, a line for each problem: where, which field, and the fix, in users' words."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from mira_batch.config.base import find_models, find_tag
from mira_batch.config.document import Lines, Path
from mira_batch.config.models import EditorConfig, JudgeConfig, PolicyConfig

_TAGS = {
    tag
    for union in (PolicyConfig, EditorConfig, JudgeConfig)
    for model in find_models(union)
    if (tag := find_tag(model))
}
"""The values that `type` may have."""
_FIELD = re.compile(r"(?P<field>[a-z_]\w*(?:\.[a-z_]\w*)*): (?P<rest>.+)", re.DOTALL)
_MOST_SHOWN = 80
"""Characters shown of a value."""
_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
}
"""What pydantic's error types begin with, in words."""
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


class Places:
    """Where each setting was written: in a file, in `--set`, or in a mapping."""

    def __init__(self, name: str, lines: Lines, comments: Mapping[Path, str]) -> None:
        """
        Args:
            name: what to call the file or mapping.
            lines: the lines of its keys.
            comments: those that stand in the place of a value.
        """
        self.name = name
        self.lines = lines
        self.comments = comments
        self._sets: dict[Path, str] = {}

    def override(self, path: Path, text: str) -> None:
        """Note that `--set` gave this setting."""
        self._sets.pop(path, None)
        self._sets[path] = text

    def find(self, path: Path) -> str:
        """The place to look at when this setting is wrong."""
        above = [text for keys, text in self._sets.items() if path[: len(keys)] == keys]
        if above:
            return f"--set {above[-1]}"
        for depth in range(len(path), 0, -1):  # else at what it is part of, the nearest that was written
            part = path[:depth]
            below = [text for keys, text in self._sets.items() if keys[:depth] == part]
            if part in self.lines:
                place = f"{self.name}:{self.lines[part]}"
                return f"{place} with --set {below[-1]}" if below and part == path else place
            if below:
                return f"--set {below[-1]}"
        return self.name


def explain(error: ValidationError, model: type[BaseModel], places: Places) -> str:
    """One line per problem.

    Args:
        error: what pydantic found.
        model: the config's class.
        places: where its settings were written.
    """
    problems = []
    for item in error.errors(include_url=False):
        path = tuple(str(part) for part in item["loc"])
        keys = _drop_tags(path, places.lines)
        words = _describe(item, path, model)
        below, words = _take_field(words, path, model) if item["type"] == "value_error" else ((), words)
        keys += below
        if comment := places.comments.get(keys) if item.get("input") is None else None:
            words += f"; {comment!r} is a comment in YAML: put it in quotes if it was meant as the value"
        problems.append(": ".join([places.find(keys), *([".".join(keys)] if keys else []), words]))
    return "\n".join(problems)


def _take_field(words: str, path: Path, model: type[BaseModel]) -> tuple[Path, str]:
    """The field that words about a whole section begin with, as its path below the section, and the rest."""
    found = _FIELD.fullmatch(words)
    if found and (keys := tuple(found["field"].split(".")))[0] in _find_known_keys(path, model):
        return keys, found["rest"]
    return (), words


def _drop_tags(path: Path, lines: Lines) -> Path:
    """Pydantic puts a union's tag into the path (policy.rules.x); users wrote policy.x."""
    keys: Path = ()
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


def _describe(item: Any, path: Path, model: type[BaseModel]) -> str:
    value, kind, context = item.get("input"), item["type"], item.get("ctx", {})
    match kind:
        case "extra_forbidden":
            known = _find_known_keys(path[:-1], model)
            near = difflib.get_close_matches(path[-1], known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
            return f"unknown key; {hint}"
        case "missing":
            return "is missing; it has no default"
        case "union_tag_invalid":
            tags = _list_tags(path, model)
            return f"type {context['tag']!r} is not known here; {_offer(str(context['tag']), tags)}"
        case "union_tag_not_found":
            return f"needs a 'type': {_list(_list_tags(path, model))}"
        case "value_error":
            return str(context["error"])
        case "invalid_key":
            return "a key should be text; put it in quotes"
        case "literal_error":
            options = [part.strip("'") for part in context["expected"].replace(" or ", ", ").split(", ")]
            return f"{_offer(str(value), options)}, found {show_value(value)}{_hint_quotes(value)}"
        case "string_pattern_mismatch":
            return f"should be {_name_form(path, model, context['pattern'])}, found {show_value(value)}"
        case _ if kind in _BOUNDS:
            words, name = _BOUNDS[kind]
            bound = context[name]
            shown = f"{bound:g}" if isinstance(bound, float) else f"{bound:,}"
            return f"should be {words} {shown}, found {show_value(value)}"
        case _ if kind.split("_")[0] in _WANTED:
            wanted = _WANTED[kind.split("_")[0]]
            hint = _hint_quotes(value) if wanted == "text" else ""
            return f"should be {wanted}, found {show_value(value)}{hint}"
        case _ if kind.startswith(("model", "dict", "mapping")):
            tags = _list_tags(path, model)
            example = f"{{type: {tags[0]}}}" if tags else "name: value"
            return f"should be settings such as {example}, found {show_value(value)}"
        case _:
            return f"{item['msg'].replace('Input', 'it', 1)}, found {show_value(value)}"


def show_value(value: Any) -> str:
    """A value as one writes it in YAML, short."""
    if isinstance(value, str):
        text = repr(value)
    elif value is None:
        text = "no value"
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} …"


def _hint_quotes(value: Any) -> str:
    """Why YAML made something else of a word, and how to keep it a word."""
    if isinstance(value, bool):
        return "; YAML reads yes, no, on and off as true and false: put a word in quotes"
    return "" if value is None or isinstance(value, str | list | dict) else "; put it in quotes"


def _name_form(path: Path, root: type[BaseModel], pattern: str) -> str:
    """The form that a text must have, in words where its field has any."""
    for model in _find_models_at(path[:-1], root):
        field = model.model_fields.get(path[-1])
        extra = field.json_schema_extra if field else None
        if isinstance(extra, dict) and "form" in extra:
            return str(extra["form"])
    return f"of the form {pattern}"


def _offer(found: str, options: Sequence[str]) -> str:
    near = difflib.get_close_matches(found, options, n=1)
    return f"should be {_list(options)}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _list(options: Sequence[str]) -> str:
    quoted = [repr(option) for option in options]
    return ", ".join(quoted[:-1]) + " or " * (len(quoted) > 1) + quoted[-1]


def _list_tags(path: Path, root: type[BaseModel]) -> list[str]:
    """The values that `type` may have in the settings at a path."""
    tags = [find_tag(model) for model in _find_models_at(path, root)]
    return [tag for tag in tags if tag is not None]


def _find_models_at(path: Path, root: type[BaseModel]) -> list[type[BaseModel]]:
    """The config models at a path (union tags included), by walking annotations."""
    models: list[type[BaseModel]] = [root]
    for part in path:
        if part.isdigit():  # an index: the models of the list's items are already at hand
            continue
        if part in _TAGS:
            models = [m for m in models if find_tag(m) in (part, None)]
            continue
        fields = [m.model_fields[part].annotation for m in models if part in m.model_fields]
        models = [m for annotation in fields for m in find_models(annotation)]
    return models


def _find_known_keys(path: Path, root: type[BaseModel]) -> list[str]:
    """The field names of the config model at a path."""
    return sorted({name for m in _find_models_at(path, root) for name in m.model_fields})
