"""Files of a training beside its checkpoints, each written once.

train.json      what it learns from and how: a later call must say the same
adapter/, model/  what was learned
metrics.jsonl   figures by step
README.md       the model card
result.json     last: all is there
"""

from __future__ import annotations

import _thread
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mira_batch.config.train import TrainingConfig
from mira_batch.core.errors import RunConflict
from mira_batch.core.types import Weights
from mira_batch.core.version import __version__
from mira_batch.storage.run.layout import read_document
from mira_batch.storage.stores import Store
from mira_batch.storage.training import METRICS, RESULT

SETTINGS, BASE = "train.json", "base.json"
REMADE = "delete it, and run the same command again"
"""What to do where a result is damaged: it is made again of what it was made of."""


def claim_output(store: Store, config: TrainingConfig, data: Mapping[str, str]) -> None:
    """Note what is trained here, or see that it is what was trained here before. While there are no folders,
    and so neither data nor checkpoints, nothing rests on what an earlier call noted: a typo can be mended.

    Args:
        store: of the training, under its lease.
        config: of it.
        data: digests of what it learns from.

    Raises:
        RunConflict: it isn't; names what differs.
    """
    claim(
        store,
        SETTINGS,
        config.learning(),
        data,
        config.model_dump(mode="json"),
        find_disposable=lambda: None if store.list_folders() else [BASE],
    )


def claim(
    store: Store,
    key: str,
    learning: Mapping[str, Any],
    data: Mapping[str, str],
    config: Mapping[str, Any],
    what: str = "training",
    find_disposable: Callable[[], Collection[str] | None] = lambda: None,
    keep_decisive: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> None:
    """Note the settings of any training in its output, or see that they are those of before.

    Args:
        store: of the training.
        key: of the file that they are noted in.
        learning: everything that decides what is learned.
        data: digests of what it learns from.
        config: the whole config, for people.
        what: what is made there, for messages.
        find_disposable: asked where they are others and there is no result: keys of what an earlier call left
            and nothing rests on, which go with its settings; None: something does.
        keep_decisive: leaves out of noted settings what may change after all.

    Raises:
        RunConflict: they are others; names what differs. Or the result of something else is there.
        StoreError: what is noted is damaged.
    """
    if store.exists(RESULT) and not store.exists(key):
        raise RunConflict(
            f"{store.uri}: holds the result of something else ({RESULT} without {key}); name another "
            "output.uri"
        )
    found = {"mira_batch": __version__, "learning": learning, "data": data, "config": config}
    noted = json.dumps(found, indent=2).encode()
    if store.create(key, noted):
        return
    before = read_document(store, key, "learning", cure="restore it, or name another output.uri") or {}
    learning_before, data_before = before.get("learning", {}), before.get("data", {})
    learning, learning_before = keep_decisive(learning), keep_decisive(learning_before)
    names = sorted(learning.keys() | learning_before.keys())
    missing = {"input"} - learning_before.keys()  # which earlier releases did not note
    differing = [
        *(
            f"learning.{name}"
            for name in names
            if learning.get(name) != learning_before.get(name) and name not in missing
        ),
        # Validation may be switched on or off.
        *(f"data.{split}" for split, digest in data.items() if digest != data_before.get(split, digest)),
    ]
    if differing and not store.exists(RESULT) and (left := find_disposable()) is not None:
        store.delete([key, *left])
        store.create(key, noted)
    elif differing:
        raise RunConflict(
            f"{store.uri}: holds a {what} of other settings or data ({', '.join(differing)}); name another "
            "output.uri, or give the settings that it was begun with"
        )


def claim_base(store: Store, identity: str, setting: str, iteration: str | None = None) -> None:
    """Note which files the training begins from, or see that they are those that it began from.

    Args:
        store: of the training.
        identity: of the base model's files, and of the adapter's.
        setting: that names them.
        iteration: the folder of what others would have made by now, which is to go; None: there is none.

    Raises:
        RunConflict: others lie in their place.
    """
    own = json.dumps({"identity": identity}).encode()
    if not store.create(BASE, own) and store.get(BASE) != own:
        made = f", delete {store.locate(iteration)}, which the others made," if iteration else ""
        raise RunConflict(
            f"{store.uri}: was begun from other weights than lie in {setting} now; put those back{made} or "
            "name another output.uri"
        )


def name_begun(weights: Weights, adapter: Weights | None) -> str:
    """What identifies the weights that a training begins with.

    Args:
        weights: the model's files.
        adapter: those of the adapter.
    """
    return weights.identity if adapter is None else f"{weights.identity} adapter={adapter.identity}"


def read_result(store: Store) -> dict[str, Any] | None:
    """The figures of a training that is complete; None of one that isn't.

    Args:
        store: of the training.

    Raises:
        StoreError: they are damaged.
    """
    return read_document(store, RESULT, cure=REMADE)


def give_way(other: str) -> None:
    """End this call: another driver thought it dead, and took its output over. It was asleep for long, say.

    Args:
        other: who that is.
    """
    _thread.interrupt_main()


def put_once(store: Store, key: str, data: bytes) -> None:
    """Put a file of the result. One that a killed call has put is the same, or something is wrong.

    Args:
        store: of the training.
        key: of the file.
        data: its bytes.

    Raises:
        RunConflict: another one is there.
    """
    if not store.create(key, data) and store.get(key) != data:
        raise RunConflict(
            f"{store.locate(key)}: is there with other bytes, of a call that was cut off in its last moment, "
            "or of another training; delete it, and run the same command again"
        )


def publish(
    store: Store,
    learned: Path,
    metrics: Sequence[Mapping[str, Any]],
    card: str,
    result: Mapping[str, Any],
    note: Callable[[str], None],
) -> None:
    """Put what was learned, its figures and its card, and last the file that says that all is there.

    Args:
        store: of the training.
        learned: the folder with what was learned, on this machine; its name is its key.
        metrics: lines of metrics.jsonl.
        card: in Markdown.
        result: the same as data.
        note: told where it is.

    Raises:
        RunConflict: other files are there.
    """
    for file in sorted(path for path in learned.rglob("*") if path.is_file()):
        put_once(store, f"{learned.name}/{file.relative_to(learned).as_posix()}", file.read_bytes())
    store.put(METRICS, "".join(json.dumps(line) + "\n" for line in metrics).encode())
    store.put("README.md", card.encode())
    put_once(store, RESULT, json.dumps(result, indent=2).encode())
    note(f"done: {store.locate(learned.name)}")
