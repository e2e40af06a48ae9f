"""ImgEdit-Bench, Basic (PKU-YuanGroup/ImgEdit): a JSON file of instructions, a folder of images, nine types.

The file maps a key to {id, prompt, edit_type}; `id` is the image's path below the folder. It is called
basic_edit.json in the owners' repository and singleturn.json beside the images in their archive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mira_batch.evaluate.benchmarks.aggregate import BenchmarkError, Outcome
from mira_batch.evaluate.benchmarks.imgedit import TYPES, ImgEditItem, ImgEditTable, aggregate_imgedit
from mira_batch.evaluate.suites.evidence import Evidence, Judged
from mira_batch.evaluate.suites.items import Item
from mira_batch.evaluate.suites.sheets import Sheet, Tabulated, dump_aggregate, show_counts
from mira_batch.evaluate.suites.suite import Labels, Request, Suite
from mira_batch.models.judges import IMGEDIT_AXES
from mira_batch.storage.published import Reader, find_below, read_json

_NAME, _TITLE = "imgedit", "ImgEdit-Bench, Basic"
_FILES = ("basic_edit.json", "singleturn.json")
_JUDGE = """\
# ImgEdit-Bench asks by the type of edit. Its figures compare with published ones only with
# its own words: name your copy of Benchmark/Basic/prompts.json as prompts. Its script calls
# gpt-4o, its paper says GPT-4.1.
job: evaluate
judge:
  type: imgedit
  task_key: task_type
  # prompts: prompts.json
  backend:
    type: openai
    model: gpt-4.1
group: task_type
"""


def read_imgedit(request: Request, reader: Reader, labels: Labels, left_out: list[str]) -> Iterator[Item]:
    """All items."""
    file = _find_file(request.data)
    root = request.images or file.parent
    found = read_json(file)
    if not isinstance(found, Mapping):
        raise BenchmarkError(f"{file}: holds no object that maps keys to instructions")
    for key, entry in found.items():
        place = f"{file}: {key!r:.80}"
        if not isinstance(entry, Mapping):
            reader.problems.add(place, "is no object with id, prompt and edit_type")
            continue
        name = reader.take_name(place, {"key": key}, "key")
        kind = reader.take_choice(place, entry, "edit_type", tuple(TYPES))
        instruction = reader.take_text(place, entry, "prompt")
        image = reader.take_text(place, entry, "id")
        path = None if image is None else find_below(root, image)
        if image is not None and path is None:
            reader.problems.add(place, f"id is {image!r:.80}, which leads out of {root}")
        if path is None:
            continue
        if not path.is_file():
            reader.problems.add(
                place, f"its image {path} is not there; fetch it, or name their folder by --images"
            )
        elif (picture := reader.read_picture(place, path)) and name and kind and instruction:
            yield Item(name, instruction, {"image": picture}, {"key": name, "task_type": kind})


def _find_file(data: Path) -> Path:
    if data.is_file():
        return data
    there = [data / name for name in _FILES if (data / name).is_file()]
    if len(there) != 1:
        what = "holds both" if there else "holds neither"
        raise BenchmarkError(f"{data}: {what} {' nor '.join(_FILES)}; name the JSON file itself")
    return there[0]


def tabulate_imgedit(evidence: Evidence, axes: Mapping[str, str]) -> Tabulated:
    """The means of the nine types, and both overall means."""
    items = [_make_item(evidence, item) for item in evidence.items.values()]
    found = aggregate_imgedit(items)
    rows = [(name, (*show_counts(mean), mean.value)) for name, mean in found.types.items()]
    means = [
        ("macro mean of the 9 types", (*show_counts(found.macro), found.macro.value)),
        ("mean weighted by judged items", (*show_counts(found.weighted), found.weighted.value)),
    ]
    sheet = Sheet(_TITLE, ("judged", "failed", "missing", "mean"), rows, means)
    return evidence.tabulate(
        _NAME,
        _TITLE,
        list(_note(evidence.protocol, found)),
        [sheet],
        _dump(found),
    )


def _make_item(evidence: Evidence, item: Judged) -> ImgEditItem:
    kind, scores = item.row["task_type"], None
    if item.outcome is Outcome.judged:
        names = IMGEDIT_AXES[kind]
        if not set(names) <= item.values.keys():
            raise BenchmarkError(
                f"{evidence.run}: {item.row['key']} was not judged by the axes of {kind}; evaluate with "
                "imgedit and task_key: task_type"
            )
        scores = (item.values[names[0]], item.values[names[1]], item.values[names[2]])
    return ImgEditItem(item.row["key"], kind, item.outcome, scores)


def _note(protocol: str, found: ImgEditTable) -> Iterator[str]:
    if not protocol.startswith("imgedit/"):
        words = protocol or "nothing"
        yield f"judged by {words}; published figures are by imgedit with the owners' file as prompts"
    if "resize=to_source" in protocol:
        yield "the owners' script shows the edited image as it is: set resize: none"
    if found.rule_breaks:
        yield (
            f"{found.rule_breaks:,} judged with a second or third axis above the first, which the prompts "
            "forbid and the owners' script lets pass, as here"
        )


def _dump(found: ImgEditTable) -> dict[str, Any]:
    return {
        "types": {name: dump_aggregate(mean) for name, mean in found.types.items()},
        "macro": dump_aggregate(found.macro),
        "weighted": dump_aggregate(found.weighted),
        "rule_breaks": found.rule_breaks,
    }


def _name_files(row: Mapping[str, Any], model: str) -> dict[str, str]:
    return {"": f"{row['key']}.png"}


def _count(rows: Sequence[Mapping[str, Any]], labels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    found = Counter(row["task_type"] for row in rows)
    return {name: found[name] for name in TYPES if found[name]}


IMGEDIT = Suite(
    _NAME,
    _TITLE,
    frozenset({"images"}),
    read_imgedit,
    _count,
    judge=_JUDGE,
    tabulate=tabulate_imgedit,
    files=_name_files,
)
