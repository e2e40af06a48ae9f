"""GEdit-Bench (stepfun-ai/Step1X-Edit): its data set, its tables by language, and its script's folders.

Rows as published: key, task_type, instruction, instruction_language (en, cn), input_image, input_image_raw,
Intersection_exist. What is edited and judged is `input_image`, as the owners' example does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mira_batch.evaluate.benchmarks.aggregate import Aggregate, BenchmarkError
from mira_batch.evaluate.benchmarks.gedit import (
    GROUPS,
    LANGUAGES,
    Axes,
    GEditItem,
    GEditResult,
    GEditTable,
    aggregate_gedit,
)
from mira_batch.evaluate.suites.evidence import Evidence
from mira_batch.evaluate.suites.items import Item
from mira_batch.evaluate.suites.sheets import Cell, Sheet, Tabulated, dump_aggregate, show_counts
from mira_batch.evaluate.suites.suite import Labels, Request, Suite
from mira_batch.storage.published import Reader, open_rows

_NAME, _TITLE = "gedit", "GEdit-Bench"
_COLUMNS = ("key", "task_type", "instruction", "instruction_language", "input_image", "Intersection_exist")
_JUDGE = """\
# GEdit-Bench's scorer is VIEScore, shown the edited image at the size of the original.
# Its figures compare with published ones only with its own words: name your copy of the
# file GEdit-Bench/viescore/vie_prompts.py as prompts.
job: evaluate
judge:
  type: viescore
  resize: to_source
  # prompts: vie_prompts.py
  backend:
    type: openai
    model: gpt-4.1
group: task_type
"""


def read_gedit(request: Request, reader: Reader, labels: Labels, left_out: list[str]) -> Iterator[Item]:
    """The items of the wanted languages."""
    wanted = request.languages or LANGUAGES
    for language in wanted:
        if language not in LANGUAGES:
            hint = "; Chinese is cn" if language == "zh" else ""
            raise BenchmarkError(f"--language: {language!r} is none of {', '.join(LANGUAGES)}{hint}")
    others: Counter[str] = Counter()
    for place, row in open_rows(request.data, request.split).read(_COLUMNS):
        language = reader.take_choice(place, row, "instruction_language", LANGUAGES)
        if language is not None and language not in wanted:
            others[language] += 1
            continue
        key = reader.take_name(place, row, "key")
        group = reader.take_choice(place, row, "task_type", GROUPS)
        instruction = reader.take_text(place, row, "instruction")
        picture = reader.take_picture(place, row["input_image"], "input_image")
        intersection = row["Intersection_exist"]
        if not isinstance(intersection, bool):
            reader.problems.add(place, f"Intersection_exist is {intersection!r}; true or false is needed")
        elif language and key and group and instruction and picture:
            name = f"{language}-{key}"
            if reader.is_new(place, name, f"the key {key} with an instruction in {language}"):
                about = {"key": key, "task_type": group, "language": language, "intersection": intersection}
                yield Item(name, instruction, {"image": picture}, about)
    left_out += [f"{count:,} in {language} by --language" for language, count in others.items()]


def tabulate_gedit(evidence: Evidence, axes: Mapping[str, str]) -> Tabulated:
    """Both tables of each language."""
    evidence.require(("SC", "PQ"), "viescore")
    items = [
        GEditItem(
            item.row["key"],
            item.row["task_type"],
            item.row["language"],
            item.row["intersection"],
            item.outcome,
            item.values.get("SC"),
            item.values.get("PQ"),
        )
        for item in evidence.items.values()
    ]
    languages = [name for name in LANGUAGES if any(item.language == name for item in items)]
    results = [aggregate_gedit(items, language) for language in languages]
    return evidence.tabulate(
        _NAME,
        _TITLE,
        list(_note(evidence.protocol)),
        [_make_sheet(result) for result in results],
        {result.language: _dump(result) for result in results},
    )


def _note(protocol: str) -> Iterator[str]:
    if not protocol.startswith("viescore/"):
        words = protocol or "nothing"
        yield f"judged by {words}; published figures are by viescore with the owners' file as prompts"
    if "resize=to_source" not in protocol:
        yield "the owners' script shows the edited image at the original's size: set resize: to_source"


def _make_sheet(result: GEditResult) -> Sheet:
    columns = ("judged", "failed", "missing", "SC", "PQ", "O", "of the intersection", "SC", "PQ", "O")
    both = result.all, result.intersection

    def make_row(take: Any) -> tuple[Cell, ...]:
        one, other = (take(table) for table in both)
        return (*show_counts(one.overall), *_values(one), other.overall.judged, *_values(other))

    rows = [(name, make_row(lambda table, name=name: table.groups[name])) for name in GROUPS]
    means = [
        ("macro mean of the 11 groups", make_row(lambda table: table.macro)),
        ("mean of the items, no figure of the benchmark's", make_row(lambda table: table.items)),
    ]
    return Sheet(f"{_TITLE}, {result.language}", columns, rows, means)


def _values(axes: Axes) -> tuple[Cell, Cell, Cell]:
    return axes.semantics.value, axes.quality.value, axes.overall.value


def _dump(result: GEditResult) -> dict[str, Any]:
    return {"all": _dump_table(result.all), "intersection": _dump_table(result.intersection)}


def _dump_table(table: GEditTable) -> dict[str, Any]:
    def dump(axes: Axes) -> dict[str, Any]:
        named: dict[str, Aggregate] = {"SC": axes.semantics, "PQ": axes.quality, "O": axes.overall}
        return {name: dump_aggregate(found) for name, found in named.items()}

    return {
        "groups": {name: dump(axes) for name, axes in table.groups.items()},
        "macro": dump(table.macro),
        "items": dump(table.items),
    }


def _name_files(row: Mapping[str, Any], model: str) -> dict[str, str]:
    folder = f"{model}/fullset/{row['task_type']}/{row['language']}"
    return {"": f"{folder}/{row['key']}.png", "image": f"{folder}/{row['key']}_SRCIMG.png"}


def _count(rows: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return dict(Counter(row["language"] for row in rows))


GEDIT = Suite(
    _NAME,
    _TITLE,
    frozenset({"language", "split"}),
    read_gedit,
    _count,
    judge=_JUDGE,
    tabulate=tabulate_gedit,
    files=_name_files,
)
