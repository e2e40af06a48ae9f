"""What all config models share: strictness, and how locations are written."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from mira_batch.core.text import clean_text


class Strict(BaseModel):
    """Base of every config model: unknown keys fail, values never change, docstrings are the docs."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

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


def is_remote(location: str) -> bool:
    """Whether a location names a scheme other than the local file system."""
    return bool(_SCHEME.match(location)) and not location.lower().startswith("file://")


def make_absolute(location: str) -> str:
    """A local path made absolute (so that run.json means the same everywhere); a URI unchanged."""
    if _NO_NAME.search(location):
        raise ValueError(f"{clean_text(location)!r} holds a character that no file's name can have")
    if is_remote(location):
        if re.match(r"^[^:]+://[^/]*:[^/]*@", location):
            raise ValueError("must not hold a password; credentials belong into the environment")
        return location.rstrip("/") if location.count("/") > 2 else location
    path = re.sub(r"^file://", "", location, flags=re.IGNORECASE)
    return os.path.abspath(os.path.expanduser(path))


Location = Annotated[str, AfterValidator(make_absolute)]
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
