"""What the models of one run did and when, from their own notes, and what follows from it.

Bare editor time is what the same edits would take at full batches on all workers, back to back:
edits / batch * seconds per call / workers. Efficiency is bare editor time over wall time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Call:
    """One call of a model. Moments are those of `time.time()`."""

    worker: int
    begin: float
    end: float
    size: int
    fresh: int = 0
    """Requests of records that were just begun; only a policy counts them."""


@dataclass(frozen=True)
class Steady:
    """A run's steady state: every worker is at work, and there are records that wait for one.

    Each worker's own part of it goes from the end of one of its editor calls to the end of another, so that a
    call counts whole or not at all.
    """

    begin: float
    end: float
    edits: int
    """Done within it."""
    bare: float
    """Bare editor time of these edits, in seconds of one worker."""
    wall: float
    """Of each worker's own part, summed over workers."""
    edits_per_second: float
    """Of all workers."""
    mean_batch: float
    mean_call: float
    """Seconds."""
    io: float
    """Share of `wall` between edits with no policy call: images, step log, commits, the framework itself."""

    @property
    def efficiency(self) -> float:
        return self.bare / self.wall


@dataclass(frozen=True)
class Shares:
    """Where the editors' time went, as shares of workers * wall of the `run` call. They add up to 1."""

    busy: float
    start_up: float
    """Before a worker's first edit."""
    policy_wait: float
    """Between edits, while a policy call was running in that worker."""
    io: float
    """Between edits, while none was: images, step log, commits, and the framework itself."""
    tail: float
    """From a worker's last edit to the last commit."""
    ending: float
    """After the last commit: end of the pool, clean-up, and end of Ray where the run had started it."""

    @property
    def idle(self) -> float:
        return 1 - self.busy


@dataclass(frozen=True)
class Timeline:
    """One run."""

    workers: int
    batch: int
    """The editor's largest."""
    seconds: float
    """Of an editor's call."""
    edits: tuple[Call, ...]
    """In the order in which they ended."""
    policy: tuple[Call, ...]
    commits: tuple[tuple[float, int], ...]
    """(moment, records committed so far), as the driver learned of them."""
    started: float
    ended: float
    cpu: tuple[tuple[float, float], ...] = ()
    """(moment, seconds for which CPUs of the machine were busy so far)."""

    @property
    def made(self) -> int:
        """Edits of the run."""
        return sum(call.size for call in self.edits)

    @property
    def records(self) -> int:
        return self.commits[-1][1]

    @property
    def first_edit(self) -> float:
        """When the first edit began."""
        return min(call.begin for call in self.edits)

    @property
    def last_commit(self) -> float:
        return self.commits[-1][0]

    def bare(self, edits: int) -> float:
        return edits / self.batch * self.seconds / self.workers

    def committed(self, share: float) -> float:
        """When this share of the records was first committed."""
        return next(moment for moment, count in self.commits if count >= share * self.records)

    def steady(self) -> Steady:
        """From when 5 % of the edits were done and every worker had done one, to when 90 % were done or no
        record waited to be begun any more, whichever was first."""
        workers = _by_worker(self.edits)
        assert len(workers) == self.workers, "a worker got nothing to do"
        begin = max(self._done(0.05), *(calls[0].end for calls in workers.values()))
        begun = max(call.begin for call in self.policy if call.fresh)
        end, parts = self._done(0.9), []
        for until in (min(end, begun), end):  # the latter only in a quick run, which is too short
            parts = [[call for call in calls if begin <= call.end <= until] for calls in workers.values()]
            if all(len(part) > 1 for part in parts):
                end = until
                break
        assert all(len(part) > 1 for part in parts), "too short a run even for a quick look"
        policy = _by_worker(self.policy)
        idle = [_between(part, policy[part[0].worker]) for part in parts]
        walls = [part[-1].end - part[0].end for part in parts]
        within = [call for part in parts for call in part[1:]]
        edits = [sum(call.size for call in part[1:]) for part in parts]
        return Steady(
            begin,
            end,
            sum(edits),
            sum(edits) / self.batch * self.seconds,
            sum(walls),
            sum(made / wall for made, wall in zip(edits, walls, strict=True)),
            sum(edits) / len(within),
            sum(call.end - call.begin for call in within) / len(within),
            sum(idle_for_io for _, idle_for_io in idle) / sum(walls),
        )

    def _done(self, share: float) -> float:
        """When this share of the edits was first done."""
        made = accumulate(call.size for call in self.edits)
        return next(c.end for c, m in zip(self.edits, made, strict=True) if m >= share * self.made)

    def shares(self) -> Shares:
        total = self.workers * (self.ended - self.started)
        policy = _by_worker(self.policy)
        start_up = tail = waiting = io = 0.0
        for worker, calls in _by_worker(self.edits).items():
            start_up += calls[0].begin - self.started
            tail += max(0.0, self.last_commit - calls[-1].end)
            for_policy, for_io = _between(calls, policy[worker])
            waiting, io = waiting + for_policy, io + for_io
        busy = sum(call.end - call.begin for call in self.edits)
        ending = self.workers * (self.ended - self.last_commit)
        parts = (busy, start_up, waiting, io, tail, ending)
        return Shares(*(part / total for part in parts))

    def policy_idle(self) -> float:
        """The share of workers * wall in which a worker's policy had no call."""
        busy = sum(call.end - call.begin for call in self.policy)
        return 1 - busy / (self.workers * (self.ended - self.started))

    def cpu_share(self, window: Steady, cpus: int) -> float:
        """How busy the machine's CPUs were then, with whatever ran on it."""
        (t0, busy0), (t1, busy1) = (
            min(self.cpu, key=lambda sample: abs(sample[0] - moment)) for moment in (window.begin, window.end)
        )
        return (busy1 - busy0) / (t1 - t0) / cpus if t1 > t0 else float("nan")


