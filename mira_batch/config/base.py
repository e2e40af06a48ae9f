"""What all config models share: strictness, and how locations are written."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, get_args
from urllib.parse import unquote_to_bytes

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, model_validator

from mira_batch.core.errors import ConfigError
from mira_batch.core.text import clean_text


class Strict(BaseModel):
    """Base of every config model: unknown keys fail, values never change, docstrings are the docs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _mark_switches(cls, data: Any) -> Any:
        """Python, and so pydantic, takes true for the number 1."""
        if not isinstance(data, dict):
            return data
        numbers = {name for name, field in cls.model_fields.items() if _takes_numbers_alone(field.annotation)}
        return {name: _mark(value) if name in numbers else value for name, value in data.items()}


class Switch(str):
    """true or false in the place of a number: a text, which no number is made of."""

    def __repr__(self) -> str:
        return str(self)


def _takes_numbers_alone(annotation: Any) -> bool:
    kinds = _find_leaves(annotation)
    return bool({int, float} & kinds) and not {bool, Any} & kinds


def _find_leaves(annotation: Any) -> set[Any]:
    """The types that an annotation is made of."""
    parts = get_args(annotation)
    return {leaf for part in parts for leaf in _find_leaves(part)} if parts else {annotation}


def _mark(value: Any) -> Any:
    """The value, each true and false in it marked."""
    if isinstance(value, dict):
        return {key: _mark(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_mark(part) for part in value]
    return Switch(str(value).lower()) if isinstance(value, bool) else value


_NO_NAME = re.compile("[\0\ud800-\udfff]")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SLASH_LOST = re.compile(r"^(s3a?|gs|gcs|az|abfss?|https?):/?(?!/)", re.IGNORECASE)
"""How a URI begins that lacks a slash: taken for a path, results would go to a folder of that name here."""
_FILE = re.compile(r"^file:(?://(?P<host>[^/]*))?(?P<path>/.*)?$", re.IGNORECASE | re.DOTALL)
_VARIABLE = re.compile(r"\$(?P<literal>\$)?(?:(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[^}]*)\})", re.ASCII)
SETTLED = "settled"
"""In a validation's context: texts in which `$` stands for itself, as in the config of a `run.json`."""


class LocationError(ConfigError, ValueError):
    """A text names no place. A ValueError as well, so that a config names the field that it is in."""


def is_remote(location: str) -> bool:
    """Whether a location names a scheme other than the local file system."""
    return bool(_SCHEME.match(location)) and not location.lower().startswith("file:")


def read_file_uri(location: str) -> str | None:
    """The path that a file URI stands for (RFC 8089), percent-decoded; None for anything else.

    Raises:
        LocationError: it names another machine, or no path that a file can have.
    """
    found = _FILE.match(location)
    if found is None or (found["host"] is None and found["path"] is None):
        return None  # `file:name` is a name
    host = found["host"] or ""
    if host.lower() not in ("", "localhost"):
        raise LocationError(
            f"a file URI reaches this machine only, and this one names {host.rpartition('@')[2]!r}; write "
            "file:///folder/name, or a path without file://"
        )
    if not found["path"]:
        raise LocationError(f"{location}: names no path; write file:///folder/name")
    try:
        path = unquote_to_bytes(found["path"]).decode()
    except UnicodeDecodeError:
        raise LocationError(f"{location}: its %xx are not UTF-8; write the path without file://") from None
    if "\0" in path:
        raise LocationError(f"{location}: no path can hold a NUL (%00)")
    return path


def make_absolute(location: str) -> str:
    """A local path made absolute (so that run.json means the same everywhere); a URI unchanged, its key too:
    in `s3://bucket/a#1?%20` each character is part of the name.

    Raises:
        LocationError: it is empty, holds a password, or is no path of this machine.
    """
    if not location.strip():
        raise LocationError("a location is empty; the working directory is .")
    if _NO_NAME.search(location):
        raise LocationError(f"{clean_text(location)!r} holds a character that no file's name can have")
    if is_remote(location):
        if re.match(r"^[^:]+://[^/]*:[^/]*@", location):
            raise LocationError(
                "a location must not hold a password; credentials belong into the environment"
            )
        scheme, _, rest = location.partition("://")
        location = f"{scheme.lower()}://{rest}"
        return location.rstrip("/") if location.count("/") > 2 else location
    if lost := _SLASH_LOST.match(location):
        uri = f"{lost[1].lower()}://{location[lost.end() :]}"
        raise LocationError(
            f"{location}: a slash is missing; write {uri}; a folder of that name is ./{location}"
        )
    path = read_file_uri(location)
    if path is None:
        path = os.path.expanduser(location)
        if path.startswith("~"):
            name = path.split("/")[0]
            raise LocationError(f"{location}: there is no user for {name}; a folder of that name is ./{name}")
    try:
        return os.path.abspath(path)
    except FileNotFoundError:  # of a relative one
        raise LocationError(f"{location}: the working directory is gone; give an absolute path") from None


def expand_variables(text: str) -> str:
    """A text with `$NAME` and `${NAME}` replaced by the environment's values; `$$NAME` stands for `$NAME`.

    Raises:
        ValueError: a variable is not set; it names it.
    """

    def look_up(found: re.Match[str]) -> str:
        if found["literal"]:
            return found[0][1:]
        value = os.environ.get(found["name"] or found["braced"])
        if not value:
            state = "is not set" if value is None else "is empty"
            raise ValueError(
                f"{found[0]} {state} in the environment; set it, or write ${found[0]} if the name itself "
                "holds a dollar sign"
            )
        return value

    return _VARIABLE.sub(look_up, text)


def _expand(text: str, info: ValidationInfo) -> str:
    """Only what users wrote: what is on record, and what travels to workers, is expanded already."""
    if info.context is None or text in info.context[SETTLED]:
        return text
    return expand_variables(text)


Expanded = Annotated[str, AfterValidator(_expand)]
"""A text in which `load_config` replaces `$NAME` and `${NAME}`."""
Location = Annotated[Expanded, AfterValidator(make_absolute)]
"""A local path or a URI (s3://, gs://, az://, file://); relative paths start at the working directory."""


def find_secrets(settings: Any, name: str = "") -> list[str]:
    """What of nested settings is a secret: by its name, or a password within a URL."""
    if isinstance(settings, dict):
        return [found for key, value in settings.items() for found in find_secrets(value, str(key))]
    if isinstance(settings, list):
        return [found for value in settings for found in find_secrets(value, name)]
    if re.search(r"KEY|TOKEN|SECRET|PASSWORD", name, re.IGNORECASE):
        return [name]
    return [f"the password in {name}"] if re.search(r"://[^/\s]*@", str(settings)) else []


def find_models(annotation: Any) -> list[type[BaseModel]]:
    """The config models that a field's type names, in order: of a union each of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in find_models(part)]


def find_tag(model: type[BaseModel]) -> str | None:
    """What `type` says in a config of this model; None where it has none."""
    field = model.model_fields.get("type")
    return get_args(field.annotation)[0] if field else None
