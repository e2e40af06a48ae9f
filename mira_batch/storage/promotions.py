"""Which adapter is promoted: numbered documents of a place, each created once. The highest number is current.

<place>/000001.json   an adapter, the base model that it is of, and why it was promoted

Nothing is overwritten, so a store needs no more than create-only puts; an earlier adapter becomes current
again when it is promoted anew, under the next number.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from mira_batch.config.base import is_remote
from mira_batch.config.models.local import PromptConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, RunConflict, StoreError, describe
from mira_batch.storage.run.layout import DamagedFile
from mira_batch.storage.stores import Store, open_store
from mira_batch.storage.weights import fetch_weights, name_weights

_FILE = re.compile(r"([0-9]{6}|[1-9][0-9]{6,})\.json")


@dataclass(frozen=True, slots=True)
class Promotion:
    """An adapter that was promoted."""

    adapter: str
    """Where it is."""
    digest: str
    """Of its files."""
    base: str
    """Where the model is that it is of."""
    base_identity: str
    """Of that model's files."""
    prompt: Mapping[str, Any]
    """The settings `prompt` that it was trained with, and is to be asked by."""
    why: str
    """In words."""
    number: int = 0
    """Which of the place's; 0 until it is there."""
    training: str | None = None
    """Directory of its training, with the model card."""
    turn: str | None = None
    """Directory of the turn of the flywheel that promoted it; None: a person did."""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """Of a turn: its data snapshot, runs, evaluations and what their comparison says."""
    again_of: int | None = None
    """The earlier promotion that this is made from, of one that was rolled back to."""
    at: str = ""
    """When, ISO 8601 in UTC."""
    by: str = ""
    """Who: name and machine."""


_FIX_EMPTY = (
    "check the name, or promote an adapter first, by `mira-batch flywheel` or `mira-batch promote`; until "
    "then leave policy.adapter out, which runs the base model"
)
_NEEDED = ("adapter", "digest", "base", "base_identity", "why", "at", "by")


def list_numbers(store: Store) -> list[int]:
    """The numbers of all promotions of a place, ascending.

    Args:
        store: the place.

    Raises:
        StoreError: it can't be listed.
    """
    found = (_FILE.fullmatch(entry.key) for entry in store.list(""))
    return sorted(number for match in found if match and (number := int(match[1])))


def open_place(place: str, storage: StorageConfig) -> Store:
    """A place of promotions that must be there, as somebody names it.

    Args:
        place: its directory.
        storage: how it is reached.

    Raises:
        ConfigError: there is no such directory, it is a file, or it has no promotion.
        StoreError: the store can't be used.
    """
    try:
        store = open_store(place, storage, make=False)
    except StoreError:
        if is_remote(place):
            raise
        what = "is a file, not a directory" if os.path.exists(place) else "there is no such directory"
        raise ConfigError(f"{place}: {what}; {_FIX_EMPTY}") from None
    if not list_numbers(store):
        raise ConfigError(f"{place}: has no promotion yet; {_FIX_EMPTY}")
    return store


def read_promotion(store: Store, number: int | None = None) -> Promotion | None:
    """A promotion; None where there is none.

    Args:
        store: the place.
        number: which; None: the current one.

    Raises:
        DamagedFile: it is not what it should be; it names the fix.
        StoreError: the store can't be used.
    """
    if number is None:
        numbers = list_numbers(store)
        if not numbers:
            return None
        number = numbers[-1]
    key = _name(number)
    return store.read(key, lambda data: _parse(data, store.locate(key), store.uri, number))


def _parse(data: bytes, where: str, place: str, number: int) -> Promotion:
    known = Promotion.__dataclass_fields__.keys() - {"number"}
    try:
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ValueError(f"it holds a {type(document).__name__}")
        if missing := [name for name in _NEEDED if not isinstance(document.get(name), str)]:
            raise ValueError(f"it lacks {', '.join(missing)}")
        prompt = PromptConfig.model_validate(document.get("prompt", {})).model_dump(mode="json")
        found = {name: document[name] for name in known if name in document}
        return replace(Promotion(**{**found, "prompt": prompt}), number=number)
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedFile(
            f"{where}: is damaged ({_describe(error)}); restore it, or promote another: mira-batch promote "
            f"{place} --to N, or with an ADAPTER"
        ) from None


