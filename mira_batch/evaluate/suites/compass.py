"""EditReward-Compass (bxhsort/Edit-Compass-and-EditReward-Compass): pairs on three dimensions, some of them
ties.

A JSON list of {dimension, source_image, prompt, winner, loser, label}; images are paths, label is preference
or tie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mira_batch.core.identity import content_hash
from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError
from mira_batch.evaluate.benchmarks.pairs import COMPASS_DIMENSIONS, aggregate_compass
from mira_batch.evaluate.suites.candidates import Candidates, choose_axes, make_pairs
from mira_batch.evaluate.suites.evidence import Evidence
from mira_batch.evaluate.suites.items import Item
from mira_batch.evaluate.suites.sheets import Sheet, Tabulated, dump_aggregate, show_counts
from mira_batch.evaluate.suites.suite import Labels, Request, Suite
from mira_batch.storage.published import Picture, Reader, find_below, read_json

_NAME, _TITLE = "editreward-compass", "EditReward-Compass"
AXES = {
    "IA": ("prompt_following", "success"),
    "VC": ("consistency", "overediting"),
    "VQ": ("PQ",),
}
"""What judges call its dimensions: the edit itself, what was to stay, and how it looks."""
_JUDGE = """\
# The judge that is measured. IA, VC and VQ are held against its axes prompt_following or
# success, consistency or overediting, and PQ; `benchmark table --axis IA=NAME` takes another.
job: evaluate
judge:
  type: editscore
  backend:
    type: openai
    model: gpt-4.1
"""


def read_compass(request: Request, reader: Reader, labels: Labels, left_out: list[str]) -> Iterator[Item]:
    """The edits of all pairs, each once."""
    file = request.data
    rows = read_json(file)
    if not isinstance(rows, list):
        raise BenchmarkError(f"{file}: holds no list of pairs")
    root, candidates = request.images or file.parent, Candidates(reader)
    for number, row in enumerate(rows, 1):
        place = f"{file}: pair {number}"
        if not isinstance(row, Mapping):
            reader.problems.add(place, "is no object")
            continue
        dimension = reader.take_choice(place, row, "dimension", COMPASS_DIMENSIONS)
        label = reader.take_choice(place, row, "label", ("preference", "tie"))
        prompt = reader.take_text(place, row, "prompt")
        source, winner, loser = (
            _read_picture(reader, root, place, row, name) for name in ("source_image", "winner", "loser")
        )
        if not (dimension and label and prompt and source and winner and loser):
            continue
        names = [f"{row[role]}#{content_hash(prompt, source.name, size=4)}" for role in ("winner", "loser")]
        what = f"the pair {row['winner']}, {row['loser']} on {dimension}"
        if not reader.is_new(place, f"{dimension} {sorted(names)}", what):
            continue
        for name, edited in zip(names, (winner, loser), strict=True):
            yield from candidates.add(place, name, prompt, source, edited)
        labels.append({"better": names[0], "worse": names[1], "dimension": dimension, "tie": label == "tie"})


def _read_picture(
    reader: Reader, root: Path, place: str, row: Mapping[str, Any], name: str
) -> Picture | None:
    text = reader.take_text(place, row, name)
    if text is None:
        return None
    if (path := find_below(root, text)) is None:
        reader.problems.add(
            place, f"{name} is {text!r:.80}, no path below {root}; --images names their folder"
        )
        return None
    return reader.read_picture(place, path)


def tabulate_compass(evidence: Evidence, axes: Mapping[str, str]) -> Tabulated:
    """Accuracy on each dimension that the judge has an axis for, and their mean."""
    chosen, lacking = choose_axes(evidence, AXES, axes)
    table = aggregate_compass(make_pairs(evidence, chosen))
    rows = [
        (name, (*show_counts(found), found.value))
        for name, found in table.dimensions.items()
        if name in chosen
    ]
    average = table.average
    sheet = Sheet(
        f"{_TITLE}: share of pairs that are right; scores of a tie differ by less than 1e-5",
        ("judged", "failed", "missing", "accuracy"),
        rows,
        [("mean of the three", (*show_counts(average), average.value))],
        digits=3,
    )
    figures = {name: dump_aggregate(found) for name, found in table.dimensions.items() if name in chosen}
    return evidence.tabulate(
        _NAME,
        _TITLE,
        [*lacking, *(f"{name}: the judge's axis {axis}" for name, axis in chosen.items())],
        [sheet],
        figures | {"average": dump_aggregate(average)},
    )


def _count(rows: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found = Counter(label["dimension"] for label in labels)
    ties = sum(label["tie"] for label in labels)
    return (
        {"pairs": len(labels)}
        | {name: found[name] for name in COMPASS_DIMENSIONS if found[name]}
        | {"ties": ties}
    )


COMPASS = Suite(
    _NAME,
    _TITLE,
    frozenset({"images"}),
    read_compass,
    _count,
    judge=_JUDGE,
    tabulate=tabulate_compass,
    of_pairs=True,
)
