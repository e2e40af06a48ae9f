"""What a seed goes through: the stages of its policy and of its editors, each a lane of its own."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.learn.chain import Chain
from benchmarks.learn.editor_ways import EDITOR_WAYS, EditorWay
from benchmarks.learn.editors import TRUTH, Editors
from benchmarks.learn.sizes import Size
from benchmarks.learn.ways import WAYS

_SHARES = {
    "base": 85,
    "show": 8,
    "sft": 50,
    "show-plain": 5,
    "plain": 30,
    "grpo": 80,
    "editor-base": 40,
    "editor-sft": 20,
    "editor-nft": 25,
    "editor-nft-all": 25,
    "editor-judge": 25,
    "editor-nft-judged": 35,
}
"""About how long each stage takes, for the time that is left; any other takes one such part."""
Half = Literal["policy", "editor"]


@dataclass(frozen=True)
class Stage:
    """A part of a chain that is done or not."""

    name: str
    file: Path
    """What came of it, once it is done."""
    make: Callable[[], dict[str, Any]]
    needs: tuple[Path, ...] = ()
    """Files of stages in other lanes that are to be done before."""

    @property
    def share(self) -> float:
        """About how long it takes, beside the others."""
        return _SHARES.get(self.name, 1)

    @property
    def is_done(self) -> bool:
        """Whether it need not be made."""
        return self.file.exists()


@dataclass(frozen=True)
class Lane:
    """The stages of one half of a seed, one after another. Lanes run side by side."""

    size: Size
    folder: Path
    """Absolute; of all seeds."""
    seed: int
    half: Half

    @property
    def name(self) -> str:
        """For people."""
        return f"seed {self.seed}, {self.half}"

    def __call__(self, note: Callable[[str], None]) -> None:
        """Make what is not done yet, in this process."""
        with warnings.catch_warnings():  # of libraries about the next versions of one another
            warnings.filterwarnings("ignore", category=FutureWarning, module="trl|transformers|torch|peft")
            carry_out(self.list_stages(note), self.seed, note)

    def list_stages(self, note: Callable[[str], None]) -> list[Stage]:
        """All of them, in order."""
        chain = self.find_chain(note)
        if self.half == "policy":
            return list_stages(chain)
        return list_editor_stages(chain, self.find_editors(note))

    def find_chain(self, note: Callable[[str], None]) -> Chain:
        """The chain of its policy."""
        return Chain(self.folder / f"seed-{self.seed}", self.size, self.seed, note)

    def find_editors(self, note: Callable[[str], None]) -> Editors:
        """Its editors."""
        place, base = self.find_chain(note).folder / "editor", self.folder / "editor-base"
        return Editors(place, base, self.size.editor, self.seed, note)


def list_stages(chain: Chain) -> list[Stage]:
    """All that a chain is, in order."""

    def list_ways(last: bool) -> list[Stage]:
        ways = [way for way in WAYS if (way.policy == "grpo") == last]
        return [_stage(chain, f"way-{way.name}", partial(chain.measure, way)) for way in ways]

    return [
        _stage(chain, "base", chain.pretrain),
        _stage(chain, "tasks", chain.write_tasks),
        _stage(chain, "show", partial(chain.demonstrate, "demonstrations")),
        _stage(chain, "sft", partial(chain.teach, "sft")),
        _stage(chain, "show-plain", partial(chain.demonstrate, "plain")),
        _stage(chain, "plain", partial(chain.teach, "plain")),
        *list_ways(last=False),
        _stage(chain, "grpo", chain.reinforce),
        *list_ways(last=True),
        _stage(chain, "compare", chain.compare),
    ]


def list_editor_stages(chain: Chain, editors: Editors) -> list[Stage]:
    """All that becomes of the world's Kontext, in order.

    Args:
        chain: of the policy; its base, its tasks and what SFT makes of it are needed here.
        editors: of the same seed.
    """
    base, sft = _place(chain, "base"), _place(chain, "sft")
    first = chain.folder.parent / "seed-0" / "stages" / "editor-base.json"

    def measure(way: EditorWay) -> dict[str, Any]:
        if not way.loops:
            return editors.measure(way.name)
        return editors.loop(way.name, way.editor, chain.describe_policy("sft"), chain.find_manifest("test"))

    def list_ways(*names: str) -> list[Stage]:
        ways = [way for way in EDITOR_WAYS if way.name in names]
        return [
            _stage(chain, f"editor-way-{way.name}", partial(measure, way), *((sft,) if way.loops else ()))
            for way in ways
        ]

    return [
        _stage(chain, "editor-base", editors.pretrain, *((first,) if chain.seed else ())),
        _stage(chain, "editor-tasks", editors.write_tasks),
        _stage(chain, "editor-sft", editors.teach),
        *list_ways("base", "sft"),
        _stage(chain, "editor-nft", partial(editors.improve, "nft", TRUTH)),
        *list_ways("nft"),
        _stage(chain, "editor-nft-all", partial(editors.improve, "nft-all", TRUTH, filtered=False)),
        *list_ways("nft-all"),
        _stage(chain, "editor-judge", partial(editors.teach_judge, chain.folder / "base"), base),
        _stage(chain, "editor-nft-judged", lambda: editors.improve("nft-judged", editors.find_judge())),
        *list_ways("nft-judged"),
        *list_ways("loop-sft", "loop-nft"),  # last, since they wait for the policy
    ]


def _stage(chain: Chain, name: str, make: Callable[[], dict[str, Any]], *needs: Path) -> Stage:
    return Stage(name, _place(chain, name), make, needs)


def _place(chain: Chain, name: str) -> Path:
    return chain.folder / "stages" / f"{name}.json"


def carry_out(stages: Sequence[Stage], seed: int, note: Callable[[str], None]) -> None:
    """Make the stages that are not done, and write down what came of each.

    Args:
        stages: of a lane, in order.
        seed: its.
        note: told how it goes.
    """
    spent = shares = 0.0
    for number, stage in enumerate(stages):
        if stage.is_done:
            continue
        if not all(file.exists() for file in stage.needs):
            note(f"[{number + 1}/{len(stages)}] {stage.name}: waits for another lane")
            while not all(file.exists() for file in stage.needs):
                time.sleep(1)
        left = sum(one.share for one in stages[number:] if not one.is_done)
        about = f", about {round(left * spent / shares / 60)} min left" if shares else ""
        note(f"[{number + 1}/{len(stages)}] {stage.name}{about}")
        began, cpu = time.monotonic(), _count_cpu()
        figures = stage.make()
        seconds = time.monotonic() - began
        spent, shares = spent + seconds, shares + stage.share
        told = {
            "seed": seed,
            "stage": stage.name,
            "seconds": seconds,
            "cpu_seconds": _count_cpu() - cpu,
            "figures": figures,
        }
        stage.file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = stage.file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(told, indent=2) + "\n")
        unfinished.replace(stage.file)
        note(f"    {seconds:,.0f} s, {told['cpu_seconds']:,.0f} s of CPU: {json.dumps(figures)}")


def _count_cpu() -> float:
    """CPU seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])