def read_timeline(
    notes: Path, found: dict[str, Any], workers: int, batch: int, seconds: float, role: str = "editor"
) -> Timeline:
    """The timeline of a run of `child.run` whose models noted their calls in that folder. Of a run that
    judges, the judge's calls stand in the place of the editor's, and begin its records, too."""
    calls = read_calls(notes)
    edits = tuple(calls[role])
    assert sum(call.size for call in edits) == found["records" if role == "judge" else "steps"]
    return Timeline(
        workers,
        batch,
        seconds,
        edits,
        edits if role == "judge" else tuple(calls["policy"]),
        tuple((moment, count) for moment, count in found["commits"]),
        found["started"],
        found["ended"],
        tuple((moment, busy) for moment, busy in found["cpu_samples"]),
    )


def read_calls(notes: Path) -> dict[str, list[Call]]:
    """What models noted, by role, in the order in which the calls ended."""
    found: dict[str, list[Call]] = defaultdict(list)
    for path in notes.iterdir():
        for line in path.read_text().splitlines():
            note = json.loads(line)
            found[note.pop("role")].append(Call(**note))
    for calls in found.values():
        calls.sort(key=lambda call: call.end)
    return found


def _by_worker(calls: Iterable[Call]) -> dict[int, list[Call]]:
    found: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        found[call.worker].append(call)
    return found


def _between(edits: Sequence[Call], policy: Sequence[Call]) -> tuple[float, float]:
    """Seconds between one worker's edits during which its policy was in a call, and those when it wasn't."""
    gaps = [(a.end, b.begin) for a, b in pairwise(edits) if b.begin > a.end]
    waiting = _overlap(gaps, [(call.begin, call.end) for call in policy])
    return waiting, sum(end - begin for begin, end in gaps) - waiting


def _overlap(gaps: Sequence[tuple[float, float]], calls: Sequence[tuple[float, float]]) -> float:
    """Seconds of `gaps` that are covered by `calls`; both in order of time, neither overlapping itself."""
    covered, at = 0.0, 0
    for begin, end in gaps:
        while at < len(calls) and calls[at][1] <= begin:
            at += 1
        for first, last in calls[at:]:
            if first >= end:
                break
            covered += min(end, last) - max(begin, first)
    return covered
