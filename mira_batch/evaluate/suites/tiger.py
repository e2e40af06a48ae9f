"""EditReward-Bench of TIGER-Lab (TIGER-AI-Lab/EditReward): two to four edits of an image, ranked by people.

Rows as published, one for each pair of a group: id, dataset (2pair, 3pair, 4pair), comparison_type (AvsB: the
first candidate is A, the second B), candidate_1, candidate_2, ranking (A>B, B>A, A=B), instruction,
source_image. Rows of 3pair and 4pair belong to a group by the beginning of their id, as the owners' scripts
have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from mira_batch.evaluate.benchmarks.pairs import RankedGroup, TigerRow, aggregate_tiger
from mira_batch.evaluate.suites.candidates import Candidates, choose_axes, read_scores_of
from mira_batch.evaluate.suites.evidence import Evidence
from mira_batch.evaluate.suites.items import Item
from mira_batch.evaluate.suites.sheets import Sheet, Tabulated, dump_aggregate, show_counts
from mira_batch.evaluate.suites.suite import Labels, Request, Suite
from mira_batch.storage.published import Reader, open_rows

_NAME, _TITLE = "editreward-bench-tiger", "EditReward-Bench (TIGER-Lab)"
_SIZES = {"2pair": 2, "3pair": 3, "4pair": 4}
_COLUMNS = (
    "id", "dataset", "comparison_type", "instruction", "source_image", "candidate_1", "candidate_2",
    "ranking",
)  # fmt: skip
_JUDGE = """\
# The judge that is measured; any will do.
job: evaluate
judge:
  type: score_logit
  backend:
    type: openai
    model: gpt-4.1
"""


@dataclass(slots=True)
class _Group:
    size: int
    place: str
    labels: dict[tuple[str, str], int] = field(default_factory=dict)


def read_tiger(request: Request, reader: Reader, labels: Labels, left_out: list[str]) -> Iterator[Item]:
    """The edits of all groups, each once."""
    candidates, groups = Candidates(reader), dict[str, _Group]()
    for place, row in open_rows(request.data, request.split).read(_COLUMNS):
        kind = reader.take_choice(place, row, "dataset", tuple(_SIZES))
        name = reader.take_text(place, row, "id")
        instruction = reader.take_text(place, row, "instruction")
        original = reader.take_picture(place, row["source_image"], "source_image")
        edits = [reader.take_picture(place, row[f"candidate_{k}"], f"candidate_{k}") for k in (1, 2)]
        if not (kind and name and instruction and original and all(edits)):
            continue
        size = _SIZES[kind]
        found = _read_verdict(row, size)
        if isinstance(found, str):
            reader.problems.add(place, found)
            continue
        letters, label = found
        group = f"{kind}-{_name_group(name, size)}"
        standing = groups.setdefault(group, _Group(size, place))
        if letters in standing.labels:
            reader.problems.add(
                place, f"{group} has the pair {' and '.join(letters)} twice; take one of both out"
            )
            continue
        standing.labels[letters] = label
        for letter, edit in zip(letters, edits, strict=True):
            if edit is not None:
                yield from candidates.add(place, f"{group}-{letter}", instruction, original, edit)
    for name, group in groups.items():
        letters = "ABCD"[: group.size]
        pairs = list(combinations(letters, 2))
        if lacking := [pair for pair in pairs if pair not in group.labels]:
            words = ", ".join("vs".join(pair) for pair in lacking)
            reader.problems.add(group.place, f"the group {name} lacks {words}; fetch the data set again")
        else:
            edits = [f"{name}-{letter}" for letter in letters]
            labels.append({"group": name, "edits": edits, "labels": [group.labels[pair] for pair in pairs]})


def _name_group(name: str, size: int) -> str:
    """By the rule of the owners' scripts; of two edits each row is a group of its own."""
    if size == 2:
        return name
    return name.split("_")[0] if "_" in name else name[:10]


def _read_verdict(row: Mapping[str, Any], size: int) -> tuple[tuple[str, str], int] | str:
    """The letters of a pair in their order, and 1, -1 or 0 for a tie; else what is wrong."""
    compared = str(row["comparison_type"])
    first, _, second = compared.partition("vs")
    known = "ABCD"[:size]
    if len(first) != 1 or len(second) != 1 or first not in known or second not in known or not first < second:
        named = ", ".join("vs".join(pair) for pair in combinations(known, 2))
        return f"comparison_type is {compared!r:.40}, none of {named}"
    ranking = re.sub(r"\s", "", str(row["ranking"]))
    verdicts = {
        f"{first}>{second}": 1,
        f"{second}<{first}": 1,
        f"{second}>{first}": -1,
        f"{first}<{second}": -1,
    }
    verdicts |= {f"{first}={second}{more}": 0 for more in ("", "=Good", "=Bad")}
    if ranking not in verdicts:
        return f"ranking is {ranking!r:.40}, none of {', '.join(verdicts)}"
    return (first, second), verdicts[ranking]


def tabulate_tiger(evidence: Evidence, axes: Mapping[str, str]) -> Tabulated:
    """Accuracies by number of edits, and of all."""
    chosen, _ = choose_axes(evidence, {"overall": ("overall",)}, axes)
    groups = []
    for label in evidence.prepared.labels:
        found = read_scores_of(evidence, label["edits"], chosen["overall"])
        groups.append(RankedGroup(label["group"], found.outcome, tuple(label["labels"]), found.scores))
    table = aggregate_tiger(groups)

    def line(row: TigerRow) -> tuple[Any, ...]:
        return (*show_counts(row.groups), row.groups.value, row.pairs.judged, row.pairs.value, row.tie)

    sheet = Sheet(
        _TITLE,
        ("judged", "failed", "missing", "groups all right", "pairs", "pairs right", "a tie up to"),
        [(f"{size} edits", line(row)) for size, row in table.sizes.items()],
        [("all", line(table.overall))],
        digits=3,
    )
    notes = ["ties are fitted to the labels, as in published figures; equal scores are no preference"]
    if chosen["overall"] != "overall":
        notes.append(f"overall: the judge's axis {chosen['overall']}")
    figures = {str(size): _dump(row) for size, row in table.sizes.items()} | {"overall": _dump(table.overall)}
    return evidence.tabulate(
        _NAME,
        _TITLE,
        notes,
        [sheet],
        figures,
    )


def _dump(row: TigerRow) -> dict[str, Any]:
    return {"groups": dump_aggregate(row.groups), "pairs": dump_aggregate(row.pairs), "tie": row.tie}


def _count(rows: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    sizes = {size: sum(len(label["edits"]) == size for label in labels) for size in _SIZES.values()}
    pairs = sum(len(label["labels"]) for label in labels)
    return {"pairs": pairs} | {f"groups of {size}": count for size, count in sizes.items() if count}


TIGER = Suite(
    _NAME,
    _TITLE,
    frozenset({"split"}),
    read_tiger,
    _count,
    judge=_JUDGE,
    tabulate=tabulate_tiger,
    of_pairs=True,
)
