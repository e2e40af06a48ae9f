"""The attempt log: by it a poison record, which kills its worker, is found, and its neighbours are not
blamed.

    state/<shard>/attempt-<session>-<n>           a worker of this driver began the shard
    state/<shard>/left-<session>-<n>              and let go of it in order, uncommitted; or lost it with its
                                                  node, when that was taken away
    state/<shard>/<work_id>/try-<session>-<n>     the record was begun, alone in its process: which, and how
                                                  many steps were logged by then
    state/<shard>/<work_id>/end-<session>-<n>     and that try came to its end
    state/<shard>/<work_id>/cause-<session>-<n>   or its process had to leave, and says why; or it was lost
                                                  with its node

A shard that the same driver hands out again comes from a worker that died: its records run in *isolation*,
one at a time in the process, each noting its try first. A session is one call of the driver, so a run that
was merely interrupted and started again is not slowed down. All inline calls on a run are one session
(`INLINE`): their process dies with the driver, and only the next call can go on.

Who killed a process that is gone without a word, the record or somebody outside, nobody can tell. So tries
count against a record only if they ended at the same step: a record that got further between two deaths is
no poison. One that is hit twice from outside at the very same step is blamed all the same.

A process that did not die alone is another matter (`loss.py`): where its node was taken away, no record is
counted against, and its shards go on side by side. Of a node that dies without notice a record might be the
cause, though that is rarely so: only where one shard loses several does it run in isolation, and there such
tries are a suspicion.

A try that ran out of memory in a process which others had used before says little: they may have leaked it.
So a record with a try that did not end goes first in the next process, before those that nothing happened to.
Only should it come late again and again (the shards of a dead worker return in any order) is it given up.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mira_batch.core.errors import EngineDead
from mira_batch.core.types import ErrorKind, Failure
from mira_batch.runtime.loss import Loss
from mira_batch.storage.run.layout import state_prefix
from mira_batch.storage.stores import Store

MOST = 2
"""Tries without an end, at the same step, before a record is given up."""
MOST_IN_DOUBT = 6
"""The same of tries that only raise a suspicion."""
MOST_NODES = 2
"""Nodes that may die under a shard, without notice, before it runs in isolation."""
INLINE = "0"
"""The session of the inline backend."""
_NOTE = re.compile(
    r"(?:(?P<work>[^/]+)/)?(?P<what>attempt|left|try|end|cause)-(?P<session>[0-9a-f]+)-(?P<n>\d+)"
)


_LOST: dict[Loss, dict[str, Any]] = {
    Loss.node: {
        "message": "its node died without notice, and the worker with it",
        "suspicion": ErrorKind.worker_crash,
    },
    Loss.preempted: {"message": "its node was taken away", "spared": True},
}
"""What is noted of a try whose process did not die alone."""


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a process ended, as far as somebody knows."""

    loss: Loss = Loss.process
    failure: Failure | None = None
    """What it makes of a record that ran alone in it, in words for people."""


def know_nothing(process: str) -> ProcessEnd:
    """How a process ended, where nobody can say. `process`: its name."""
    return ProcessEnd()


