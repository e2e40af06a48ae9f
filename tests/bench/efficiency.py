"""How much of a run's time the editors are at work: bare editor time over wall time.

Bare editor time is what the same edits would take at full batches on all workers, back to back:
edits / batch * seconds per call / workers. The editor is simulated: it sleeps, so that workers don't
compete for the CPUs as real ones wouldn't, and notes when each of its calls began and ended.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from tests.bench.child import in_child
from tests.bench.figure import Bench, Figure, at_least, at_most, reported
from tests.bench.workload import config, custom, manifest, records_with

WORKERS, BATCH, SECONDS, SIDE = 4, 4, 0.2, 64


@dataclass(frozen=True)
class _Call:
    begin: float
    end: float
    edits: int


@dataclass(frozen=True)
class _Timeline:
    """One run: its editor calls in the order in which they ended, and its commits."""

    calls: tuple[_Call, ...]
    commits: tuple[tuple[float, int], ...]
    """(moment, records committed so far), as the driver learned of them."""
    started: float
    ended: float

    @property
    def edits(self) -> int:
        return sum(call.edits for call in self.calls)

    def done(self, share: float) -> tuple[float, int]:
        """When this share of the edits was first done, and how many were done then."""
        for call, made in zip(self.calls, accumulate(call.edits for call in self.calls), strict=True):
            if made >= share * self.edits:
                return call.end, made
        raise AssertionError("unreachable")

    def committed(self, share: float) -> float:
        """When this share of the records was first committed."""
        records = self.commits[-1][1]
        return next(moment for moment, count in self.commits if count >= share * records)


@cache
def _timeline(bench: Bench) -> _Timeline:
    folder, notes = bench.folder / "efficiency", bench.folder / "notes"
    notes.mkdir()
    names = records_with(edits=round(bench.size(60, 15) * WORKERS * BATCH / SECONDS))
    editor = {"type": "simulated", "service": {"seconds": SECONDS}, "max_batch": BATCH}
    settings = config(
        manifest(folder, SIDE, names),
        folder / "out",
        editor=custom("noting_editor", notes=str(notes), settings=editor),
        workers={"min": WORKERS},
    )
    found = in_child("run", config=settings)
    calls = [json.loads(line) for path in notes.iterdir() for line in path.read_text().splitlines()]
    assert len({call["worker"] for call in calls}) == WORKERS
    assert sum(call["edits"] for call in calls) == found["steps"]
    return _Timeline(
        tuple(sorted((_Call(c["begin"], c["end"], c["edits"]) for c in calls), key=lambda c: c.end)),
        tuple((moment, count) for moment, count in found["commits"]),
        found["started"],
        found["ended"],
    )


def _bare(edits: int) -> float:
    return edits / BATCH * SECONDS / WORKERS


def _setting(timeline: _Timeline) -> str:
    return (
        f"{timeline.edits:,} edits of {timeline.commits[-1][1]:,} records (1 to 8 each), {SECONDS} s a call, "
        f"batch {BATCH}, {WORKERS} workers on Ray, {SIDE}² images"
    )


def steady_efficiency(bench: Bench) -> Figure:
    timeline = _timeline(bench)
    (begin, before), (end, after) = timeline.done(0.05), timeline.done(0.90)
    within = [call for call in timeline.calls if begin < call.end <= end]
    filled = sum(call.edits for call in within) / len(within)
    inside = sum(call.end - call.begin for call in within) / len(within)
    return at_least(
        0.97,
        "efficiency_steady",
        _bare(after - before) / (end - begin),
        "",
        f"{_setting(timeline)}: bare editor time ÷ wall from the end of the editor call that completed 5 % "
        f"of the edits to the end of the one that completed 90 %, by the editors' own notes. Mean batch "
        f"{filled:.2f}, mean call {inside:.4f} s.",
    )


def end_to_end_efficiency(bench: Bench) -> Figure:
    timeline = _timeline(bench)
    return at_least(
        0.90,
        "efficiency_end_to_end",
        _bare(timeline.edits) / (timeline.ended - timeline.started),
        "",
        "The same run, bare editor time ÷ wall of the whole `run` call, from before Ray starts until "
        "after it has stopped, plan included; the models load in no time.",
    )


def startup_seconds(bench: Bench) -> Figure:
    timeline = _timeline(bench)
    return reported(
        "startup_seconds",
        min(call.begin for call in timeline.calls) - timeline.started,
        "s",
        "The same run: from the `run` call to the first editor call (Ray's start, plan, actor pool). It does "
        "not grow with the work, except for the plan.",
    )


def working_efficiency(bench: Bench) -> Figure:
    timeline = _timeline(bench)
    first = min(call.begin for call in timeline.calls)
    return reported(
        "efficiency_first_edit_to_last_commit",
        _bare(timeline.edits) / (timeline.commits[-1][0] - first),
        "",
        "The same run without start-up: bare editor time ÷ wall from the first editor call to the last "
        "commit.",
    )


def tail_share(bench: Bench) -> Figure:
    timeline = _timeline(bench)
    first, last = min(call.begin for call in timeline.calls), timeline.commits[-1][0]
    return at_most(
        0.10,
        "tail_share",
        (last - timeline.committed(0.95)) / (last - first),
        "",
        "The same run: time in which the last 5 % of the records were committed, as a share of the wall from "
        "the first editor call to the last commit.",
    )


FIGURES = (steady_efficiency, end_to_end_efficiency, working_efficiency, startup_seconds, tail_share)
