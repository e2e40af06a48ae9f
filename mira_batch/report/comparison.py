"""Writes the page of a comparison: what two evaluations say of each other, and what changed most.

One file that needs nothing beside it. `plots.py` says where marks lie, `templates/compare.html.j2` draws
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from heapq import nsmallest
from typing import Any

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.evaluate.compare import Comparison
from mira_batch.evaluate.judged_images import Judged, JudgedImages, find_judged
from mira_batch.evaluate.pairing import Pairs, pair_up
from mira_batch.evaluate.scores import OVERALL, Scores, read_details
from mira_batch.report.comparison_contents import Checked, ComparisonPage, Side
from mira_batch.report.contents import Entry, Picture
from mira_batch.report.data import Chunks, clip, dump, dump_entries, dump_whole
from mira_batch.report.judged import describe_left_out
from mira_batch.report.links import Reports, link_from, make_address
from mira_batch.report.pictures import encode_large, shrink
from mira_batch.report.plots import lay_effort, lay_failures, lay_forest, lay_scatter, lay_splits
from mira_batch.report.preferred import describe_pairwise
from mira_batch.report.render import render_comparison
from mira_batch.storage.stores import open_store

_MOST = 10
"""Records shown that B did worst on, and so many that it did best on."""
_THUMBNAIL, _LARGE = 16_000, 160_000
"""Bytes of a picture in a film strip, and of one to be looked at large: 60 of both stay below 15 MB."""


Row = Mapping[str, Any]


def write_comparison(
    place: str, found: Comparison, a: Scores, b: Scores, gates: Sequence[Checked], storage: StorageConfig
) -> str:
    """Write the page of a comparison, and return its location.

    Args:
        place: where to: an absolute path or a URI that ends in .html.
        found: the comparison.
        a, b: what it compares.
        gates: those that were asked for.
        storage: how page, evaluations and runs are reached.

    Raises:
        ConfigError: the place is none for a page.
        StoreError: it can't be written, or an evaluation not be read.
    """
    folder, _, name = place.rpartition("/")
    if not folder or not name.lower().endswith((".html", ".htm")):
        raise ConfigError(f"--report {place}: give a file that ends in .html; its folder may be a URI")
    common = pair_up(a.results, b.results)
    pairs = common.where(common.asked_alike)
    both = pairs.where(pairs.a.scored & pairs.b.scored)
    values = (column.tolist() for column in both.take(OVERALL))
    scored = list(zip(both.a.table["of"].to_pylist(), *values, strict=True))
    worse, better = choose_records(scored)
    store = open_store(folder, storage)
    chunks = Chunks(store, "", most=1 << 62)
    records = list(_Gallery(chunks, [*worse, *better], pairs, (a, b), storage).fill(place))
    cells = lay_scatter(scored)
    identity = a.identity
    data = {
        "records": records,
        "worse": len(worse),
        "cells": [[cell.x, cell.y, cell.records, cell.names] for cell in cells],
    }
    page = ComparisonPage(
        found=found,
        sides=_name_sides(a, b),
        judge=", ".join(identity["judge"]),
        protocol=", ".join(identity["protocol"]),
        left_out=describe_left_out(found),
        gates=gates,
        forest=lay_forest(found, _join_scales(a, b), [(each.gate, each.passed) for each in gates]),
        splits=lay_splits(found),
        scatter=cells,
        effort=lay_effort(found),
        failures=lay_failures(found),
        pairwise=[
            str(text) for text in (describe_pairwise(found.pairwise) if found.pairwise is not None else ())
        ],
        worse=len(worse),
        better=len(better),
        written=datetime.now(UTC),
        data=dump(data),
        chunks=chunks.dump_place(),
    )
    store.put(name, render_comparison(page).encode("utf-8", "replace"))
    return place


def find_links(a: Scores, b: Scores, records: Sequence[str], storage: StorageConfig) -> dict[str, list[str]]:
    """Where some records are to be seen in the reports of both runs: of each the address in A's and in B's,
    empty where the report shows it not, or is not there.

    Args:
        a, b: two evaluations.
        records: ids.
        storage: how evaluations and runs are reached.
    """
    reports = Reports(storage)
    judged = [_locate(scores, storage, records) for scores in (a, b)] if records else []
    found: dict[str, list[str]] = {}
    for record in records:
        runs = [places[record].run if record in places else None for places in judged]
        found[record] = [make_address(place) if (place := reports.find(r, record)) else "" for r in runs]
    return found


def _locate(scores: Scores, storage: StorageConfig, records: Sequence[str]) -> dict[str, Judged]:
    """Where results are. A comparison is of scores: it stands also where an evaluation's plan is lost."""
    try:
        return find_judged(scores.run, storage, records)
    except StoreError:
        return {}


