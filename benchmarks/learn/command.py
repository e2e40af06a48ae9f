"""`python -m benchmarks learn`: every stage in its order, or on from where an earlier call stopped."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.learn.chain import Chain
from benchmarks.learn.editor_ways import EDITOR_WAYS, EditorWay, read_edits, sum_up_editors
from benchmarks.learn.editors import TRUTH, Editors
from benchmarks.learn.page import Row, write_page
from benchmarks.learn.sizes import FULL, QUICK, Size
from benchmarks.learn.successes import TARGETS, check_target, estimate_rate, read_solved
from benchmarks.learn.ways import PAIRS, WAYS
from mira_batch.core.errors import RunConflict

_SHARES = {
    "base": 85,
    "show": 20,
    "sft": 95,
    "show-plain": 10,
    "plain": 50,
    "grpo": 80,
    "editor-base": 40,
    "editor-sft": 20,
    "editor-nft": 25,
    "editor-nft-all": 25,
    "editor-judge": 25,
    "editor-nft-judged": 35,
}
"""About how long each stage takes, for the time that is left; any other takes one such part."""
SETTINGS = "settings.json"
RESULTS = "results.json"


@dataclass(frozen=True)
class Stage:
    """A part of a chain that is done or not."""

    name: str
    make: Callable[[], dict[str, Any]]

    @property
    def share(self) -> float:
        """About how long it takes, beside the others."""
        return _SHARES.get(self.name, 1)


def list_stages(chain: Chain) -> list[Stage]:
    """All that a chain is, in order."""
    return [
        Stage("base", chain.pretrain),
        Stage("tasks", chain.write_tasks),
        Stage("show", partial(chain.demonstrate, "demonstrations")),
        Stage("sft", partial(chain.teach, "sft")),
        Stage("show-plain", partial(chain.demonstrate, "plain")),
        Stage("plain", partial(chain.teach, "plain")),
        *(Stage(f"way-{way.name}", partial(chain.measure, way)) for way in WAYS if way.policy != "grpo"),
        Stage("grpo", chain.reinforce),
        *(Stage(f"way-{way.name}", partial(chain.measure, way)) for way in WAYS if way.policy == "grpo"),
        Stage("compare", chain.compare),
    ]


def list_editor_stages(chain: Chain, editors: Editors) -> list[Stage]:
    """All that becomes of the world's Kontext, in order; the policy's half is done by then.

    Args:
        chain: of the policy.
        editors: of the same seed.
    """

    def measure(way: EditorWay) -> dict[str, Any]:
        if not way.loops:
            return editors.measure(way.name)
        return editors.loop(way.name, way.editor, chain.describe_policy("sft"), chain.find_manifest("test"))

    def list_ways(*names: str) -> list[Stage]:
        return [Stage(f"editor-way-{w.name}", partial(measure, w)) for w in EDITOR_WAYS if w.name in names]

    return [
        Stage("editor-base", editors.pretrain),
        Stage("editor-tasks", editors.write_tasks),
        Stage("editor-sft", editors.teach),
        *list_ways("base", "sft", "loop-sft"),
        Stage("editor-nft", partial(editors.improve, "nft", TRUTH)),
        *list_ways("nft", "loop-nft"),
        Stage("editor-nft-all", partial(editors.improve, "nft-all", TRUTH, filtered=False)),
        *list_ways("nft-all"),
        Stage("editor-judge", partial(editors.teach_judge, chain.folder / "base")),
        Stage("editor-nft-judged", lambda: editors.improve("nft-judged", editors.find_judge())),
        *list_ways("nft-judged"),
    ]


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
    with warnings.catch_warnings():  # of libraries about the next versions of one another
        warnings.filterwarnings("ignore", category=FutureWarning, module="trl|transformers|torch|peft")
        chains = [Chain(folder / f"seed-{seed}", size, seed, note) for seed in range(seeds)]
        editors = [
            Editors(chain.folder / "editor", folder / "editor-base", size.editor, chain.seed, note)
            for chain in chains
        ]
        stages = [(chain, stage) for chain in chains for stage in list_stages(chain)]
        for chain, own in zip(chains, editors, strict=True):
            stages += [(chain, stage) for stage in list_editor_stages(chain, own)]
        done = list(carry_out(stages, note))
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


def carry_out(stages: Sequence[tuple[Chain, Stage]], note: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The figures of each stage, made now or by an earlier call.

    Args:
        stages: with the chain of each, in order.
        note: told how it goes.
    """
    spent = shares = 0.0
    for number, (chain, stage) in enumerate(stages):
        file = chain.folder / "stages" / f"{stage.name}.json"
        if file.exists():
            yield json.loads(file.read_text())
            continue
        left = sum(one.share for (of, one) in stages[number:] if not _is_done(of, one))
        about = f", about {round(left * spent / shares / 60)} min left" if shares else ""
        note(f"[{number + 1}/{len(stages)}] seed {chain.seed}: {stage.name}{about}")
        began, cpu = time.monotonic(), _count_cpu()
        figures = stage.make()
        seconds = time.monotonic() - began
        spent, shares = spent + seconds, shares + stage.share
        told = {
            "seed": chain.seed,
            "stage": stage.name,
            "seconds": seconds,
            "cpu_seconds": _count_cpu() - cpu,
            "figures": figures,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(told, indent=2) + "\n")
        unfinished.replace(file)
        note(f"    {seconds:,.0f} s, {told['cpu_seconds']:,.0f} s of CPU: {json.dumps(figures)}")
        yield told


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
                *(str(c.folder / part / way.name / "run") for part in ("ways", "scores")), size.test_tasks
            )
            for c in chains
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


def _is_done(chain: Chain, stage: Stage) -> bool:
    return (chain.folder / "stages" / f"{stage.name}.json").exists()


def _count_cpu() -> float:
    """CPU seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])
