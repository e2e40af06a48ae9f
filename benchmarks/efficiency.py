"""How much of a run's time the editors are at work, and where the rest goes.

Models are simulated: they sleep, so that workers don't compete for the CPUs as real ones wouldn't, and note
when each of their calls began and ended. The policy takes a fifth of the editor's time.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_least, at_most, in_table, reported
from benchmarks.timeline import Timeline, read_timeline
from benchmarks.workload import config, custom, manifest, records_with

WORKERS, SECONDS = 4, 0.2
"""The headline run."""
BATCH, POLICY_BATCH, SIDE = 4, 8, 64
HEADLINE = (WORKERS, SECONDS)
ASIDE = ((1, 0.2), (1, 1.0), (16, 1.0))
"""The cells that figures of the main table are of."""
MATRIX = tuple((workers, seconds) for workers in (1, 4, 16) for seconds in (0.05, 0.2, 1.0))
TABLE = "Efficiency by workers and seconds of an editor's call"


def timed_models(notes: Path, seconds: float, together: int = 1) -> dict[str, Any]:
    """A policy and an editor that take their time and note it; the settings `policy` and `editor`."""
    notes.mkdir(parents=True)
    editor = {"type": "simulated", "service": {"seconds": seconds}, "max_batch": BATCH}
    policy = {"type": "simulated", "service": {"seconds": seconds / 5}, "max_batch": POLICY_BATCH}
    return {
        "policy": custom("noting_policy", notes=str(notes), settings=policy),
        "editor": custom("noting_editor", notes=str(notes), settings=editor, together=together),
    }


def _job(folder: Path, workers: int, seconds: float, work: float, together: int) -> dict[str, Any]:
    """The config of a run whose edits take `work` seconds at full batches on so many workers."""
    names = records_with(edits=round(work * workers * BATCH / seconds))
    models = timed_models(folder / "notes", seconds, together)
    return config(manifest(folder, SIDE, names), folder / "out", workers={"min": workers}, **models)


@cache
def _headline_run(bench: Bench) -> dict[str, Any]:
    job = _job(_folder(bench), WORKERS, SECONDS, bench.size(60, 5), together=1)
    return in_child("run", config=job, profile=True)


def _folder(bench: Bench) -> Path:
    return bench.folder / "efficiency"


@cache
def _headline(bench: Bench) -> Timeline:
    return read_timeline(_folder(bench) / "notes", _headline_run(bench), WORKERS, BATCH, SECONDS)


@cache
def _cells(bench: Bench, cells: tuple[tuple[int, float], ...]) -> dict[tuple[int, float], Timeline]:
    """Cells one after the other on one Ray, which is up before the first."""
    folders = {cell: bench.folder / f"efficiency-{len(cells)}-{_name(*cell)}" for cell in cells}
    jobs = [_job(folders[cell], *cell, work=_work(*cell), together=cell[0]) for cell in cells]
    found = in_child("runs", configs=jobs, workers=max(workers for workers, _ in cells))["runs"]
    return {
        (workers, seconds): read_timeline(folders[workers, seconds] / "notes", run, workers, BATCH, seconds)
        for (workers, seconds), run in zip(cells, found, strict=True)
    }


def _matrix(bench: Bench) -> dict[tuple[int, float], Timeline]:
    """All cells, the headline's a run by itself: the only one of a quick benchmark."""
    lines = {HEADLINE: _headline(bench)}
    if not bench.quick:
        lines |= _cells(bench, tuple(cell for cell in MATRIX if cell != HEADLINE))
    return dict(sorted(lines.items()))


def _work(workers: int, seconds: float) -> float:
    """Seconds of bare editor time in a cell: enough records for a steady state, 24 being in flight at once.

    Sixteen workers with quick edits want more than two CPUs have, and take several times that. With less work
    the last of them would start when all of it is done.
    """
    if workers == 1 or seconds >= 1:
        return 30
    return 10 if workers >= 16 else 5


def _name(workers: int, seconds: float) -> str:
    return f"{workers}x{seconds:g}"


def _setting(line: Timeline) -> str:
    return (
        f"{line.made:,} edits of {line.records:,} records (1 to 8 each), {line.seconds:g} s a call, batch "
        f"{line.batch}, policy {line.seconds / 5:g} s for up to {POLICY_BATCH}, {line.workers} workers on "
        f"Ray, {SIDE}² images"
    )


def steady_efficiency(bench: Bench) -> Figure:
    line = _headline(bench)
    window = line.steady()
    return at_least(
        0.97,
        "efficiency_steady",
        window.efficiency,
        "",
        f"{_setting(line)}: bare editor time ÷ wall of each worker, from when 5 % of the edits were done to "
        f"when 90 % were or the last record was begun, by the models' own notes: {window.edits:,} edits, "
        f"mean batch {window.mean_batch:.2f}, mean call {window.mean_call:.4f} s.",
    )


def end_to_end_efficiency(bench: Bench) -> Figure:
    line = _headline(bench)
    return at_least(
        0.90,
        "efficiency_end_to_end",
        line.bare(line.made) / (line.ended - line.started),
        "",
        "The same run, bare editor time ÷ wall of the whole `run` call, from before Ray starts until "
        "after it has stopped, plan included; the models load in no time.",
    )


