"""The files of a turn. Each is created once; the last says how the turn ended.

<output>/turns/000001/turn.json       what decides it, and the policy that was current when it began
                      data/           what construct made
                      data.json       its samples: snapshot and counts
                      current.json    the current policy's run on the held-out records, and its evaluation
                      trained/        what the training made, with the model card
                      trained.json    the candidate: its adapter, digest and figures
                      candidate.json  the candidate's run on the held-out records, and its evaluation
                      comparison.json what the two evaluations say of each other, and the gate's verdict
                      result.json     how the turn ended, and why
         heldout/, scores/            runs and evaluations of all turns: a policy is tried once
         promoted/                    the place of promotions, unless the config names another
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mira_batch.construct.stages import ABOUT
from mira_batch.core.errors import RunConflict
from mira_batch.core.version import __version__
from mira_batch.storage.run.layout import (
    DamagedFile,
    describe_damage,
    find_changed_settings,
    read_document,
)
from mira_batch.storage.stores import Store

BEGUN, DATA, CURRENT, TRAINED, CANDIDATE, COMPARISON, RESULT = (
    "turn", "data", "current", "trained", "candidate", "comparison", "result",
)  # fmt: skip
"""What is noted of a turn, in this order."""
_Held = Mapping[str, type]
_TRIED: _Held = {"run": str, "evaluation": str, "manifest": object} | dict.fromkeys(
    ("ok", "unfinished", "failed"), int
)
_HOLD: Mapping[str, _Held] = {
    BEGUN: {"settings": dict, "current": dict},
    DATA: {"uri": str, "snapshot": object, "samples": int, "train": int, "val": int},
    CURRENT: _TRIED,
    TRAINED: dict.fromkeys(("training", "adapter", "digest", "base", "base_identity", "prompt"), object),
    CANDIDATE: _TRIED,
    COMPARISON: {"verdict": object, "passed": object, "checks": list, "figures": object},
    RESULT: {"turn": int, "outcome": str, "promotion": object, "why": str},
}
"""What each note holds at least, and of which type where something is done with it."""
_CURES: Mapping[str, str] = {
    BEGUN: "restore it, or where this turn is open end it with `mira-batch flywheel --abandon WHY`",
    RESULT: "restore it: it says how the turn ended",
}
_REMADE = "restore it, or delete it: the same command notes it again, of an open turn"
"""What to do where one is damaged."""
NOTES = tuple(_HOLD)
_TURN = re.compile(r"turns/(\d{6,})/turn\.json")


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn, by its files."""

    store: Store
    """The flywheel's output."""
    number: int
    """From 1."""

    @property
    def folder(self) -> str:
        """Its directory in the store."""
        return f"turns/{self.number:06d}"

    @property
    def uri(self) -> str:
        """Its directory."""
        return self.store.locate(self.folder)

    @property
    def made_anything(self) -> bool:
        """Whether anything is there that a later call would go on with: samples come first."""
        return self.store.exists(f"{self.folder}/data/{ABOUT}")

    def list_changes(self, settings: Mapping[str, Any]) -> list[str]:
        """What differs from the settings that it was begun with, a line for each.

        Args:
            settings: of now.
        """
        begun = self.read(BEGUN) or {}
        return find_changed_settings({"": begun.get("settings")}, {"": json.loads(json.dumps(settings))})

    def read(self, name: str) -> dict[str, Any] | None:
        """What is noted under a name; None where nothing is yet.

        Args:
            name: one of `NOTES`.

        Raises:
            DamagedFile: it is not what it should be.
        """
        key, hold, cure = f"{self.folder}/{name}.json", _HOLD[name], _CURES.get(name, _REMADE)
        document = read_document(self.store, key, *hold, cure=cure)
        if odd := [each for each in hold if document and not isinstance(document[each], hold[each])]:
            problem = f"of another type: {', '.join(odd)}"
            raise DamagedFile(describe_damage(self.store.locate(key), problem, cure))
        return document

    def note(self, name: str, found: Mapping[str, Any]) -> dict[str, Any]:
        """Note what came of a stage. What is there already stays.

        Args:
            name: one of `NOTES`.
            found: as JSON data.

        Returns:
            What is there now.

        Raises:
            RunConflict: another call has noted something else in the same moment.
        """
        key, data = f"{self.folder}/{name}.json", json.dumps(found, indent=2).encode()
        if not self.store.create(key, data) and self.store.get(key) != data:
            raise RunConflict(
                f"{self.store.locate(key)}: another call has come first; is another flywheel at work here?"
            )
        return json.loads(data)


def list_turns(store: Store) -> list[Turn]:
    """All turns that were begun, the oldest first.

    Args:
        store: the flywheel's output.
    """
    found = (_TURN.fullmatch(entry.key) for entry in store.list("turns") if entry.key.endswith("/turn.json"))
    return [Turn(store, number) for number in sorted(int(match[1]) for match in found if match)]


def find_open(store: Store) -> Turn | None:
    """The turn that has not ended, if there is one: only the newest can be.

    Args:
        store: the flywheel's output.
    """
    turns = list_turns(store)
    return turns[-1] if turns and turns[-1].read(RESULT) is None else None


def begin_turn(
    store: Store, settings: Mapping[str, Any], current: Mapping[str, Any], open_turn: Turn | None
) -> Turn:
    """Begin the next turn, or see that the open one is of the same settings.

    Args:
        store: the flywheel's output.
        settings: all that decides what comes of it.
        current: the policy that is current now.
        open_turn: of `find_open`.

    Raises:
        RunConflict: it is of other settings, which are named.
    """
    if open_turn is not None:
        if changed := open_turn.list_changes(settings):
            lines = "\n".join(f"  {line.removeprefix('.')}" for line in changed)
            raise RunConflict(
                f"{open_turn.uri}: was begun with other settings:\n{lines}\nrestore them, or end this turn "
                "with `mira-batch flywheel --abandon WHY`; the next is begun with those of now"
            )
        return open_turn
    turns = list_turns(store)
    turn = Turn(store, turns[-1].number + 1 if turns else 1)
    turn.note(BEGUN, {"mira_batch": __version__, "settings": dict(settings), "current": dict(current)})
    return turn
