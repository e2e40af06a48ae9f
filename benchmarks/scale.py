"""What a catalogue of ten million records takes to plan and to fold: `make bench-scale`."""

from __future__ import annotations

from benchmarks.catalogue import changed_rows, settings, write
from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_most, reported
from benchmarks.planning import make_images, rows


def plan_ten_million(bench: Bench) -> list[Figure]:
    """A first night, its fold, and a second one in which one record of a hundred has changed."""
    number = bench.size(10_000_000, 50_000)
    folder, output = make_images(bench, "scale"), bench.folder / "scale-nights"
    figures = []
    for night, of in (("first", rows(number)), ("second", changed_rows(number, 99))):
        write(folder / "m.jsonl", of)
        plan = in_child("plan", config=settings(folder, "m.jsonl", output))
        assert plan["rows"] == number
        method = (
            f"`plan` of {number:,} records in one JSONL file, {plan['records']:,} of them to run: the "
            f"{night} night."
        )
        each = plan["wall"] * 1_000_000 / number
        figures += [
            at_most(60, f"scale_{night}_seconds_per_million", each, "s", method),
            at_most(1_000, f"scale_{night}_driver_mb", plan["peak_rss"] / 1e6, "MB", method),
            at_most(1_500, f"scale_{night}_worker_mb", plan["worker_rss"] / 1e6, "MB", method),
        ]
        if night == "first":
            in_child("commit_plan", config=settings(folder, "m.jsonl", output))
            fold = in_child("fold_catalogue", output=str(output))
            method = f"Fold of {fold['rows']:,} results, {fold['files']:,} files."
            seconds = fold["wall"] * 1_000_000 / number
            figures += [
                reported("scale_fold_seconds_per_million", seconds, "s", method),
                reported("scale_fold_mb", fold["peak_rss"] / 1e6, "MB", f"Peak resident memory. {method}"),
            ]
    return figures


FIGURES = (plan_ten_million,)
