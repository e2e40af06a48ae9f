"""Cards of the chosen records: reads their rows and makes small pictures of before, each step and after.

An image that can't be had never stops the report; its place says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import RecordError, StoreError
from mira_batch.core.identity import frame_of, name_rollout
from mira_batch.core.types import Status
from mira_batch.report.contents import Card, Entry, Picture
from mira_batch.report.pictures import encode_whole, shrink
from mira_batch.storage import images
from mira_batch.storage.manifest import OriginalReader
from mira_batch.storage.run.results import take_rows
from mira_batch.storage.run.step_images import find_step_image
from mira_batch.storage.stores import Store, open_arrow_filesystem

_CARD_BYTES = 80_000
"""Encoded pictures of one card, together: 48 cards stay below 5.2 MB in base64."""
_ENDS = 3
"""Steps shown at either end of a trajectory too long to be shown whole."""


class CardReader:
    """Makes cards of result rows: holds what is needed to get at their pictures. Threads may share one."""

    def __init__(
        self, config: BulkEditConfig, store: Store, manifest: frozenset[str], whole: bool = False
    ) -> None:
        """A reader of one run.

        Args:
            config: the run's config.
            store: the run's directory.
            manifest: paths of the run's manifest files, the only ones that embedded originals are read from.
            whole: make original and result with all their pixels, too.

        Raises:
            StoreError: the store can't be used.
        """
        self._whole = whole
        self._config = config
        self._store = store
        self._originals = OriginalReader(config.input, config.storage, manifest)
        self._filesystem, _ = open_arrow_filesystem(store.uri, config.storage)

    def read_cards(self, file: str, first: int, positions: Sequence[int]) -> dict[int, Card]:
        """The cards of some records of one result file, by position in the run.

        Args:
            file: the result file.
            first: the position of its first row.
            positions: those wanted, ascending.

        Raises:
            pa.ArrowException, OSError: the result file can't be read.
        """
        with pq.ParquetFile(file, filesystem=self._filesystem) as parquet:
            tables = take_rows(parquet, [position - first for position in positions])
            rows = [row for table in tables for row in table.to_pylist()]
        embedded = self._originals.read_embedded([row["source"] for row in rows if row["source_digest"]])
        return {
            position: self._make_card(row, embedded) for position, row in zip(positions, rows, strict=True)
        }

    def _make_card(self, row: dict[str, Any], embedded: dict[str, bytes]) -> Card:
        failed = row["status"] == Status.failed
        original = self._open_original(row, embedded)
        result = self._open_bytes((row["image"] or {}).get("bytes"))
        whole = tuple(
            encode_whole(image) if self._whole and isinstance(image, Image.Image) else None
            for image in (original, result)
        )
        scores = [step["score"] for step in row["steps"] if step["accepted"]]
        return Card(
            record_id=name_rollout(row["record_id"], row.get("rollout")),
            instruction=row["instruction"],
            status=row["status"],
            outcome=row["error_kind"] if failed else row["stop_reason"],
            message=row["error_message"] or "",
            steps=row["num_steps"],
            seconds=sum(row["seconds"].values()),
            size=(row["width"], row["height"]) if row["width"] else None,
            models=row["models"],
            final_thought=row["final_thought"] or "",
            trajectory=self._make_entries(row, original, result),
            work_id=row["work_id"],
            result_digest=row["result_digest"] or "",
            cost=row["cost"] or 0.0,
            score=scores[-1] if scores else None,
            fidelity=row.get("fidelity"),
            closeness=self._find_closeness(row["steps"]),
            whole=(whole[0], whole[1]),
        )

    def _find_closeness(self, steps: Sequence[dict[str, Any]]) -> float | None:
        judge = self._config.judge
        if judge is None:
            return None
        standing, distances = 0.0, []
        for step in steps:
            if (score := step["score"]) is not None:
                distances.append(abs(score - max(0.0, standing - judge.tolerance)))
                if judge.satisfied is not None:
                    distances.append(abs(score - judge.satisfied))
                standing = score if step["accepted"] else standing
        return min(distances, default=None)

    def _make_entries(
        self, row: dict[str, Any], original: Image.Image | str, made: Image.Image | str
    ) -> tuple[Entry, ...]:
        """The trajectory: the original, the steps, and the result where it is none of the steps shown."""
        steps: list[dict[str, Any]] = row["steps"]
        hidden = range(_ENDS, len(steps) - _ENDS) if len(steps) > 2 * _ENDS + 1 else range(0)
        shown = [step for step in steps if step["image"] and step["index"] not in hidden]
        data = {s["index"]: s["image"]["bytes"] or self._read_referenced(s["image"]["path"]) for s in shown}
        most = _CARD_BYTES // (len(shown) + 2)
        entries = [Entry("Before", shrink(original, most))]
        result = (row["image"] or {}).get("bytes")
        failed = row["status"] == Status.failed
        name = "Result" if row["status"] == Status.ok else "Best so far"
        # The same pixels are encoded to the same bytes, so this finds the step that gave the result.
        same = [s["index"] for s in shown if s["accepted"] and result and data[s["index"]] == result]
        for pictured, group in groupby(steps, key=lambda step: step["index"] in data):
            if not pictured:
                entries.append(_words_entry(list(group)))
                continue
            for step in group:
                thumbnail = shrink(self._open_bytes(data[step["index"]]), most)
                label = name if step["index"] == max(same, default=-1) else ""
                drawn = sum(each["step"] == step["index"] for each in row.get("candidates") or ())
                entries.append(_step_entry(step, thumbnail, label, drawn))
        if result and not same and (steps or not failed):
            entries.append(Entry(name, shrink(made, most), result=True))
        return tuple(entries)

    def _open_original(self, row: dict[str, Any], embedded: dict[str, bytes]) -> Image.Image | str:
        """The image before editing, which results don't hold, or in words why it can't be shown."""
        source, settings = row["source"], self._config.input
        if row["source_digest"] is None:
            return "could not be opened"
        try:
            if (data := self._originals.read(source, embedded)) is None:
                return "no longer in the manifest"
            image = images.decode(data, source, settings)
        except (RecordError, StoreError):
            return "can no longer be read"
        return image if frame_of(image).digest == row["source_digest"] else "has changed since the run"

    def _read_referenced(self, path: str | None) -> bytes | None:
        """A step image kept as an object of its own. Found by its key, so that a run may be moved."""
        key = find_step_image(path)
        return self._store.get(key) if key else None

    def _open_bytes(self, data: bytes | None) -> Image.Image | str:
        if data is None:
            return "not found"
        try:
            return images.decode(data, "image", self._config.input)
        except RecordError:
            return "can't be read"


def _step_entry(step: dict[str, Any], picture: Picture | str, result: str, drawn: int) -> Entry:
    number = f"Step {step['index'] + 1}{f', best of {drawn}' if drawn > 1 else ''}"
    return Entry(
        f"{number} · {result}" if result else number,
        picture,
        caption=step["instruction"],
        thought=step["thought"],
        score=step["score"],
        accepted=step["accepted"],
        result=bool(result),
    )


def _words_entry(steps: Sequence[dict[str, Any]]) -> Entry:
    """Steps of which no picture is shown."""
    first, last = steps[0]["index"] + 1, steps[-1]["index"] + 1
    label = f"Steps {first} to {last}" if last > first else f"Step {first}"
    return Entry(label, first=first, words=tuple(step["instruction"] for step in steps))
