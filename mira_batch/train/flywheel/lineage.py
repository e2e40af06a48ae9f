"""From a model back to the records that made it: model card, data card, runs and records."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow.parquet as pq

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.storage.promotions import list_numbers, read_promotion
from mira_batch.storage.run.layout import read_document
from mira_batch.storage.stores import Store, open_arrow_filesystem, open_store
from mira_batch.train.flywheel.promote import read_training
from mira_batch.train.samples import find_samples

_KNOWN = ("run", "record_id", "dataset", "licence")


def trace(place: str, storage: StorageConfig, number: int | None = None) -> dict[str, Any]:
    """What a model was made from.

    Args:
        place: a training, the adapter in it, or a place of promotions.
        storage: how all of it is reached.
        number: of a place of promotions which; None: the current one.

    Returns:
        `promotion` where the place has any; `training`, `base`, `began_with` (the adapter that it goes on
        from, traced likewise); `data` with its snapshot, and `records`: a row for each record, with its run,
        data set and licence, and how many samples of the split train are of it.

    Raises:
        ConfigError: it is none of these, or its data are gone, or are others by now.
        StoreError: a document is damaged, or a store can't be used.
    """
    found: dict[str, Any] = {"promotion": None}
    adapter = place
    if (promotion := _find_promotion(place, storage, number)) is not None:
        adapter = promotion.adapter
        names = ("number", "adapter", "digest", "why", "at", "by", "turn", "again_of")
        found["promotion"] = {name: getattr(promotion, name) for name in names}
    elif number is not None:
        raise ConfigError(f"{place}: has no promotion {number}")
    try:
        training, result, settings = read_training(adapter, storage)
    except ConfigError as error:
        if promotion is not None:
            raise ConfigError(
                f"{place}: promotion {promotion.number} is of {adapter}, where no training that is complete "
                "lies (any more); restore it"
            ) from None
        raise ConfigError(f"{error}, or a place of promotions that has one") from None
    model = settings["config"]["model"]
    began = model.get("adapter")
    found |= {"training": training.uri, "base": model["weights"], "figures": result.get("figures")}
    found["began_with"] = None if began is None else trace(began, storage)
    if settings["config"].get("job") != "policy-sft":
        data = {"uri": result.get("data"), "digest": result.get("data_digest")}
        return found | {"data": data, "records": None}
    return found | _read_data(training, result, storage)


def _find_promotion(place: str, storage: StorageConfig, number: int | None) -> Any:
    try:
        store = open_store(place, storage, make=False)
    except StoreError:  # no such directory: told by whoever reads the training
        return None
    return read_promotion(store, number) if list_numbers(store) else None


def _read_data(training: Store, result: dict[str, Any], storage: StorageConfig) -> dict[str, Any]:
    """The data of a training by demonstrations, which must still be those that it learned from."""
    samples = find_samples(result["data"], "train", storage)
    if samples.digest != result["data_digest"]:
        raise ConfigError(
            f"{result['data']}: holds other samples ({samples.digest}) than {training.uri} learned from "
            f"({result['data_digest']})"
        )
    counts: Counter[tuple[str | None, ...]] = Counter()
    for file in samples.files:
        fs, path = open_arrow_filesystem(file.location, storage)
        for row in pq.read_table(path, filesystem=fs, columns=[*_KNOWN]).to_pylist():
            counts[tuple(row[name] for name in _KNOWN)] += 1
    rows = [
        dict(zip(_KNOWN, known, strict=True)) | {"samples": count}
        for known, count in sorted(counts.items(), key=lambda item: tuple(part or "" for part in item[0]))
    ]
    card = read_document(open_store(result["data"], storage, make=False), "card.json") or {}
    data = {
        "uri": result["data"],
        "digest": result["data_digest"],
        "snapshot": card.get("snapshot"),
        "licences": card.get("licences"),
        "sources": card.get("sources"),
    }
    return {"data": data, "records": rows}
