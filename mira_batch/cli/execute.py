"""What several commands do: run a job and print what came of it, and find the job of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from mira_batch.cli.app import complain, err, out, print_json, print_text
from mira_batch.cli.interrupts import INTERRUPTED, Interrupts
from mira_batch.config.base import make_absolute
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.load import load_job_config, load_run_config, load_storage
from mira_batch.config.shared import JobConfig, StorageConfig
from mira_batch.core.errors import ConfigError, RunStopped
from mira_batch.core.types import RunEnd
from mira_batch.launch import make_job
from mira_batch.report.causes import causes_table
from mira_batch.report.figures import dump_summary
from mira_batch.report.outcome import describe_none_ok, describe_unread, look_at_results, print_outcome
from mira_batch.report.progress import Terminal
from mira_batch.runtime import run as runner
from mira_batch.runtime.busy import IfRunning
from mira_batch.storage.run.layout import read_last_config
from mira_batch.storage.stores import open_store


def run_job(
    interrupts: Interrupts,
    settings: JobConfig,
    as_json: bool,
    takeover: bool = False,
    profile: bool = False,
    approved: str = "",
    if_running: IfRunning = IfRunning.share,
) -> None:
    """Run a job, and print what came of it.

    Args:
        interrupts: who hears signals.
        settings: of the job.
        as_json: print JSON.
        takeover, profile, approved, if_running: as `runtime.run.run` takes them.
    """
    problem, kind, code = "", "", 0
    with interrupts.run(settings.backend == "inline") as stop, Terminal(err) as progress:
        try:
            summary = runner.run(make_job(settings), progress, stop, takeover, profile, approved, if_running)
            if summary.unread:
                problem, kind, code = describe_unread(summary), "damaged", 1
            elif summary.committed and not summary.ok:
                problem, kind, code = describe_none_ok(summary), "none ok", 1
                if summary.failed == summary.committed:
                    kind = "all failed"
        except RunStopped as early:
            summary, problem, kind = early.summary, str(early), early.end
            code = INTERRUPTED if early.end is RunEnd.interrupted else 1
        begun = bool(summary.run) and (not code or summary.planned > 0)  # else there is nothing to look at
        more, lost = look_at_results(settings, summary) if begun else ({}, "")
    if lost:
        complain(f"[yellow]no {'report' if isinstance(settings, BulkEditConfig) else 'facts'}:[/]", lost)
    if as_json:
        print_json(dump_summary(summary) | more | ({"error": problem} if problem else {}))
    elif begun:
        print_outcome(out, summary, more, profile)
    elif summary.busy:
        print_text(f"skipped: {summary.busy}")
    elif not code:
        out.print("nothing to do")
        out.print(causes_table(summary))
    if code:
        complain(f"[yellow]{kind}:[/]", problem)
        raise typer.Exit(code)


def load_run(run: str | None, config: Path | None, sets: Sequence[str]) -> JobConfig:
    """The config of the job of a run that is named by its directory or by its config.

    Raises:
        ConfigError: not exactly one of both is given, or the config is wrong.
    """
    if (run is None) == (config is None):
        raise ConfigError("give the directory of a RUN, or the --config of its job, one of them")
    if config is not None:
        return load_job_config(config, sets)
    assert run is not None
    uri = make_absolute(run).rstrip("/")
    found = read_last_config(open_store(uri, read_storage(sets), make=False))
    return load_run_config(found, uri, sets)


def read_storage(sets: Sequence[str]) -> StorageConfig:
    """How a store is reached before any config of it is known: by `--set storage.…` and the environment.

    Raises:
        ConfigError: a setting is wrong.
    """
    return load_storage([text for text in sets if text.startswith("storage.")])