def end_to_end_without_load(bench: Bench) -> Figure:
    line, run = _headline(bench), _headline_run(bench)
    return at_least(
        0.90,
        "efficiency_end_to_end_without_load",
        line.bare(line.made) / (line.ended - line.started - run["ray_start"] - run["pool_start"]),
        "",
        f"The same, less what is loaded: Ray, in {run['ray_start']:.1f} s (a cluster's is up), and the pool "
        f"until the first worker has its models, in {run['pool_start']:.1f} s, which is processes that start "
        f"and import, here {WORKERS} on {os.cpu_count()} CPUs.",
    )


def working_efficiency(bench: Bench) -> Figure:
    line = _headline(bench)
    return reported(
        "efficiency_first_edit_to_last_commit",
        line.bare(line.made) / (line.last_commit - line.first_edit),
        "",
        "The same run without start-up: bare editor time ÷ wall from the first editor call to the last "
        "commit.",
    )


def startup_seconds(bench: Bench) -> Figure:
    line = _headline(bench)
    return reported(
        "startup_seconds",
        line.first_edit - line.started,
        "s",
        "The same run: from the `run` call to the first editor call (Ray's start, plan, actor pool, a policy "
        "call). It does not grow with the work, except for the plan.",
    )


def tail_share(bench: Bench) -> Figure:
    line = _headline(bench)
    return at_most(
        0.10,
        "tail_share",
        (line.last_commit - line.committed(0.95)) / (line.last_commit - line.first_edit),
        "",
        "The same run: time in which the last 5 % of the records were committed, as a share of the wall from "
        "the first editor call to the last commit.",
    )


def one_worker(bench: Bench) -> list[Figure]:
    """Of one GPU with one worker, which is what most have. Left out of a quick run, as is `scaling`."""
    if bench.quick:
        return []
    line = _cells(bench, ASIDE)[1, 0.2]
    window = line.steady()
    figure = at_least(
        0.97,
        "efficiency_steady_one_worker",
        window.efficiency,
        "",
        f"{_setting(line)}: bare editor time ÷ wall in the steady state, on a Ray that is up: "
        f"{window.edits:,} edits, mean batch {window.mean_batch:.2f}, mean call {window.mean_call:.4f} s.",
    )
    return [figure]


def scaling(bench: Bench) -> list[Figure]:
    """Sixteen workers, who take long to start, against one."""
    if bench.quick:
        return []
    one, sixteen = (_cells(bench, ASIDE)[workers, 1.0].steady() for workers in (1, 16))
    figure = at_least(
        15,
        "scaling_16_to_1",
        sixteen.edits_per_second / one.edits_per_second,
        "",
        f"Edits per second of 16 workers ÷ 1, 1 s a call of {BATCH}, each in its steady state: "
        f"{sixteen.edits_per_second:.2f} to {one.edits_per_second:.2f}. That is records per second, too: "
        "both draw their records' edits alike.",
    )
    return [figure]


def matrix(bench: Bench) -> list[Figure]:
    """Every cell; a figure each per column of the table."""
    return [
        in_table(figure, TABLE, f"{workers} x {seconds:g} s", column)
        for (workers, seconds), line in _matrix(bench).items()
        for column, figure in _columns(_name(workers, seconds), line).items()
    ]


def _columns(name: str, line: Timeline) -> dict[str, Figure]:
    window, shares = line.steady(), line.shares()
    ray = "its start and end of Ray included" if name == _name(WORKERS, SECONDS) else "on a Ray that is up"
    whole = f"of workers × wall of the `run` call, {ray}. {_setting(line)}."
    busy = line.cpu_share(window, os.cpu_count() or 1)
    steady = f"Bare editor time ÷ wall in the steady state. {_setting(line)}."
    found = {
        "steady": ("efficiency_steady", window.efficiency, steady),
        "end to end": (
            "efficiency_end_to_end",
            line.bare(line.made) / (line.ended - line.started),
            f"Bare editor time ÷ wall of the `run` call, {ray}. {_setting(line)}.",
        ),
        "editor idle": ("editor_idle", shares.idle, f"Editors without a call, {whole}"),
        "start-up": ("editor_idle_start_up", shares.start_up, f"Before a worker's first edit, {whole}"),
        "policy wait": (
            "editor_idle_policy_wait",
            shares.policy_wait,
            f"Between edits while the worker's policy was in a call, {whole}",
        ),
        "io": ("editor_idle_io", shares.io, f"Between edits while it was not, {whole}"),
        "tail": ("editor_idle_tail", shares.tail, f"From a worker's last edit to the last commit, {whole}"),
        "ending": ("editor_idle_ending", shares.ending, f"After the last commit, {whole}"),
        "policy idle": ("policy_idle", line.policy_idle(), f"Policies without a call, {whole}"),
        "CPUs": (
            "cpus_busy",
            busy,
            "How busy this machine's CPUs were in the steady state, with whatever ran.",
        ),
    }
    return {
        column: reported(f"{kind}_{name}", value, "", how) for column, (kind, value, how) in found.items()
    }


FIGURES = (
    steady_efficiency,
    end_to_end_efficiency,
    end_to_end_without_load,
    working_efficiency,
    startup_seconds,
    tail_share,
    one_worker,
    scaling,
)
WORKERS_FIGURES = (matrix,)
