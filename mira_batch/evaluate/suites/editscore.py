"""EditReward-Bench of VectorSpaceLab/EditScore: how often a judge prefers what people do.

Rows as published: key (two names, the preferred edit's first), task_type, dimension, instruction,
input_image, output_images (two, in the same order).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mira_batch.evaluate.benchmarks.pairs import (
    EDITSCORE_DIMENSIONS,
    EDITSCORE_TYPES,
    EditScoreTable,
    aggregate_editscore,
)
from mira_batch.evaluate.suites.candidates import Candidates, choose_axes, make_pairs
from mira_batch.evaluate.suites.evidence import Evidence
from mira_batch.evaluate.suites.items import Item
from mira_batch.evaluate.suites.sheets import Sheet, Tabulated, dump_aggregate, show_counts
from mira_batch.evaluate.suites.suite import Labels, Request, Suite
from mira_batch.storage.published import Reader, open_rows

_NAME, _TITLE = "editreward-bench", "EditReward-Bench (EditScore)"
_COLUMNS = ("key", "task_type", "dimension", "instruction", "input_image", "output_images")
AXES = {
    "prompt_following": ("prompt_following", "success"),
    "consistency": ("consistency", "overediting"),
    "overall": ("overall",),
}
"""What judges call its dimensions."""
_JUDGE = """\
# The judge that is measured. This one is EditScore's own: name your copy of the authors'
# editscore/vie_prompts.py as prompts.
job: evaluate
judge:
  type: editscore
  # prompts: vie_prompts.py
  backend:
    type: openai
    model: gpt-4.1
"""


def read_editscore(request: Request, reader: Reader, labels: Labels, left_out: list[str]) -> Iterator[Item]:
    """The edits of all pairs, each once."""
    candidates = Candidates(reader)
    for place, row in open_rows(request.data, request.split).read(_COLUMNS):
        keys, outputs = row["key"], row["output_images"]
        if not _is_pair(keys) or not all(isinstance(key, str) and key for key in keys):
            reader.problems.add(place, f"key is {keys!r:.80}; two names are needed")
            continue
        if not _is_pair(outputs) or keys[0] == keys[1]:
            reader.problems.add(place, "key and output_images are not of two different edits")
            continue
        kind = reader.take_choice(place, row, "task_type", EDITSCORE_TYPES)
        dimension = reader.take_choice(place, row, "dimension", EDITSCORE_DIMENSIONS)
        instruction = reader.take_text(place, row, "instruction")
        original = reader.take_picture(place, row["input_image"], "input_image")
        edits = [reader.take_picture(place, output, "output_images") for output in outputs]
        if not (kind and dimension and instruction and original):
            continue
        if not reader.is_new(
            place, f"{dimension} {sorted(keys)}", f"the pair {keys[0]}, {keys[1]} on {dimension}"
        ):
            continue
        for key, edit in zip(keys, edits, strict=True):
            if edit is not None:
                yield from candidates.add(place, key, instruction, original, edit)
        labels.append({"better": keys[0], "worse": keys[1], "task_type": kind, "dimension": dimension})


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def tabulate_editscore(evidence: Evidence, axes: Mapping[str, str]) -> Tabulated:
    """A table for each dimension that the judge has an axis for."""
    chosen, lacking = choose_axes(evidence, AXES, axes)
    found = aggregate_editscore(make_pairs(evidence, chosen))
    tables = {name: table for name, table in found.items() if name in chosen}
    return evidence.tabulate(
        _NAME,
        _TITLE,
        [*lacking, *(f"{name}: the judge's axis {axis}" for name, axis in chosen.items() if name != axis)],
        [_make_sheet(name, table) for name, table in tables.items()],
        {name: _dump(table) for name, table in tables.items()},
    )


def _make_sheet(name: str, table: EditScoreTable) -> Sheet:
    def line(found: Any) -> tuple[Any, ...]:
        return (*show_counts(found), found.value)

    return Sheet(
        f"{name}: pairs in which the preferred edit scores strictly higher; ties are wrong ({table.ties:,})",
        ("judged", "failed", "missing", "accuracy"),
        [(kind, line(found)) for kind, found in table.types.items()],
        [
            *((group, line(found)) for group, found in table.groups.items()),
            ("macro mean of the 13 types", line(table.average)),
        ],
        digits=3,
    )


def _dump(table: EditScoreTable) -> dict[str, Any]:
    return {
        "types": {name: dump_aggregate(found) for name, found in table.types.items()},
        "groups": {name: dump_aggregate(found) for name, found in table.groups.items()},
        "average": dump_aggregate(table.average),
        "ties": table.ties,
    }


def _count(rows: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found = Counter(label["dimension"] for label in labels)
    return {"pairs": len(labels)} | {name: found[name] for name in EDITSCORE_DIMENSIONS if found[name]}


EDITSCORE = Suite(
    _NAME,
    _TITLE,
    frozenset({"split"}),
    read_editscore,
    _count,
    judge=_JUDGE,
    tabulate=tabulate_editscore,
    of_pairs=True,
)
