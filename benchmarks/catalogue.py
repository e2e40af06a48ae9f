"""What a plan and a fold cost where a catalogue has a million records, after one night and after thirty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_most, reported
from benchmarks.planning import make_images, rows
from benchmarks.workload import config

CHANGED = 100
"""Of so many records one changes from night to night."""


def changed_rows(number: int, night: int) -> Iterator[dict[str, Any]]:
    """The catalogue with one record in a hundred changed, others each night."""
    for i, row in enumerate(rows(number)):
        yield row | {"instruction": f"brighten it by {night}%"} if i % CHANGED == night % CHANGED else row


def write(path: Path, found: Iterator[dict[str, Any]]) -> None:
    """A manifest of JSON lines."""
    with open(path, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in found)


def settings(folder: Path, manifest: str, output: Path) -> dict[str, Any]:
    """The config of a night over it."""
    return config(folder / manifest, output, workers={"min": 2, "shard_size": 512})


@cache
def _nights(bench: Bench) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """By the number of nights before: the plan of a further one, and the fold of the first.

    A night's results are written as a run would have left them, but without images. Its manifest has only
    what changes in it, so that thirty of them take no hour to plan; the night that is measured has all.
    """
    number = bench.size(1_000_000, 20_000)
    folder, output = make_images(bench, "catalogue"), bench.folder / "nights"
    write(folder / "all.jsonl", rows(number))
    write(folder / "next.jsonl", changed_rows(number, 99))
    in_child("commit_plan", config=settings(folder, "all.jsonl", output))
    fold = in_child("fold_catalogue", output=str(output))
    found = {1: (in_child("plan", config=settings(folder, "next.jsonl", output)), fold)}
    for night in range(2, 31):
        changed = (row for row in changed_rows(number, night) if row["instruction"].startswith("brighten"))
        write(folder / "changed.jsonl", changed)
        in_child("commit_plan", config=settings(folder, "changed.jsonl", output))
        in_child("fold_catalogue", output=str(output))
    for results in output.glob("*/results"):  # so that a plan that opens one fails
        results.rename(results.with_name("results-put-aside"))
    found[30] = (in_child("plan", config=settings(folder, "next.jsonl", output)), fold)
    return found


def plan_after_nights(bench: Bench) -> list[Figure]:
    plans = {nights: found[0] for nights, found in _nights(bench).items()}
    figures = []
    for nights, plan in plans.items():
        span = "one night" if nights == 1 else f"{nights} nights"
        method = (
            f"`plan` of {plan['rows']:,} records, {plan['records']:,} of them to run, against a catalogue "
            f"of {span}. No result file is opened: after thirty nights they lie elsewhere while it plans."
        )
        figures += [
            at_most(40, f"plan_1m_after_{nights}_seconds", plan["wall"], "s", method),
            at_most(600, f"plan_1m_after_{nights}_driver_mb", plan["peak_rss"] / 1e6, "MB", method),
        ]
    for what, unit in (("wall", "seconds"), ("peak_rss", "memory")):
        ratio = plans[30][what] / plans[1][what]
        method = f"{unit.capitalize()} of that plan after thirty nights ÷ after one."
        figures.append(at_most(1.15, f"plan_after_30_to_1_{unit}", ratio, "", method))
    return figures


def fold_million_seconds(bench: Bench) -> list[Figure]:
    fold = _nights(bench)[1][1]
    method = f"Fold of {fold['rows']:,} results, {fold['files']:,} files, into the first snapshot."
    return [
        at_most(120, "fold_1m_seconds", fold["wall"], "s", method),
        reported("fold_1m_mb", fold["peak_rss"] / 1e6, "MB", f"Peak resident memory of that. {method}"),
    ]


FIGURES = (plan_after_nights, fold_million_seconds)
