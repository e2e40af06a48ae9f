"""Tables of benchmarks: published ones from their own rows, made-up items by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from mira_batch.evaluate.benchmarks.aggregate import Aggregate, BenchmarkError, Outcome, average_groups
from mira_batch.evaluate.benchmarks.gedit import GROUPS, GEditItem, aggregate_gedit
from mira_batch.evaluate.benchmarks.imgedit import TYPES, ImgEditItem, aggregate_imgedit, average_types
from mira_batch.evaluate.benchmarks.pairs import (
    EDITSCORE_DIMENSIONS,
    EDITSCORE_GROUPS,
    EDITSCORE_TYPES,
    Pair,
    RankedGroup,
    aggregate_compass,
    aggregate_editscore,
    aggregate_tiger,
    fit_tie,
)

JUDGED, FAILED, MISSING = Outcome.judged, Outcome.failed, Outcome.missing
GEDIT = {
    "AnyEdit": (4.31, 4.25, 2.64, 0.67, 1.90, 1.95, 3.72, 3.75, 3.23, 0.77, 4.21, 2.85),
    "MagicBrush": (6.17, 5.41, 4.75, 1.55, 2.90, 4.10, 5.53, 4.13, 5.10, 1.33, 5.07, 4.19),
    "InstructPix2Pix": (3.94, 5.40, 3.52, 1.27, 2.62, 4.39, 3.07, 1.50, 3.48, 1.13, 5.10, 3.22),
    "OmniGen": (5.23, 5.93, 5.44, 3.12, 3.17, 4.88, 6.33, 6.35, 5.34, 4.31, 4.96, 5.01),
    "Step1X-Edit": (7.03, 6.26, 6.46, 3.66, 5.23, 7.24, 7.17, 6.42, 7.39, 7.40, 6.62, 6.44),
    "BAGEL": (7.44, 6.99, 6.26, 5.09, 4.82, 6.04, 7.94, 7.37, 7.31, 7.16, 6.17, 6.60),
    "BAGEL thinking": (7.22, 7.24, 6.69, 7.12, 6.03, 6.17, 7.93, 7.44, 7.45, 3.61, 6.36, 6.66),
    "Ovis-U1": (7.49, 6.88, 6.21, 4.79, 5.98, 6.46, 7.49, 7.25, 7.27, 4.48, 6.31, 6.42),
    "Step1X-Edit v1.1": (7.45, 7.38, 6.95, 4.73, 4.70, 7.11, 8.20, 7.59, 7.80, 7.91, 6.85, 6.97),
    "Kontext": (7.06, 7.03, 5.52, 5.62, 4.68, 5.55, 6.95, 6.76, 6.13, 6.10, 7.48, 6.26),
    "Gemini": (7.11, 7.14, 6.47, 5.67, 3.99, 4.95, 8.12, 6.89, 7.41, 6.85, 7.01, 6.51),
    "Doubao": (8.07, 7.36, 7.20, 5.38, 6.28, 7.20, 8.05, 7.71, 7.87, 4.01, 7.67, 6.98),
    "GPT-4o": (6.96, 6.85, 7.10, 5.41, 6.74, 7.44, 7.51, 8.73, 8.55, 8.45, 8.69, 7.49),
    "GPT-Image-Edit": (7.80, 7.54, 7.12, 7.75, 7.09, 6.74, 8.04, 7.95, 7.17, 5.45, 6.95, 7.24),
}
"""GEdit-EN, full set, of the README of GPT-Image-Edit: 11 groups in our order, and the published average."""
IMGEDIT = {
    "MagicBrush": (2.84, 1.58, 1.51, 1.97, 1.58, 1.75, 2.38, 1.62, 1.22, 1.90, "weighted"),
    "Step1X-Edit": (3.88, 3.14, 1.76, 3.40, 2.41, 3.16, 4.63, 2.64, 2.52, 3.06, "macro"),
    "ICEdit": (3.58, 3.39, 1.73, 3.15, 2.93, 3.08, 3.84, 2.04, 3.68, 3.05, "macro"),
    "BAGEL": (3.56, 3.31, 1.70, 3.30, 2.62, 3.24, 4.49, 2.38, 4.17, 3.20, "macro"),
    "UniWorld-V1": (3.82, 3.64, 2.27, 3.47, 3.24, 2.99, 4.21, 2.96, 2.74, 3.26, "macro"),
    "OmniGen2": (3.57, 3.06, 1.77, 3.74, 3.20, 3.57, 4.81, 2.52, 4.68, 3.44, "macro"),
    "Ovis-U1": (4.13, 3.62, 2.98, 4.45, 4.06, 4.22, 4.69, 3.45, 4.61, 4.00, "weighted"),
    "Kontext": (3.76, 3.45, 2.15, 3.98, 2.94, 3.78, 4.38, 2.96, 4.26, 3.52, "macro"),
    "GPT-4o": (4.61, 4.33, 2.90, 4.35, 3.66, 4.57, 4.93, 3.96, 4.89, 4.20, "weighted"),
}
"""ImgEdit of the same README: nine types in our order, the published overall, and which mean that is."""
TIGER = {
    "at random": ((48, 186, 25.81), (17, 150, 11.33), (2, 148, 1.35), 13.84),
    "EditReward on MiMo-VL": ((105, 186, 56.45), (64, 150, 42.67), (17, 148, 11.49), 38.42),
}
"""EditReward-Bench of TIGER-Lab: groups right, groups and the published share of each size, and of all."""


@pytest.mark.parametrize("model", GEDIT)
def test_published_gedit_averages_are_macro_means(model: str) -> None:
    *rows, published = GEDIT[model]
    groups = {name: Aggregate(row, 55, 0, 0) for name, row in zip(GROUPS, rows, strict=True)}
    macro = average_groups(groups, GROUPS)
    assert macro.value == pytest.approx(published, abs=0.0151), "rows are rounded"
    assert macro.judged == 605 and macro.complete


@pytest.mark.parametrize("model", IMGEDIT)
def test_published_imgedit_overalls_are_one_of_two_means(model: str) -> None:
    *rows, published, which = IMGEDIT[model]
    types = {name: Aggregate(row, TYPES[name], 0, 0) for name, row in zip(TYPES, rows, strict=True)}
    macro, weighted = average_types(types)
    assert macro.value is not None and weighted.value is not None
    one, other = (macro.value, weighted.value) if which == "macro" else (weighted.value, macro.value)
    assert one == pytest.approx(published, abs=0.0101)
    assert abs(one - published) < abs(other - published)
    assert macro.judged == sum(TYPES.values()) == 737


def test_the_two_imgedit_means_that_are_most_apart() -> None:
    """GPT-4o 4.244 and 4.191, MagicBrush 1.828 and 1.894."""
    for model, means in (
        ("GPT-4o", (4.244, 4.191)),
        ("MagicBrush", (1.828, 1.894)),
        ("Ovis-U1", (4.023, 4.004)),
    ):
        rows = zip(TYPES, IMGEDIT[model][:9], strict=True)
        found = average_types({name: Aggregate(row, TYPES[name], 0, 0) for name, row in rows})
        assert [mean.value for mean in found] == pytest.approx(means, abs=5e-4)


@pytest.mark.parametrize("judge", TIGER)
def test_published_shares_of_tigers_groups(judge: str) -> None:
    *sizes, published = TIGER[judge]
    groups = []
    for edits, (right, count, _) in zip((2, 3, 4), sizes, strict=True):
        labels = (1,) * math.comb(edits, 2)
        falling = tuple(float(-k) for k in range(edits))
        for k in range(count):
            scores = falling if k < right else falling[::-1]
            groups.append(RankedGroup(f"{edits}/{k}", JUDGED, labels, scores))
    table = aggregate_tiger(groups)
    for edits, (_, count, share) in zip((2, 3, 4), sizes, strict=True):
        row = table.sizes[edits].groups
        assert row.value is not None and 100 * row.value == pytest.approx(share, abs=0.0051)
        assert row.judged == count
    value = table.overall.groups.value
    assert value is not None and 100 * value == pytest.approx(published, abs=0.0101)
    assert (table.overall.groups.judged, table.overall.pairs.judged) == (484, 1524)


def gedit_item(key: int, group: str, *scores: float, **more: object) -> GEditItem:
    outcome = JUDGED if scores else FAILED
    item = GEditItem(f"item {key}", group, "en", False, outcome, *scores)
    return replace(item, **more)  # type: ignore[arg-type]


def test_gedit_by_hand() -> None:
    items = [gedit_item(k, group, 4, 9) for k, group in enumerate(GROUPS)]
    items += [
        gedit_item(11, "subject-add", 10, 10, intersection=True),
        gedit_item(12, "subject-add", 0, 8),
        gedit_item(13, "text_change"),
        gedit_item(14, "text_change", outcome=MISSING, intersection=True),
        gedit_item(11, "subject-add", 1, 1, language="cn"),
    ]
    found = aggregate_gedit(items, "en")
    add = found.all.groups["subject-add"]
    assert add.overall == Aggregate((6 + 10 + 0) / 3, 3, 0, 0)
    assert (add.semantics.value, add.quality.value) == (14 / 3, 27 / 3)
    assert found.all.groups["text_change"].overall == Aggregate(6, 1, 1, 1)
    assert found.all.macro.overall == Aggregate((10 * 6 + 16 / 3) / 11, 13, 1, 1)
    assert found.all.items.overall == Aggregate((11 * 6 + 10) / 13, 13, 1, 1)
    assert add.overall.complete and not found.all.macro.overall.complete
    assert found.intersection.groups["subject-add"].overall == Aggregate(10, 1, 0, 0)
    assert found.intersection.macro.overall == Aggregate(None, 1, 0, 1), "nine groups have nothing"
    assert list(found.all.groups) == list(GROUPS)
    assert aggregate_gedit(items, "cn").all.items.overall == Aggregate(1, 1, 0, 0)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (gedit_item(0, "subject_add", 1, 1), "group 'subject_add' is none of"),
        (gedit_item(0, "subject-add", 1, 11), "item 0: is judged and has a score of 11"),
        (gedit_item(0, "subject-add", -1, 1), "score of -1"),
        (gedit_item(0, "subject-add", 1, math.nan), "score of nan"),
        (gedit_item(0, "subject-add", 1, outcome=JUDGED), "score of None"),
        (gedit_item(0, "subject-add", 0, 0, outcome=FAILED), "failed and has a score"),
        (gedit_item(0, "subject-add", 1, 1, language="zh"), "language 'zh' is none of en, cn"),
    ],
)
def test_gedit_refuses_items_that_are_none(item: GEditItem, words: str) -> None:
    with pytest.raises(BenchmarkError, match=words):
        aggregate_gedit([item], "en")


def test_gedit_refuses_what_comes_twice_and_languages_that_are_none() -> None:
    item = gedit_item(0, "subject-add", 1, 1)
    with pytest.raises(BenchmarkError, match="more than once"):
        aggregate_gedit([item, item], "en")
    with pytest.raises(BenchmarkError, match="'zh' is none of en, cn"):
        aggregate_gedit([item], "zh")


def imgedit_item(key: int, name: str, *axes: float, outcome: Outcome | None = None) -> ImgEditItem:
    return ImgEditItem(str(key), name, outcome or (JUDGED if axes else FAILED), axes or None)  # type: ignore[arg-type]


def test_imgedit_by_hand() -> None:
    items = [imgedit_item(k, name, 5, 4, 4) for k, name in enumerate(TYPES)]
    items += [
        imgedit_item(9, "add", 1, 1, 3),
        imgedit_item(10, "add"),
        imgedit_item(11, "style", outcome=MISSING),
    ]
    found = aggregate_imgedit(items)
    assert items[0].score == 4.33 and items[9].score == 1.67
    assert found.types["add"] == Aggregate(3.0, 2, 1, 0)
    assert found.types["style"] == Aggregate(4.33, 1, 0, 1)
    assert found.macro == Aggregate(pytest.approx((8 * 4.33 + 3) / 9), 10, 1, 1)  # type: ignore[arg-type]
    assert found.weighted.value == pytest.approx((8 * 4.33 + 2 * 3) / 10)
    assert found.rule_breaks == 1
    assert list(found.types) == list(TYPES)
    fewer = aggregate_imgedit(items[1:9])
    assert fewer.types["add"].value is None and fewer.macro.value is None and fewer.weighted.value is None
    assert fewer.macro.judged == 8


@pytest.mark.parametrize(
    "item",
    [
        imgedit_item(0, "hybrid", 1, 1, 1),
        imgedit_item(0, "add", 0, 1, 1),
        imgedit_item(0, "add", 6, 1, 1),
        imgedit_item(0, "add", outcome=JUDGED),
        imgedit_item(0, "add", 3, 3, outcome=JUDGED),
        imgedit_item(0, "add", 3, 3, 3, outcome=MISSING),
    ],
)
def test_imgedit_refuses_items_that_are_none(item: ImgEditItem) -> None:
    with pytest.raises(BenchmarkError):
        aggregate_imgedit([item])


def test_editscores_bench_by_hand() -> None:
    pairs = [
        Pair(f"{name}/{k}", dimension, JUDGED, better, worse, name)
        for dimension in EDITSCORE_DIMENSIONS
        for name in EDITSCORE_TYPES
        for k, (better, worse) in enumerate([(7, 5), (5, 5), (4, 5), (9, 8)])
    ]
    pairs += [Pair(f"more/{k}", "overall", JUDGED, 2, 1, "extract") for k in range(4)]
    pairs += [
        Pair("bad", "overall", FAILED, task_type="extract"),
        Pair("gone", "overall", MISSING, task_type="compose"),
    ]
    found = aggregate_editscore(pairs)
    assert found["consistency"].average == Aggregate(0.5, 52, 0, 0) and found["consistency"].ties == 13
    overall = found["overall"]
    assert overall.types["extract"] == Aggregate(6 / 8, 8, 1, 0)
    assert overall.groups["scene"] == Aggregate((0.5 + 0.75) / 2, 12, 1, 0)
    assert overall.groups["object"].value == 0.5
    assert overall.average == Aggregate(pytest.approx((12 * 0.5 + 0.75) / 13), 56, 1, 1)  # type: ignore[arg-type]
    assert len(EDITSCORE_TYPES) == 13 and len(EDITSCORE_GROUPS) == 4
    assert aggregate_editscore(pairs[:4])["overall"].average.value is None


@pytest.mark.parametrize(
    "pair",
    [
        Pair("a", "quality", JUDGED, 1, 0, "compose"),
        Pair("a", "overall", JUDGED, 1, 0, "hybrid"),
        Pair("a", "overall", JUDGED, 1, None, "compose"),
        Pair("a", "overall", JUDGED, math.inf, 0, "compose"),
        Pair("a", "overall", FAILED, 1, 0, "compose"),
        Pair("a", "overall", JUDGED, 1, 0, "compose", tie=True),
    ],
)
def test_editscores_bench_refuses_pairs_that_are_none(pair: Pair) -> None:
    with pytest.raises(BenchmarkError):
        aggregate_editscore([pair])


def test_compass_by_hand() -> None:
    pairs = [
        Pair("1", "IA", JUDGED, 2, 1),
        Pair("2", "IA", JUDGED, 1, 1),
        Pair("3", "IA", JUDGED, 1, 1.000001, tie=True),
        Pair("4", "IA", JUDGED, 1, 1.1, tie=True),
        Pair("5", "IA", FAILED),
        Pair("1", "VC", JUDGED, 2, 1),
        Pair("1", "VQ", JUDGED, 1, 2),
    ]
    found = aggregate_compass(pairs)
    assert found.dimensions["IA"] == Aggregate(0.5, 4, 1, 0)
    assert found.average == Aggregate(0.5, 6, 1, 0)
    with pytest.raises(BenchmarkError, match="more than once"):
        aggregate_compass([*pairs, pairs[0]])


def test_tigers_bench_by_hand() -> None:
    groups = [
        RankedGroup("right", JUDGED, (1,), (3.0, 1.0)),
        RankedGroup("close", JUDGED, (0,), (1.0, 1.2)),
        RankedGroup("wide", JUDGED, (0,), (1.0, 9.0)),
        RankedGroup("equal", JUDGED, (-1,), (1.0, 1.0)),
        RankedGroup("bad", FAILED, (1,)),
        RankedGroup("C>A>B", JUDGED, (1, -1, -1), (2.0, 1.0, 3.0)),
        RankedGroup("one off", JUDGED, (1, -1, -1), (1.0, 2.0, 3.0)),
        RankedGroup("gone", MISSING, (1,) * 6),
    ]
    found = aggregate_tiger(groups)
    two, three, four = (found.sizes[k] for k in (2, 3, 4))
    assert two.tie == pytest.approx(0.2)
    assert (two.pairs, two.groups) == (Aggregate(0.5, 4, 1, 0), Aggregate(0.5, 4, 1, 0))
    assert three.tie is None
    assert (three.pairs, three.groups) == (Aggregate(5 / 6, 6, 0, 0), Aggregate(0.5, 2, 0, 0))
    assert (four.pairs, four.groups) == (Aggregate(None, 0, 0, 6), Aggregate(None, 0, 0, 1))
    assert found.overall.pairs == Aggregate(7 / 10, 10, 1, 6)
    assert found.overall.groups == Aggregate(3 / 6, 6, 1, 1)


@pytest.mark.parametrize(
    "group",
    [
        RankedGroup("a", JUDGED, (1, 1), (1.0, 2.0)),
        RankedGroup("a", JUDGED, (2,), (1.0, 2.0)),
        RankedGroup("a", JUDGED, (1,), (1.0, 2.0, 3.0)),
        RankedGroup("a", JUDGED, (1,), (1.0, math.nan)),
        RankedGroup("a", JUDGED, (1,)),
        RankedGroup("a", FAILED, (1,), (1.0, 2.0)),
    ],
)
def test_tigers_bench_refuses_groups_that_are_none(group: RankedGroup) -> None:
    with pytest.raises(BenchmarkError):
        aggregate_tiger([group])


def test_the_tie_threshold_is_the_best_of_all() -> None:
    """Against trying each, where differences come more than once: they pass a threshold together."""
    rng = np.random.default_rng(6)
    for _ in range(200):
        labels = rng.integers(-1, 2, 30)
        labels[0] = 0
        apart = np.round(labels + rng.normal(0, 1, 30), 1)

        def accuracy(tie: float) -> float:
            ties = np.abs(apart) <= tie  # noqa: B023
            return float(np.mean(np.where(labels == 0, ties, ~ties & (labels * apart > 0))))  # noqa: B023

        best = max(accuracy(tie) for tie in [0.0, *np.abs(apart)])
        found, tie = fit_tie(labels.tolist(), apart.tolist())
        assert tie is not None and found == pytest.approx(best) == accuracy(tie)
    assert fit_tie([1, -1, 1], [0.5, 0.5, 0.0]) == (1 / 3, None)
    for labels, apart in (([], []), ([1], [])):
        with pytest.raises(BenchmarkError):
            fit_tie(labels, apart)


def test_pairs_of_a_group_are_in_the_order_of_combinations() -> None:
    group = RankedGroup("a", JUDGED, (1,) * 6, (8.0, 4.0, 2.0, 1.0))
    assert group.differences == [one - other for one, other in combinations((8, 4, 2, 1), 2)]