def _name_sides(a: Scores, b: Scores) -> tuple[Side, Side]:
    """By the last part of their directories; where that is the same of both, by the last two."""
    places = [scores.run.rstrip("/").split("/") for scores in (a, b)]
    parts = 1 if places[0][-1] != places[1][-1] else 2
    one, other = ("/".join(place[-parts:]) for place in places)
    return Side("A", one, a.run), Side("B", other, b.run)


def _join_scales(a: Scores, b: Scores) -> dict[str, tuple[float, float]]:
    found = dict(a.scales)
    for name, (low, high) in b.scales.items():
        least, most = found.get(name, (low, high))
        found[name] = min(least, low), max(most, high)
    return found


def choose_records(scored: Iterable[tuple[str, float, float]]) -> tuple[list[str], list[str]]:
    """The records that B did worst on, and those that it did best on, each the greatest difference first.

    Args:
        scored: record, A's score and B's.
    """
    gains = [(b - a, record) for record, a, b in scored]
    worse = nsmallest(_MOST, ((gain, record) for gain, record in gains if gain < 0))
    better = nsmallest(_MOST, ((-gain, record) for gain, record in gains if gain > 0))
    return [record for _, record in worse], [record for _, record in better]


class _Gallery:
    """Makes the film strips of some records."""

    def __init__(
        self,
        chunks: Chunks,
        records: Sequence[str],
        pairs: Pairs,
        both: tuple[Scores, Scores],
        storage: StorageConfig,
    ) -> None:
        self._chunks = chunks
        wanted = pairs.where(pairs.a.among("of", records))
        rows = {one["of"]: (one, other) for one, other in zip(wanted.a, wanted.b, strict=True)}
        self._pairs = [rows[record] for record in records]
        self._judged = [_locate(scores, storage, records) for scores in both]
        self._images = [JudgedImages(scores.run, storage) for scores in both]
        self._said = [read_details(scores.run, storage, records) for scores in both]
        self._reports = Reports(storage)

    def fill(self, page: str) -> Iterator[dict[str, Any]]:
        """Put their pictures into chunks, and yield what the page says of each.

        Args:
            page: its location, where links start.
        """
        for number, pair in enumerate(self._pairs):
            judged = [places.get(pair[0]["of"]) for places in self._judged]
            sides = list(zip(self._images, judged, pair, strict=True))
            originals = [_open(*side, original=True) for side in sides]  # the same, where both are there
            original = next((each for each in originals if not isinstance(each, str)), originals[0])
            pictures = [original, *(_open(*side) for side in sides)]
            scores = [None, *(row["values"][OVERALL] for row in pair)]
            entries = [
                Entry(label, shrink(picture, _THUMBNAIL), score=score)
                for label, picture, score in zip(("Original", "A", "B"), pictures, scores, strict=True)
            ]
            self._chunks.add(f"strips-{number}", [dump_entries(entries)])
            self._chunks.add(f"whole-{number}", dump_whole([_enlarge(picture) for picture in pictures]))
            yield self._describe(pair, judged, page)

    def _describe(self, pair: tuple[Row, Row], judged: Sequence[Judged | None], page: str) -> dict[str, Any]:
        one, other = pair
        runs = [None if place is None else place.run for place in judged]
        found = {
            "id": clip(one["of"]),
            "ask": clip(one["instruction"]),
            "group": clip(one["group"] or ""),
            "a": round(one["values"][OVERALL], 4),
            "b": round(other["values"][OVERALL], 4),
            "links": [link_from(page, self._reports.find(run, one["of"])) for run in runs],
            "said": [clip(said[one["of"]]["reason"] or "") for said in self._said],
            "same": one["result_digest"] is not None and one["result_digest"] == other["result_digest"],
        }
        return {name: value for name, value in found.items() if value is not False and value != ""}


def _open(images: JudgedImages, judged: Judged | None, row: Row, original: bool = False) -> Any:
    if judged is None:
        return "can't be found: the evaluation's plan is lost"
    if original:
        return images.open_original(judged, row["source_digest"])
    return images.open_result(judged, row["result_digest"])


def _enlarge(picture: Any) -> Picture | None:
    return None if isinstance(picture, str) else encode_large(picture, _LARGE)
