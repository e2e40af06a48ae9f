"""MagicBrush's table, from the results of runs themselves: no judge takes part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeVar

from PIL import Image

from mira_batch.config.shared import StorageConfig
from mira_batch.evaluate.benchmarks.aggregate import Aggregate, BenchmarkError, Outcome
from mira_batch.evaluate.benchmarks.magicbrush import (
    L1,
    L2,
    MULTI,
    SINGLE,
    MagicBrushItem,
    aggregate_magicbrush,
    measure_distances,
)
from mira_batch.evaluate.suites.edits import Edits, find_edits
from mira_batch.evaluate.suites.magicbrush import MAGICBRUSH, has_multi, is_last, name_all, name_multi
from mira_batch.evaluate.suites.prepared import Prepared, find_manifest_of, read_prepared
from mira_batch.evaluate.suites.sheets import Counts, Sheet, Tabulated, dump_aggregate, show_counts
from mira_batch.storage.images import OWN_RESULTS, decode
from mira_batch.storage.published import BOUNDS

T = TypeVar("T")
_CHUNK = 16
"""Results that are looked at together."""
CLIP_I, DINO, CLIP_T, CLIP_T_TARGET = "CLIP-I", "DINO", "CLIP-T", "CLIP-T of the target"


class SeesImages(Protocol):
    """What makes directions of images."""

    def embed_images(self, images: Sequence[Image.Image]) -> Any:
        """[n, d], each row of length 1."""
        ...


class ReadsTexts(SeesImages, Protocol):
    """And of texts, in the same space."""

    def embed_texts(self, texts: Sequence[str]) -> Any:
        """[n, d], each row of length 1."""
        ...


@dataclass(frozen=True, slots=True)
class Embedders:
    """What likeness is measured with, beside pixels. None: that measure is left out."""

    clip: ReadsTexts | None = None
    dino: SeesImages | None = None


@dataclass(frozen=True, slots=True)
class _Compared:
    name: str
    result: Image.Image
    target: Image.Image
    caption: str | None


def find_base(runs: Sequence[str], given: str | None, storage: StorageConfig) -> Prepared:
    """The prepared turns of single-turn, which name all targets.

    Args:
        runs: of these turns, and of later ones of chains.
        given: its folder, where the user names it.
        storage: how all of it is reached.

    Raises:
        BenchmarkError: the runs are of none, or of several.
    """
    if given is not None:
        folders = [given]
    else:
        folders = sorted({find_manifest_of(run, storage).rpartition("/")[0] for run in runs})
    found = [read_prepared(folder, MAGICBRUSH.name, storage) for folder in folders]
    base = [each for each in found if any(row["setting"] == SINGLE for row in each.items.values())]
    if len(base) != 1:
        raise BenchmarkError(
            f"{'; '.join(runs)}: are of {len(base)} data sets; give the run of all single turns, which names "
            "the targets, or its prepared folder as --prepared"
        )
    return base[0]


def tabulate_magicbrush(
    runs: Sequence[str], given: str | None, embedders: Embedders, storage: StorageConfig
) -> Tabulated:
    """L1 and L2 against the accepted images, and what the embedders add.

    Args:
        runs: of the turns; for multi-turn also those of later turns of chains.
        given: the prepared folder, where the user names it.
        embedders: CLIP and DINO.
        storage: how all of it is reached.

    Raises:
        BenchmarkError, RunConflict, StoreError: as `find_edits` and `read_prepared`.
    """
    base = find_base(runs, given, storage)
    names = name_all(list(base.items.values()))
    edits = find_edits(runs, {name: row["instruction"] for name, row in names.items()}, base.folder, storage)
    settings = (SINGLE, MULTI) if has_multi(edits, names) else (SINGLE,)
    captioned = all("caption" in row for row in names.values())
    measures, measure = _choose_measures(embedders, captioned)
    values: dict[str, Mapping[str, float]] = {}
    for chunk in _divide(_open_pairs(edits, base, names), _CHUNK):
        values |= measure(chunk)
    items = [
        MagicBrushItem(
            name, setting, Outcome.judged if name in values else Outcome.missing, values.get(name, {})
        )
        for setting in settings
        for name in _list_items(names, setting)
    ]
    found = aggregate_magicbrush(items, measures)
    unedited = aggregate_magicbrush(list(_leave_unedited(base, names, settings)), (L1, L2))
    reasons = Counter(edits.explain(item.key) for item in items if item.outcome is Outcome.missing)
    judged = sum(item.outcome is Outcome.judged for item in items)
    counts = Counts(len(items), judged, 0, len(items) - judged, dict(reasons))
    return Tabulated(
        MAGICBRUSH.name,
        MAGICBRUSH.title,
        list(runs),
        "",
        "",
        counts,
        list(_note(settings, embedders, captioned, names)),
        [_make_sheet(settings, measures, found, unedited)],
        {
            setting: {name: dump_aggregate(mean) for name, mean in found[setting].items()}
            | {"unedited": {name: mean.value for name, mean in unedited[setting].items()}}
            for setting in settings
        },
    )


def _list_items(names: Mapping[str, Mapping[str, Any]], setting: str) -> list[str]:
    """The records that a setting is measured by."""
    if setting == SINGLE:
        return [name for name, row in names.items() if row["setting"] == SINGLE]
    return [name for name, row in names.items() if is_last(row)]


def _open_pairs(edits: Edits, base: Prepared, names: Mapping[str, Mapping[str, Any]]) -> Iterator[_Compared]:
    """Results that a setting is measured by, beside their targets."""
    for name, data in edits.read():
        row = names[name]
        if row["setting"] == SINGLE or is_last(row):
            result = decode(data, f"{edits.found[name]}: {name}", OWN_RESULTS)
            yield _Compared(name, result, _open(base, row["target"]), row.get("caption"))


def _open(base: Prepared, image: str) -> Image.Image:
    return decode(base.read_image(image), f"{base.folder}/{image}", BOUNDS).convert("RGB")


def _leave_unedited(
    base: Prepared, names: Mapping[str, Mapping[str, Any]], settings: Sequence[str]
) -> Iterator[MagicBrushItem]:
    """What the sources themselves would get, were nothing edited at all."""
    for setting in settings:
        for name in _list_items(names, setting):
            row = names[name]
            source = row["image"] if setting == SINGLE else names[name_multi(row["session"], 1)]["image"]
            distances = measure_distances(_open(base, source), _open(base, row["target"]))
            yield MagicBrushItem(name, setting, Outcome.judged, distances)


Measure = Callable[[Sequence[_Compared]], dict[str, dict[str, float]]]


def _choose_measures(embedders: Embedders, captioned: bool) -> tuple[list[str], Measure]:
    """Names of the measures, and what gives them by record."""
    clip, dino = embedders.clip, embedders.dino
    names = [L1, L2] + ([CLIP_I] if clip else []) + ([DINO] if dino else [])
    names += [CLIP_T, CLIP_T_TARGET] if clip and captioned else []

    def measure(pairs: Sequence[_Compared]) -> dict[str, dict[str, float]]:
        results, targets = [pair.result for pair in pairs], [pair.target for pair in pairs]
        columns: dict[str, Sequence[float]] = {}
        if dino:
            columns[DINO] = _compare(dino.embed_images(results), dino.embed_images(targets))
        if clip:
            seen, accepted = clip.embed_images(results), clip.embed_images(targets)
            columns[CLIP_I] = _compare(seen, accepted)
            if captioned:
                said = clip.embed_texts([pair.caption or "" for pair in pairs])
                columns[CLIP_T], columns[CLIP_T_TARGET] = _compare(seen, said), _compare(accepted, said)
        return {
            pair.name: measure_distances(pair.result, pair.target)
            | {name: values[index] for name, values in columns.items()}
            for index, pair in enumerate(pairs)
        }

    return names, measure


def _compare(one: Any, other: Any) -> list[float]:
    """The cosine of each pair of directions."""
    return [float(value) for value in (one * other).sum(axis=1)]


def _divide(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while chunk := list(islice(items, size)):
        yield chunk


def _make_sheet(
    settings: Sequence[str],
    measures: Sequence[str],
    found: Mapping[str, Mapping[str, Aggregate]],
    unedited: Mapping[str, Mapping[str, Aggregate]],
) -> Sheet:
    def line(means: Mapping[str, Aggregate]) -> tuple[Any, ...]:
        judged, _, missing = show_counts(means[L1])
        return judged, missing, *(means[name].value if name in means else None for name in measures)

    return Sheet(
        f"{MAGICBRUSH.title}, against the images that people accepted",
        ("compared", "missing", *measures),
        [(setting, line(found[setting])) for setting in settings],
        [(f"{setting}, were nothing edited", line(unedited[setting])) for setting in settings],
        digits=4,
    )


def _note(
    settings: Sequence[str], embedders: Embedders, captioned: bool, names: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    yield "L1 and L2 are distances, the less the better; what nothing edited gets stands beside them"
    if MULTI not in settings and any(row["turn"] > 1 for row in names.values()):
        yield (
            "no multi-turn: none of the runs goes on from an earlier turn's results; `benchmark prepare "
            "magicbrush … --after RUN` makes such a manifest"
        )
    if embedders.clip and not captioned:
        yield "no CLIP-T: some items have no caption; the test archive's local_descriptions.json has them"