@dataclass(frozen=True, slots=True)
class Session:
    """One call of the driver, as a process of its workers knows it."""

    name: str
    """Hex digits."""
    process: str = ""
    """This process, in words that `explain_end` understands."""
    explain_end: Callable[[str], ProcessEnd] = know_nothing
    """How a process that is gone ended, as far as the backend knows."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """That a record is not run again."""

    failure: Failure
    readable: bool
    """Whether its image may be opened once more; see `PlanRow.readable`."""


class AttemptLog:
    """The attempts at one shard and its records, as one call of the driver sees them. All methods block."""

    def __init__(self, store: Store, shard: int, session: Session) -> None:
        self._store = store
        self._prefix = state_prefix(shard)
        self._session = session
        self._attempts: set[int] = set()
        self._left: set[int] = set()
        self._isolated = False
        self._tries: dict[str, set[int]] = defaultdict(set)
        self._ends: dict[str, set[int]] = defaultdict(set)
        self._open: dict[str, int] = {}
        """Tries of this attempt that are in hand, by record."""

    def open(self, names: Iterable[str]) -> None:
        """Take in what is there (keys below the shard's state) and note this attempt."""
        for name in names:
            note = _NOTE.fullmatch(name)
            if note is None or note["session"] != self._session.name:
                continue
            work, number = note["work"] or "", int(note["n"])
            match note["what"]:
                case "attempt":
                    self._attempts.add(number)
                case "left":
                    self._left.add(number)
                case "try":
                    self._tries[work].add(number)
                case "end":
                    self._ends[work].add(number)
        self._isolated = self._find_isolation()
        self._current = max(self._attempts, default=0) + 1
        self._note("", "attempt", self._current, {"process": self._session.process})

    def leave(self) -> None:
        """Note that this attempt is given up in order: who goes on need not suspect anything."""
        self._note("", "left", self._current)

    def let_go(self) -> None:
        """The same where tries are in hand: they are broken off by us, should they not come to their end."""
        self.leave()
        for work, number in list(self._open.items()):
            self.withdraw(work, number)

    @property
    def isolated(self) -> bool:
        """Whether one of its records may have ended a worker of this session: that never let go of it."""
        return self._isolated

    def is_suspect(self, work: str) -> bool:
        """Whether a try of this record has not come to its end."""
        return not self._tries[work] <= self._ends[work]

    def find_verdict(self, work: str, step: int) -> Verdict | None:
        """Why this record must not be tried again, if so.

        Args:
            work: the record's work_id.
            step: how many of its steps are logged: the step at which its last try ended.
        """
        if not self.is_suspect(work):
            return None
        ends = self._ends[work]
        notes = {number: self._read(work, "try", number) for number in sorted(self._tries[work])}
        rows = {number for number, note in notes.items() if note.get("row")}
        came_to_end = max(ends - rows, default=0)  # then it was no poison
        readable = all(self._add_cause(work, number, notes[number]).get("spared") for number in rows - ends)
        tries = [
            self._add_cause(work, number, note)
            for number, note in notes.items()
            if number > came_to_end and number not in rows
        ]
        for note in tries:
            if note.get("kind"):
                return Verdict(Failure(ErrorKind(note["kind"]), note["message"]), readable)
        if not tries:
            return None
        ended_at = [note.get("step", 0) for note in tries[1:]] + [step]
        pairs = zip(tries, ended_at, strict=True)
        here = [note for note, at in pairs if at == step and not note.get("spared")]
        in_doubt = [note for note in here if note.get("suspicion")]
        if len(in_doubt) >= MOST_IN_DOUBT:
            last = in_doubt[-1]
            message = f"{len(in_doubt)} times: {last['message']}"
            return Verdict(Failure(ErrorKind(last["suspicion"]), message), readable)
        proofs = [note["failure"] for note in here if note not in in_doubt]
        return Verdict(_sum_up(proofs, step), readable) if len(proofs) >= MOST else None

    def begin(self, work: str, step: int, row: bool = False) -> int:
        """Note a try; returns its number.

        Args:
            work: the record's work_id.
            step: how many of its steps are logged.
            row: whether only its failed row is made: it has its verdict.
        """
        number = max(self._tries[work], default=0) + 1
        self._tries[work].add(number)
        self._open[work] = number
        self._note(work, "try", number, {"step": step, "process": self._session.process, "row": row})
        return number

    def end(self, work: str, number: int) -> None:
        """Note that a try came to its end, whatever its outcome; of one that was withdrawn nothing is."""
        if self._open.pop(work, None) == number:
            self._note(work, "end", number)

    def withdraw(self, work: str, number: int) -> None:
        """A try was broken off by us: it says nothing of its record."""
        self._open.pop(work, None)
        self._tries[work].discard(number)
        self._store.delete([self._name_key(work, "try", number)])

    def explain(self, work: str, number: int, death: EngineDead) -> None:
        """Note why the process has to leave in the middle of a try.

        Args:
            work: the record's work_id.
            number: of the try.
            death: why, and what this makes of the record where one try is proof enough.
        """
        if self._open.pop(work, None) == number:
            note = {"message": str(death), "kind": death.kind, "suspicion": death.suspicion}
            self._note(work, "cause", number, note)

    def _find_isolation(self) -> bool:
        """Whether a worker that never let go of this shard may have died of one of its records."""
        lost = [self._find_loss(number) for number in sorted(self._attempts - self._left)]
        return Loss.process in lost or lost.count(Loss.node) > MOST_NODES

    def _find_loss(self, number: int) -> Loss:
        """With what the worker of an attempt was lost, noted where it speaks for all records."""
        process = self._read("", "attempt", number).get("process")
        loss = self._session.explain_end(process).loss if process else Loss.process
        if loss is Loss.preempted:
            self._left.add(number)
            self._note("", "left", number)
        return loss

    def _add_cause(self, work: str, number: int, note: dict[str, Any]) -> dict[str, Any]:
        """The note of a try, and what is known of how its process ended: by a further note, which may be made
        here, since those who know now may not for ever."""
        note = note | self._read(work, "cause", number)
        process = note.get("process")
        if "message" not in note and process:
            end = self._session.explain_end(process)
            if end.loss is Loss.process:
                return note | {"failure": end.failure}
            self._note(work, "cause", number, _LOST[end.loss])
            note |= _LOST[end.loss]
        known = "message" in note
        return note | {"failure": Failure(ErrorKind.worker_crash, note["message"]) if known else None}

    def _note(self, work: str, what: str, number: int, data: dict[str, Any] | None = None) -> None:
        content = b"" if data is None else json.dumps(data).encode()
        self._store.create(self._name_key(work, what, number), content, durable=False)

    def _read(self, work: str, what: str, number: int) -> dict[str, Any]:
        return (
            self._store.read(self._name_key(work, what, number), lambda data: json.loads(data or b"{}")) or {}
        )

    def _name_key(self, work: str, what: str, number: int) -> str:
        place = f"{self._prefix}/{work}" if work else self._prefix
        return f"{place}/{what}-{self._session.name}-{number}"


def find_open_shards(store: Store, session: str) -> set[int]:
    """The shards that a worker of this session began and neither committed nor let go of: one LIST."""
    notes: dict[str, dict[int, set[str]]] = {"attempt": defaultdict(set), "left": defaultdict(set)}
    for entry in store.list("state"):
        _, shard, name = entry.key.split("/", 2)
        note = _NOTE.fullmatch(name)
        if note is not None and note["session"] == session and note["what"] in notes and shard.isdigit():
            notes[note["what"]][int(shard)].add(note["n"])
    return {shard for shard, begun in notes["attempt"].items() if not begun <= notes["left"][shard]}


def _sum_up(ends: list[Failure | None], step: int) -> Failure:
    """The failure of a record whose process ended so, each time at this step."""
    hung = all(end is not None and end.kind is ErrorKind.step_timeout for end in ends)
    causes = "; ".join(dict.fromkeys(end.message for end in ends if end is not None))
    return Failure(
        ErrorKind.step_timeout if hung else ErrorKind.worker_crash,
        f"the worker process died {len(ends)} times{f' at step {step}' if step else ''} while this record "
        f"was the only one running{f': {causes}' if causes else ''}",
    )
