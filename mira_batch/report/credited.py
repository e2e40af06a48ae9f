"""A counterfactual joined to the run that a page shows: what each step of a record was worth, and pictures of
the step that ruined it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.core.identity import name_rollout
from mira_batch.report.contents import Card, Chart, Credit, Entry
from mira_batch.report.pictures import shrink
from mira_batch.storage import schema
from mira_batch.storage.catalogue.trajectory import FoundTrajectory, index_works, read_trajectory
from mira_batch.storage.counterfactual import LAID, STATES, name_drop, name_state, read_counterfactual
from mira_batch.storage.run.history import read_columns, shard_in
from mira_batch.storage.stores import Store

RUINED, NOT_NAMED, NOT_LOOKED_AT = "a step ruined it", "no step can be named", "not looked at"
_PICTURE_BYTES = 16_000
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class CreditJoin:
    """How the trajectories of a counterfactual fit the run; together they are all of them."""

    counterfactual: str
    """Its directory."""
    joined: int
    """That are of this run."""
    absent: int
    """That are not."""


class Credited:
    """A counterfactual: holds the rows of its trajectories, and where the images of its runs are."""

    def __init__(self, uri: str, store: Store, storage: StorageConfig) -> None:
        """Join a counterfactual to a run.

        Args:
            uri: its directory.
            store: the run's.
            storage: how both are reached.

        Raises:
            RunConflict: it looked at no trajectory of this run.
            StoreError: it is not done, or either can't be read.
        """
        self._uri, self._store, self._storage = uri, store, storage
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in read_counterfactual(uri, storage).to_pylist():
            rows.setdefault(row["work_id"], []).append(row)
        self._works = index_works(store.uri, storage)
        self._rows = {work: rows[work] for work in self._works if work in rows}
        self.join = CreditJoin(uri, len(self._rows), len(rows) - len(self._rows))
        """How they fit."""
        if not self._rows:
            raise RunConflict(
                f"--counterfactual {uri}: looked at no trajectory of {store.uri}; name its own run"
            )
        self._places: dict[str, dict[tuple[str, int], tuple[int, int]]] = {}

    def pick(self, most: int) -> list[int]:
        """Positions in the run of trajectories that were looked at, those that a step ruined first.

        Args:
            most: how many.
        """
        looked_at = [
            (self._tell(work) != RUINED, at) for at, work in enumerate(self._works) if work in self._rows
        ]
        return [at for _, at in sorted(looked_at)[:most]]

    def tell(self, card: Card) -> str:
        """Whether a step ruined a record, by the names of `make_chart`."""
        return self._tell(card.work_id)

    def _tell(self, work: str) -> str:
        if work not in self._rows:
            return NOT_LOOKED_AT
        return RUINED if any(row["ruined"] for row in self._rows[work]) else NOT_NAMED

    def make_chart(self) -> Chart:
        """Of how many records of the run a step is named."""
        told = Counter(map(self._tell, self._works))
        labels = [label for label in (RUINED, NOT_NAMED, NOT_LOOKED_AT) if told[label]]
        return Chart("credit", "Which step ruined it", labels, [told[label] for label in labels])

    def credit(self, card: Card) -> Card:
        """The card with what its steps were worth.

        Args:
            card: of the run.

        Raises:
            StoreError: a run of the counterfactual can't be read.
        """
        if (rows := self._rows.get(card.work_id)) is None:
            return card
        values = [(row["value_before"], row["value_before_error"]) for row in rows]
        values.append((rows[-1]["value_after"], rows[-1]["value_after_error"]))
        ruin = next((row["step"] for row in rows if row["ruined"]), None)
        credit = Credit(
            tuple(values),
            tuple(row["edit"] or "" for row in rows),
            tuple(row["advantage"] for row in rows),
            tuple(row["drop_effect"] for row in rows),
            rows[0]["end_score"],
            ruin,
            () if ruin is None else tuple(self._show(card, rows, ruin)),
        )
        return replace(card, credit=credit)

    def _show(self, card: Card, rows: Rows, ruin: int) -> list[Entry]:
        row, found = rows[ruin], read_trajectory(self._store.uri, self._works[card.work_id], self._storage)
        images = dict(found.images())
        taken = [step for step in found.row["steps"][:ruin] if step["accepted"]]
        before = images.get(f"step-{taken[-1]['index'] + 1:02d}") if taken else None
        shown = card.trajectory[0].picture if not taken else _open(before)
        value = row["value_before"]
        entries = [Entry(f"Before step {ruin + 1}", shown, caption=f"from here on it scores {value:.2f}")]
        if row["action"] == "edit":
            after = _open(images.get(f"step-{ruin + 1:02d}"))
            entries.append(
                Entry(f"After step {ruin + 1}", after, caption=row["edit"], accepted=row["accepted"])
            )
        name = name_rollout(row["record_id"], row["rollout"])
        if row["judged_drops"]:
            picture = self._find_result(LAID, name_drop(name, ruin), 0)
            entries.append(
                Entry("The end without it", picture, caption="all other edits", score=row["drop_score"])
            )
        tried = [
            (each["score"], -number) for number, each in enumerate(row["tried"]) if each["score"] is not None
        ]
        if tried:
            score, number = max(tried)
            picture = self._find_result(STATES, name_state(name, ruin), -number)
            words = row["tried"][-number]["edit"] or "STOP"
            entries.append(Entry("Another end", picture, caption=f"instead: {words}", score=score))
        return entries

    def _find_result(self, run: str, record: str, rollout: int) -> Any:
        """The picture of a result of one of the counterfactual's runs; in words why there is none."""
        uri = f"{self._uri}/{run}/run"
        if run not in self._places:
            self._places[run] = {
                (row["record_id"], row["rollout"] or 0): (shard_in(file), place)
                for file, table in read_columns(
                    uri, ("record_id", "rollout"), schema.RESULTS, self._storage, _raise
                )
                for place, row in enumerate(table.to_pylist())
            }
        if (place := self._places[run].get((record, rollout))) is None:
            return "is not there"
        found: FoundTrajectory = read_trajectory(uri, place, self._storage)
        return _open((found.row["image"] or {}).get("bytes"))


def _open(data: bytes | None) -> Any:
    """A thumbnail of an image of our own writing; in words why there is none."""
    if data is None:
        return "was not kept"
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return shrink(image.convert("RGBA" if "A" in image.mode else "RGB"), _PICTURE_BYTES)


def _raise(error: StoreError) -> None:
    raise error
