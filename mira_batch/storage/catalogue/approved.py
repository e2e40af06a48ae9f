"""People's decisions about results: read from files, the newest of each result found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.storage.catalogue.merge import Flags
from mira_batch.storage.stores import Store, open_store

FOLDER = "decisions"
"""Of a run: the decisions about its results, JSON lines in files that are created once."""
_VERDICTS = ("approve", "reject")
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said of a result."""

    record_id: str
    result_digest: str
    """Of the result's pixels: about another result it says nothing."""
    approves: bool
    at: datetime = _NEVER
    """When; the earliest there is where the line doesn't say."""


def parse_decisions(data: bytes, where: str) -> Iterator[Decision]:
    """The decisions of a file, in its order. It is untrusted.

    Args:
        data: JSON lines of `record_id`, `result_digest` and `decision`, and perhaps `at` (ISO 8601).
        where: the file, for messages.

    Raises:
        ConfigError: a line is no decision; it names the line.
    """
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield _parse(line)
        except UnicodeDecodeError:
            raise ConfigError(f"{where}:{number}: is not in UTF-8") from None
        except (ValueError, KeyError, RecursionError) as error:
            words = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ConfigError(f"{where}:{number}: is no decision: {words}") from None


def _parse(line: bytes) -> Decision:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("it is no JSON object")
    record, digest, verdict = (row[key] for key in ("record_id", "result_digest", "decision"))
    if not isinstance(record, str) or not isinstance(digest, str) or verdict not in _VERDICTS:
        raise ValueError("record_id and result_digest are texts, decision is approve or reject")
    at = _NEVER
    if (said := row.get("at")) is not None:
        if not isinstance(said, str):
            raise ValueError("at is a time such as 2026-11-26T08:00:00Z")
        at = datetime.fromisoformat(said)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return Decision(record, digest, verdict == "approve", at)


@dataclass
class Approvals:
    """Which results are approved: those of which the newest decision says so. Of decisions of the same time,
    and of those without one, the one that came in last is the newest."""

    _newest: dict[tuple[str, str], tuple[datetime, bool]] = field(default_factory=dict)

    def add(self, decisions: Iterable[Decision]) -> None:
        """Take in decisions, in their order."""
        for said in decisions:
            key = said.record_id, said.result_digest
            if key not in self._newest or self._newest[key][0] <= said.at:
                self._newest[key] = said.at, said.approves

    def find(self, rows: pa.Table) -> Flags:
        """Whether each row's result is approved.

        Args:
            rows: with the columns `record_id` and `result_digest`.
        """
        pairs = zip(rows["record_id"].to_pylist(), rows["result_digest"].to_pylist(), strict=True)
        return np.array([self._newest.get(pair, (_NEVER, False))[1] for pair in pairs], bool)


def read_approvals(runs: Mapping[str, Store], more: str | None, storage: StorageConfig) -> Approvals:
    """The decisions that lie with runs, and those of a further file, which come last.

    Args:
        runs: the runs' directories, by name.
        more: path or URI of the file; None: there is none.
        storage: how it is reached.

    Raises:
        ConfigError: there is no such file, or a line is no decision.
        StoreError: a store can't be used.
    """
    found = Approvals()
    for _, store in sorted(runs.items()):
        keys = sorted(entry.key for entry in store.list(FOLDER) if entry.key.endswith(".jsonl"))
        for key in keys:
            if (data := store.get(key)) is not None:
                found.add(parse_decisions(data, store.locate(key)))
    if more is not None:
        found.add(parse_decisions(read_file(more, storage), more))
    return found


def read_file(uri: str, storage: StorageConfig) -> bytes:
    """A file of decisions.

    Args:
        uri: of the file.
        storage: how it is reached.

    Raises:
        ConfigError: there is none.
        StoreError: the store can't be used.
    """
    folder, _, name = uri.rpartition("/")
    try:
        data = open_store(folder or "/", storage, make=False).get(name)
    except StoreError:
        if "://" in uri:
            raise
        data = None
    if data is None:
        raise ConfigError(f"{uri}: there is no such file of decisions")
    return data