def _describe(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"prompt{''.join(f'.{part}' for part in first['loc'])}: {first['msg']}"
    return describe(error).splitlines()[0]


def put_promotion(store: Store, promotion: Promotion, after: int) -> Promotion:
    """Promote: create the document of the next number. Of two at once one does.

    Args:
        store: the place.
        promotion: what; its number, time and author are filled in.
        after: the number of the promotion that was current when it was decided, 0 for none.

    Raises:
        RunConflict: another has been promoted since.
        StoreError: the store refuses.
    """
    number = after + 1
    made = replace(
        promotion,
        number=number,
        at=promotion.at or datetime.now(UTC).isoformat(),
        by=promotion.by or name_author(),
    )
    # The token tells this document from that of a rival who says the same.
    document = {"mira_batch": "promotion", "token": secrets.token_hex(8), **asdict(made)}
    if (highest := max(list_numbers(store), default=0)) <= after:
        if store.create(_name(number), json.dumps(document, indent=2).encode()):
            return made
        highest = number
    rival = read_promotion(store, highest)
    who = f" by {rival.by} at {rival.at}: {rival.adapter}" if rival else ""
    raise RunConflict(
        f"{store.uri}: promotion {highest} has come in between{who}. Nothing was promoted; look at it, and "
        "decide anew"
    )


def name_author() -> str:
    """Who is promoting: the user of this process, and its machine."""
    name = "unknown"
    with suppress(Exception):  # no entry for this user, as in many containers
        name = getpass.getuser()
    return f"{name}@{socket.gethostname()}"


def check_base(promotion: Promotion, weights: str, prompt: PromptConfig, storage: StorageConfig) -> None:
    """See that an adapter is used with the model and the prompt that it was trained with.

    Args:
        promotion: the adapter's.
        weights: `policy.weights`, the base model that it is to be used with.
        prompt: `policy.prompt`, how it is to be asked.
        storage: how a store is reached.

    Raises:
        ConfigError: it isn't; it names both.
    """
    name = f"promotion {promotion.number}, {promotion.adapter},"
    if not _is_same_model(promotion, weights, storage):
        raise ConfigError(
            f"policy.weights: is {weights}, and {name} is of {promotion.base} ({promotion.base_identity}); "
            "set policy.weights to that, or promote an adapter of this one"
        )
    trained = PromptConfig.model_validate(promotion.prompt)
    for setting in PromptConfig.model_fields:
        if (was := getattr(trained, setting)) != (now := getattr(prompt, setting)):
            raise ConfigError(
                f"policy.prompt.{setting}: is {json.dumps(now)}, and {name} was trained with "
                f"{json.dumps(was)}; set it so, or it is asked another question"
            )


def _is_same_model(promotion: Promotion, weights: str, storage: StorageConfig) -> bool:
    """By the files, where they lie on this machine; else by name."""
    if not is_remote(weights):
        return fetch_weights(weights, storage).identity == promotion.base_identity
    return weights == promotion.base or name_weights(weights) == name_weights(promotion.base)


def check_adapter(promotion: Promotion, storage: StorageConfig) -> None:
    """See that the adapter's files are those that were promoted. They are brought to this node.

    Args:
        promotion: the adapter's.
        storage: how it is reached.

    Raises:
        ConfigError: they are gone, or others.
        StoreError: the store failed.
    """
    try:
        found = fetch_weights(promotion.adapter, storage).identity
    except ConfigError as error:  # it speaks of a setting, which nobody has given
        raise ConfigError(
            f"{str(error).removeprefix('weights: ')}. It was promoted as number {promotion.number}; restore "
            "it, or promote another: `mira-batch promote PLACE --to N`, or with an ADAPTER"
        ) from None
    if found != promotion.digest:
        raise ConfigError(
            f"{promotion.adapter}: is not what was promoted as number {promotion.number} (its files have the "
            f"digest {found}, then {promotion.digest}); restore them, or promote another adapter"
        )


def _name(number: int) -> str:
    return f"{number:06d}.json"
