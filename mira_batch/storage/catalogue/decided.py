"""Which results people have approved or rejected, by all that `decide` has kept and by files of their own."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.config.base import is_remote
from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.storage.catalogue.merge import Flags
from mira_batch.storage.run.decisions import REJECT, read_kept, read_lines
from mira_batch.storage.run.layout import RUN
from mira_batch.storage.stores import Store, open_store

Verdicts = Mapping[tuple[str, str], str]
"""approve or reject, by record_id and the digest of the pixels that were looked at."""


def read_verdicts(uri: str, storage: StorageConfig, what: str) -> Verdicts:
    """What has been decided. Of several decisions about a result the last holds; one about another result of
    the record says nothing of this one.

    Args:
        uri: a file of JSON lines with `record_id`, `result_digest` and `decision` (approve or reject); or the
            directory of a run, and so the files that `decide` has kept beside it.
        storage: how it is reached.
        what: the setting that names it, for messages.

    Raises:
        ConfigError: there is no such file, or a line is no decision; it names the line.
        StoreError: the store can't be used.
    """
    uri = uri.rstrip("/")
    folder, _, name = uri.rpartition("/")
    try:
        store = open_store(folder or "/", storage, make=False)
    except StoreError:
        if is_remote(uri):
            raise
        raise ConfigError(f"{what}: {uri}: there is no such file") from None
    if store.exists(f"{name}/{RUN}") if is_remote(uri) else Path(uri).is_dir():
        if not (found := _take_kept(open_store(uri, storage, make=False))):
            raise ConfigError(f"{what}: {uri}: holds no decisions; `mira-batch decide` keeps them in a run")
        return found
    if (data := store.get(name)) is None:
        raise ConfigError(f"{what}: {uri}: there is no such file")
    lines = (line for _, line in read_lines(data, f"{what}: {uri}"))
    return {(line["record_id"], line["result_digest"]): line["decision"] for line in lines}


def read_verdicts_of_runs(runs: Iterable[Store], more: Verdicts | None = None) -> Verdicts:
    """What has been decided about the results of some runs. Where two runs gave the same pixels of a record
    and people disagree about them, the rejection holds: no clock tells whose word is the last.

    Args:
        runs: their directories.
        more: decisions that hold over all others.

    Raises:
        ConfigError: a line of what was kept is no decision now.
        StoreError: a store can't be used.
    """
    found: dict[tuple[str, str], str] = {}
    for store in runs:
        for result, decision in _take_kept(store).items():
            if found.get(result) != REJECT:
                found[result] = decision
    return ChainMap(dict(more or {}), found)


def find_decided(rows: pa.Table, verdicts: Verdicts, decision: str) -> Flags:
    """Whether each row's result was decided so.

    Args:
        rows: with the columns `record_id` and `result_digest`.
        verdicts: what was decided.
        decision: approve or reject.
    """
    names = pa.array([f"{digest}\n{record}" for (record, digest), v in verdicts.items() if v == decision])
    own = pc.call_function(
        "binary_join_element_wise", [rows["result_digest"], rows["record_id"], pa.scalar("\n")]
    )
    return pc.call_function("is_in", [own], pc.SetLookupOptions(names.cast(pa.string()))).to_numpy()


def _take_kept(store: Store) -> Verdicts:
    """What `decide` has kept beside a run."""
    kept = (decision for _, decisions in read_kept(store) for decision in decisions)
    return {(said.record_id, said.result_digest): said.decision for said in kept}
