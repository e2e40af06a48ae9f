"""Promotions by hand: an adapter of any training, or an earlier promotion anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mira_batch.config.models.local import PromptConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.storage.promotions import (
    Promotion,
    check_adapter,
    list_numbers,
    open_place,
    put_promotion,
    read_promotion,
)
from mira_batch.storage.run.layout import DamagedFile, read_document
from mira_batch.storage.stores import Store, check_create_only, open_store
from mira_batch.storage.weights import fetch_weights

_SETTINGS = ("train.json", "grpo.json", "nft.json")
"""Where a training notes its settings: policy-sft, policy-grpo."""


def promote_adapter(place: str, adapter: str, why: str, storage: StorageConfig) -> Promotion:
    """Promote the adapter of a training.

    Args:
        place: of promotions; made where there is none.
        adapter: the training's output, or the adapter's directory in it.
        why: in words.
        storage: how both are reached.

    Raises:
        ConfigError: there is no complete training, or it gave no adapter.
        RunConflict: another was promoted in the same moment.
        StoreError: a document is damaged, or a store can't be used.
    """
    training, result, settings = read_training(adapter, storage)
    if result.get("learned") != "adapter":
        raise ConfigError(
            f"{training.uri}: gave a whole model; name it in policy.weights, no promotion needed"
        )
    own = training.locate("adapter")
    model = settings["config"]["model"]["weights"]
    identity = result.get("base_identity") or fetch_weights(model, storage).identity
    prompt = PromptConfig.model_validate(settings["config"].get("prompt", {}))
    store = open_store(place, storage)
    check_create_only(store)
    promotion = Promotion(
        adapter=own,
        digest=fetch_weights(own, storage).identity,
        base=model,
        base_identity=identity.partition(" adapter=")[0],
        prompt=prompt.model_dump(mode="json"),
        why=why,
        training=training.uri,
    )
    return put_promotion(store, promotion, after=max(list_numbers(store), default=0))


def promote_anew(place: str, number: int, why: str, storage: StorageConfig) -> Promotion:
    """Make an earlier promotion current again, as a new one.

    Args:
        place: of promotions.
        number: which.
        why: in words.
        storage: how it is reached.

    Raises:
        ConfigError: there is none of that number, it is current, or its adapter is no longer what it was.
        RunConflict: another was promoted in the same moment.
        StoreError: it is damaged, or a store can't be used.
    """
    store = open_place(place, storage)
    numbers = list_numbers(store)
    if number not in numbers:
        raise ConfigError(f"{place}: has no promotion {number}; there are {numbers[0]} to {numbers[-1]}")
    if number == numbers[-1]:
        raise ConfigError(f"{place}: promotion {number} is current already")
    earlier = read_promotion(store, number)
    assert earlier is not None
    check_adapter(earlier, storage)
    again = replace(earlier, again_of=number, why=why or f"promotion {number} anew", at="", by="")
    return put_promotion(store, again, after=numbers[-1])


def list_promotions(place: str, storage: StorageConfig) -> list[dict[str, Any]]:
    """All promotions of a place, the newest first; of a damaged one its number and what is wrong.

    Args:
        place: of promotions.
        storage: how it is reached.

    Raises:
        ConfigError: there is none.
        StoreError: the store can't be used.
    """
    store = open_place(place, storage)
    found: list[dict[str, Any]] = []
    for number in reversed(list_numbers(store)):
        try:
            promotion = read_promotion(store, number)
        except DamagedFile as error:
            found.append({"number": number, "problem": str(error)})
            continue
        if promotion is not None:
            names = ("number", "adapter", "base", "why", "at", "by", "turn", "again_of")
            found.append({name: getattr(promotion, name) for name in names})
    return found


def read_training(adapter: str, storage: StorageConfig) -> tuple[Store, dict[str, Any], dict[str, Any]]:
    """The training that made an adapter: its output, its `result.json`, and the document of its settings.

    Args:
        adapter: its directory, or the training's output.
        storage: how it is reached.

    Raises:
        ConfigError: there is none that is complete, or it taught an editor.
        StoreError: a document is damaged, or a store can't be used.
    """
    adapter = adapter.rstrip("/")
    for place in (adapter, adapter.rpartition("/")[0]):
        try:
            store = open_store(place, storage, make=False)
        except StoreError:  # no such directory: told below
            continue
        result = read_document(store, "result.json")
        if result is None or "learned" not in result:  # the second is of a turn, say
            continue
        for name in _SETTINGS:
            if (settings := read_document(store, name, "config")) is None:
                continue
            if settings["config"].get("job") in ("editor-sft", "editor-nft"):
                raise ConfigError(
                    f"{store.uri}: taught an editor, and this is about policies; name its "
                    f"{result['learned']}/ in editor.{'loras' if result['learned'] == 'lora' else 'weights'}"
                )
            return store, result, settings
    raise ConfigError(
        f"{adapter}: is not the adapter of a training that is complete; give the output of `mira-batch "
        "train`, or the directory adapter/ in it"
    )
