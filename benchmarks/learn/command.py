"""`python -m benchmarks learn`: every stage in its order, or on from where an earlier call stopped.

The policy and the editors of each seed are lanes of their own; as many run at once as there are CPUs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.learn.chain import Chain
from benchmarks.learn.editor_ways import EDITOR_WAYS, EditorWay, read_edits, sum_up_editors
from benchmarks.learn.editors import Editors
from benchmarks.learn.lanes import run_side_by_side
from benchmarks.learn.page import Row, write_page
from benchmarks.learn.sizes import FULL, QUICK, Size
from benchmarks.learn.stages import Half, Lane
from benchmarks.learn.successes import TARGETS, check_target, estimate_rate, read_solved
from benchmarks.learn.ways import PAIRS, WAYS
from mira_batch.core.errors import RunConflict

SETTINGS = "settings.json"
RESULTS = "results.json"


def main(quick: bool, seeds: int, folder: Path, note: Callable[[str], None]) -> dict[str, Any]:
    """Go through all stages of all seeds, and write table and page.

    Args:
        quick: in short, which shows nothing about learning.
        seeds: how many chains.
        folder: where everything lies.
        note: told how it goes, for people.

    Returns:
        What `results.json` has.
    """
    return learn(QUICK if quick else FULL, seeds, folder, note)


def learn(size: Size, seeds: int, folder: Path, note: Callable[[str], None]) -> dict[str, Any]:
    """The same, of any size.

    Raises:
        RunConflict: the folder is of another size.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, size)
    note(f"{size.test_tasks} held-out tasks, {seeds} of seeds; results in {folder}")
    halves: tuple[Half, ...] = ("policy", "editor")
    lanes = [Lane(size, folder, seed, half) for half in halves for seed in range(seeds)]
    open_ = [lane for lane in lanes if not all(stage.is_done for stage in lane.list_stages(note))]
    run_side_by_side({lane.name: lane for lane in open_}, os.cpu_count() or 1, note)
    done = [json.loads(stage.file.read_text()) for lane in lanes for stage in lane.list_stages(note)]
    chains = [lane.find_chain(note) for lane in lanes if lane.half == "policy"]
    editors = [lane.find_editors(note) for lane in lanes if lane.half == "editor"]
    found = sum_up(chains, done, size) | {"editors": sum_up_of(editors, done, size)}
    (folder / RESULTS).write_text(json.dumps(found, indent=2) + "\n")
    write_page(folder, found)
    return found


def claim(folder: Path, size: Size) -> None:
    """See that a folder is of this size, or make it so.

    Raises:
        RunConflict: it is of another.
    """
    file = folder / SETTINGS
    if not file.exists():
        file.write_text(json.dumps(size.dump(), indent=2) + "\n")
    if json.loads(file.read_text()) != size.dump():
        raise RunConflict(f"{folder}: holds learning of another size or release; delete it, or name another")


def sum_up(chains: Sequence[Chain], done: Sequence[Mapping[str, Any]], size: Size) -> dict[str, Any]:
    """The table.

    Args:
        chains: all whole.
        done: figures of their stages.
        size: of each.
    """
    found = {
        way.name: [
            read_solved(
                str(chain.folder / "ways" / way.name / "run"),
                str(chain.folder / "scores" / way.name / "run"),
                size.test_tasks,
            )
            for chain in chains
        ]
        for way in WAYS
    }
    solved = {name: [each["solved"] for each in seeds] for name, seeds in found.items()}
    rows = [
        Row(
            way.name,
            way.title,
            way.failures,
            estimate_rate(solved[way.name]),
            sum(sum(each.values()) for each in solved[way.name]),
            sum(map(len, solved[way.name])),
            sum(each["edits"] for each in found[way.name]) / len(chains),
            _add_up(each["ends"] for each in found[way.name]),
        ).dump()
        for way in WAYS
    ]
    targets = []
    for target in TARGETS:
        rate = check_target(target, solved)
        met = rate.value >= target.least - 1e-9
        targets.append({"title": target.title, "least": target.least, "met": met, **rate.dump()})
    return {
        "seeds": len(chains),
        "size": size.dump(),
        "ways": rows,
        "targets": targets,
        "pairs": list(PAIRS),
        "stages": list(done),
        "seconds": sum(each["seconds"] for each in done),
        "cpu_seconds": sum(each["cpu_seconds"] for each in done),
    }


def sum_up_of(editors: Sequence[Editors], done: Sequence[Mapping[str, Any]], size: Size) -> dict[str, Any]:
    """The table of editors.

    Args:
        editors: of all seeds, whole.
        done: figures of all stages.
        size: of each.
    """

    def read(own: Editors, way: EditorWay) -> dict[str, dict[str, float]]:
        tasks = size.test_tasks if way.loops else size.editor.test_tasks
        run, scores = (f"{own.folder}/{part}/{way.name}/run" for part in ("ways", "scores"))
        return read_edits(run, scores, tasks)

    seeds = [{way.name: read(own, way) for way in EDITOR_WAYS} for own in editors]
    agreements = [each["figures"]["agreement"] for each in done if each["stage"] == "editor-judge"]
    return sum_up_editors(seeds, agreements)


def _add_up(counts: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))
