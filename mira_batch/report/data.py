"""What the pages' scripts are given: records as JSON, in the page itself or in script files beside it.

All text is made fit to be looked at here, but for the ids and digests by which a decision names a result.
JSON within HTML holds no `<`, so nothing in it can end its element.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from mira_batch.core.identity import content_hash
from mira_batch.core.text import show_text
from mira_batch.report.contents import Card, Credit, Entry, Picture, Verdict, find_ratio
from mira_batch.storage.stores import Store

MOST_TEXT = 1_200
"""Characters shown of one text: instructions may have 10,000 and a model's thoughts any number."""
_LISTED = 8
"""Edits of steps without pictures that are listed."""
_ANSWERS = 8
"""A judge's answers that are shown of one result."""
MEASURES = ("shift", "delta_e", "changed_share")
"""Facts of a result against its source (docs/fidelity.md) that have charts."""
ONE_FILE = 15_000_000
"""Bytes of pictures up to which a page is one file."""


def clip(text: str) -> str:
    """The beginning of a text too long to be shown whole, fit to be looked at."""
    return show_text(text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]} …")


def dump(value: Any) -> str:
    """JSON that can stand within an HTML element or a script."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def dump_row(card: Card, stratum: str = "") -> dict[str, Any]:
    """What is known of a record before its pictures are loaded. What is empty is left out.

    Args:
        card: of the record.
        stratum: of a review's sample.
    """
    shown = clip(card.record_id)
    row = {
        "id": card.record_id,
        "name": shown if shown != card.record_id else "",
        "status": show_text(card.status),
        "outcome": clip(card.outcome or "").replace("_", " "),
        "message": clip(card.message),
        "ask": clip(card.instruction),
        "steps": card.steps,
        "seconds": round(card.seconds, 3),
        "cost": card.cost,
        "work": card.work_id,
        "digest": card.result_digest,
        "stratum": show_text(stratum),
    }
    numbers = {"score": card.score, "close": card.closeness}
    numbers |= {name: (card.fidelity or {}).get(name) for name in MEASURES}
    return {name: value for name, value in row.items() if value != ""} | {
        name: round(value, 4) for name, value in numbers.items() if value is not None
    }


def dump_strip(card: Card) -> dict[str, Any]:
    """A record's film strip."""
    strip = dump_entries(card.trajectory) | {"size": card.size, "last": clip(card.final_thought)}
    strip |= {"credit": _dump_credit(card.credit)} if card.credit is not None else {}
    return strip | ({"verdicts": [_dump_verdict(each) for each in card.verdicts]} if card.verdicts else {})


def dump_entries(entries: Sequence[Entry]) -> dict[str, Any]:
    """The places of a film strip, and their shape."""
    return {
        "ratio": round(find_ratio(entries), 3),
        "entries": [_dump_entry(entry) for entry in entries],
    }


def _dump_verdict(verdict: Verdict) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": clip(verdict.title),
        "state": verdict.state,
        "message": clip(verdict.message),
        "reason": clip(verdict.reason),
        "protocol": clip(verdict.protocol),
        "raw": [clip(text) for text in verdict.raw[:_ANSWERS]],
    }
    if verdict.score is not None:
        found["score"] = round(verdict.score, 4)
        found["axes"] = [
            [clip(name.replace("_", " ")), *(round(number, 4) for number in numbers)]
            for name, *numbers in verdict.axes
        ]
    if more := len(verdict.raw) - _ANSWERS:
        found |= {"more": more} if more > 0 else {}
    return {name: value for name, value in found.items() if value}


def _dump_credit(credit: Credit) -> dict[str, Any]:
    def cut(number: float | None) -> float | None:
        return None if number is None else round(number, 4)

    return {
        "values": [[cut(value), cut(error)] for value, error in credit.values],
        "steps": [
            {"edit": clip(action), "advantage": cut(advantage), "effect": cut(effect)}
            for action, advantage, effect in zip(
                credit.actions, credit.advantages, credit.effects, strict=True
            )
        ],
        "end": cut(credit.end),
        "ruin": credit.ruin,
        "pictures": dump_entries(credit.pictures),
    }


