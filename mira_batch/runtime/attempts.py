"""The attempt log: by it a poison record, which kills its worker, is found, and its neighbours are not
blamed.

    state/<shard>/attempt-<session>-<n>           a worker of this driver began the shard
    state/<shard>/<work_id>/try-<session>-<n>     the record was begun, alone in its process
    state/<shard>/<work_id>/end-<session>-<n>     and that try came to its end
    state/<shard>/<work_id>/blame-<session>       why the process had to leave: kind and message

A shard that the same driver hands out again comes from a worker that died: its records run in *isolation*,
one at a time in the process, each noting its try first. A session is one call of the driver, so a run that
was merely interrupted and started again is not slowed down.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable

from mira_batch.core.types import ErrorKind, Failure
from mira_batch.storage.run.layout import state_prefix
from mira_batch.storage.stores import Store

MOST = 2
"""Tries without an end before a record is given up."""
_NOTE = re.compile(
    r"(?:(?P<work>[^/]+)/)?(?P<what>attempt|try|end|blame)-(?P<session>[0-9a-f]+)(?:-(?P<n>\d+))?"
)


class AttemptLog:
    """The attempts at one shard and its records, as one call of the driver sees them. All methods block."""

    def __init__(self, store: Store, shard: int, session: str) -> None:
        self._store = store
        self._prefix = state_prefix(shard)
        self._session = session
        self._attempts = 0
        self._tries: dict[str, set[int]] = defaultdict(set)
        self._ends: dict[str, set[int]] = defaultdict(set)
        self._blamed: set[str] = set()

    def open(self, names: Iterable[str]) -> None:
        """Take in what is there (keys below the shard's state) and note this attempt."""
        for name in names:
            note = _NOTE.fullmatch(name)
            if note is None or note["session"] != self._session:
                continue
            work, number = note["work"] or "", int(note["n"] or 0)
            match note["what"]:
                case "attempt":
                    self._attempts = max(self._attempts, number)
                case "try":
                    self._tries[work].add(number)
                case "end":
                    self._ends[work].add(number)
                case _:
                    self._blamed.add(work)
        self._note("", "attempt", self._attempts + 1)

    @property
    def isolated(self) -> bool:
        """Whether a worker of this session began this shard before, and so must have died."""
        return self._attempts > 0

    def find_verdict(self, work: str) -> Failure | None:
        """Why this record must not be tried again, if so."""
        if work in self._blamed:
            found = self._store.read(f"{self._prefix}/{work}/blame-{self._session}", json.loads)
            if found is not None:
                return Failure(ErrorKind(found["kind"]), found["message"])
        unfinished = len(self._tries[work] - self._ends[work])
        if unfinished < MOST:
            return None
        return Failure(
            ErrorKind.worker_crash,
            f"the worker process died {unfinished} times while this record was the only one running",
        )

    def begin(self, work: str) -> int:
        """Note a try; returns its number."""
        number = max(self._tries[work], default=0) + 1
        self._tries[work].add(number)
        self._note(work, "try", number)
        return number

    def end(self, work: str, number: int) -> None:
        """Note that a try came to its end, whatever its outcome."""
        self._note(work, "end", number)

    def blame(self, work: str, failure: Failure) -> None:
        """Note why the process has to leave because of this record."""
        data = json.dumps({"kind": failure.kind, "message": failure.message}).encode()
        self._store.put(f"{self._prefix}/{work}/blame-{self._session}", data)

    def _note(self, work: str, what: str, number: int) -> None:
        place = f"{self._prefix}/{work}" if work else self._prefix
        self._store.create(f"{place}/{what}-{self._session}-{number}", b"", durable=False)
