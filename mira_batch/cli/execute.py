"""What the commands do that run a job: run it, and print what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import typer

from mira_batch.cli.app import complain, err, out, print_json, print_text
from mira_batch.cli.interrupts import INTERRUPTED, Interrupts
from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import RunStopped
from mira_batch.core.receipts import RunSummary
from mira_batch.core.types import RunEnd
from mira_batch.launch import make_job
from mira_batch.report.causes import causes_table
from mira_batch.report.figures import dump_summary
from mira_batch.report.outcome import describe_none_ok, describe_unread, look_at_results, print_outcome
from mira_batch.report.progress import Terminal
from mira_batch.runtime import run as runner
from mira_batch.runtime.busy import IfRunning


@dataclass(frozen=True)
class Outcome:
    """What came of a command that ran a job."""

    summary: RunSummary
    code: int = 0
    """Its exit code."""
    kind: str = ""
    """What went wrong, in a word or two."""
    problem: str = ""
    """The same in a sentence."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What there is to look at, as of `look_at_results`."""
    lost: str = ""
    """Why there is nothing."""

    @property
    def begun(self) -> bool:
        """Whether there is a run to look at."""
        return bool(self.summary.run) and (not self.code or self.summary.planned > 0)

    def dump(self) -> dict[str, Any]:
        """The whole of it, for `--json`."""
        return (
            dump_summary(self.summary)
            | {
                name: found.dump() if name in ("evaluation", "preferences") else found
                for name, found in self.more.items()
            }
            | ({"error": self.problem} if self.problem else {})
        )


def perform(
    interrupts: Interrupts,
    settings: JobConfig,
    takeover: bool = False,
    profile: bool = False,
    approved: str = "",
    if_running: IfRunning = IfRunning.share,
) -> Outcome:
    """Run a job, and look at what came of it.

    Args:
        interrupts: who hears signals.
        settings: of the job.
        takeover, profile, approved, if_running: as `runtime.run.run` takes them.
    """
    with interrupts.run(settings.backend == "inline") as stop, Terminal(err) as progress:
        try:
            job = make_job(settings)
            settings = job.config  # with the adapter that it takes
            summary = runner.run(job, progress, stop, takeover, profile, approved, if_running)
            found = _judge(summary)
        except RunStopped as early:
            code = INTERRUPTED if early.end is RunEnd.interrupted else 1
            found = Outcome(early.summary, code, early.end, str(early))
        if not found.begun:
            return found
        more, lost = look_at_results(settings, found.summary)
    return replace(found, more=more, lost=lost)


def _judge(summary: RunSummary) -> Outcome:
    if summary.unread:
        return Outcome(summary, 1, "damaged", describe_unread(summary))
    if summary.committed and not summary.ok:
        kind = "all failed" if summary.failed == summary.committed else "none ok"
        return Outcome(summary, 1, kind, describe_none_ok(summary))
    return Outcome(summary)


def run_job(
    interrupts: Interrupts,
    settings: JobConfig,
    as_json: bool,
    takeover: bool = False,
    profile: bool = False,
    approved: str = "",
    if_running: IfRunning = IfRunning.share,
) -> None:
    """Run a job, and print what came of it; arguments but for `as_json` as of `perform`."""
    found = perform(interrupts, settings, takeover, profile, approved, if_running)
    if found.lost:
        what = {"edit": "report", "inspect": "facts"}.get(settings.job, "figures")
        complain(f"[yellow]no {what}:[/]", found.lost)
    print_found(found, as_json, profile)
    end(found)


def print_found(found: Outcome, as_json: bool, profile: bool = False) -> None:
    """Print what came of a job; arguments as of `run_job`."""
    if as_json:
        print_json(found.dump())
    elif found.begun:
        print_outcome(out, found.summary, found.more, profile)
    elif found.summary.busy:
        print_text(f"skipped: {found.summary.busy}")
    elif not found.code:
        out.print("nothing to do")
        out.print(causes_table(found.summary))


def end(found: Outcome) -> None:
    """Say what went wrong, if anything, and exit with its code."""
    if found.code:
        complain(f"[yellow]{found.kind}:[/]", found.problem)
        raise typer.Exit(found.code)