def _dump_entry(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"label": entry.label}
    if entry.words:
        found |= {"first": entry.first, "words": [clip(text) for text in entry.words[:_LISTED]]}
        found["more"] = len(entry.words) - len(found["words"])
    elif isinstance(entry.picture, str):
        found["missing"] = entry.picture
    else:
        found["picture"] = _dump_picture(entry.picture)
    texts = {"caption": clip(entry.caption), "thought": clip(entry.thought)}
    found |= {name: text for name, text in texts.items() if text}
    if entry.score is not None:
        found["score"] = round(entry.score, 4)
    flags = {"undone": not entry.accepted, "result": entry.result, "earlier": entry.earlier}
    return found | {name: True for name, flag in flags.items() if flag}


def _dump_picture(picture: Picture) -> dict[str, Any]:
    found = {"uri": picture.uri, "width": picture.width, "height": picture.height}
    flags = {"clear": picture.transparent, "exact": picture.exact}
    return found | {name: True for name, flag in flags.items() if flag}


def dump_whole(pictures: Sequence[Picture | None]) -> list[Any]:
    """Original and result with all their pixels."""
    return [None if picture is None else _dump_picture(picture) for picture in pictures]


class Chunks:
    """Collects what a page loads when it is wanted: within the page while that is small, from then on in
    script files beside it, since a page that was opened from a disk may load scripts and nothing else."""

    def __init__(self, store: Store, folder: str, most: int) -> None:
        """Collects for one page.

        Args:
            store: where the page will be.
            folder: of the script files.
            most: bytes up to which all stays within the page.
        """
        self._store = store
        self._folder = folder
        # An older page that somebody still looks at must not meet files of a newer one.
        self._stamp = content_hash(datetime.now(UTC).isoformat(), size=6)
        self._most = most
        self._size = 0
        self._inside: dict[str, str] | None = {}

    def add(self, name: str, value: Any) -> None:
        """Take a chunk.

        Args:
            name: letters, digits and `-`.
            value: JSON data.

        Raises:
            StoreError: a file can't be written.
        """
        text = dump(value)
        self._size += len(text)
        if self._inside is not None and self._size <= self._most:
            self._inside[name] = text
            return
        for early, inside in ({} if self._inside is None else self._inside).items():
            self._put(early, inside)
        self._inside = None
        self._put(name, text)

    def _put(self, name: str, text: str) -> None:
        script = f'miraChunk("{name}",{text});\n'
        self._store.put(f"{self._folder}/{self._stamp}/{name}.js", script.encode())

    @property
    def in_files(self) -> bool:
        """Whether they are in files."""
        return self._inside is None

    def dump_place(self) -> str:
        """Where a page finds them, as JSON: their folder, or all of them by name."""
        if self._inside is None:
            return dump(f"{self._folder}/{self._stamp}/")
        return "{" + ",".join(f'"{name}":{text}' for name, text in self._inside.items()) + "}"

    def sweep(self) -> None:
        """Delete the files of earlier pages.

        Raises:
            StoreError: the store refuses.
        """
        mine = f"{self._folder}/{self._stamp}/"
        self._store.delete(
            [entry.key for entry in self._store.list(self._folder) if not entry.key.startswith(mine)]
        )


def collect(
    chunks: Chunks, cards: Iterable[Card], row: Callable[[Card, int], dict[str, Any]], per: int
) -> list[dict[str, Any]]:
    """Put the pictures of records into chunks; returns the rows that stand for them in the page.

    Args:
        chunks: where to.
        cards: the records.
        row: makes the row of a record, given its place.
        per: records whose film strips are loaded together.

    Raises:
        StoreError: a chunk can't be written.
    """
    rows: list[dict[str, Any]] = []
    strips: list[dict[str, Any]] = []
    for place, card in enumerate(cards):
        rows.append(row(card, place))
        strips.append(dump_strip(card))
        if any(card.whole):
            chunks.add(f"whole-{place}", dump_whole(card.whole))
        if len(strips) == per:
            chunks.add(f"strips-{place // per}", strips)
            strips = []
    if strips:
        chunks.add(f"strips-{len(rows) // per}", strips)
    return rows
