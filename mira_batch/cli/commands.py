"""The commands: thin over the library, the only place that prints and exits."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from mira_batch.cli.interrupts import INTERRUPTED, Interrupts
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.load import load_job_config
from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import ConfigError, MiraError, RunStopped, UserError, describe
from mira_batch.core.text import show_text
from mira_batch.core.types import RunEnd
from mira_batch.launch import make_job
from mira_batch.report.figures import dump_summary
from mira_batch.report.outcome import describe_none_ok, describe_unread, look_at_results, print_outcome
from mira_batch.report.progress import Terminal, summary_table
from mira_batch.report.streams import Murmur, divert_prints, is_terminal, keep_streams, open_answer
from mira_batch.runtime import preflight
from mira_batch.runtime import run as runner

app = typer.Typer(
    help="Edit images in bulk by instruction: a policy names the edits, an editor carries them out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Config = Annotated[Path, typer.Option("--config", "-c", help="YAML or JSON file, or a run.json.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Override one setting; may be repeated.")
]
Takeover = Annotated[
    bool, typer.Option("--takeover", help="Take the run over from a driver that is at work on it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

# Without a terminal (a job's log, a pipe) nothing is cut or wrapped.
_out = Console(highlight=False, emoji=False, soft_wrap=True, width=None if is_terminal(1) else 200)
# A descriptor of its own, since the one of stderr is hushed for a moment while Ray starts.
_murmur = Murmur()
_err = Console(file=_murmur, highlight=False, emoji=False, soft_wrap=True)


class _Command(TyperCommand):
    """A command whose standard output holds its answer alone."""

    def invoke(self, ctx: Any) -> Any:
        """Run it. What models and libraries print from now on goes to standard error."""
        divert_prints(_murmur)
        return super().invoke(ctx)


@app.command("make-tiny", cls=_Command)
def make_tiny(
    directory: Annotated[Path, typer.Argument(help="A new or empty directory.")], as_json: Json = False
) -> None:
    """Write tiny random models of the real classes, to rehearse a deployment without weights or a GPU."""
    from mira_batch.models.tiny import make_tiny as make

    models = {name: str(path) for name, path in make(directory).items()}
    if as_json:
        _print_json(models)
    else:
        for name, path in models.items():
            _out.print(show_text(f"{name:<26} {path}"), markup=False)


@app.command(cls=_Command)
def validate(config: Config, set_: Sets = None, as_json: Json = False) -> None:
    """Check everything that can be checked before spending: settings, manifest, store, models."""
    findings = []
    for finding in preflight.validate(make_job(load_job_config(config, set_ or ()))):
        findings.append(finding)
        if not as_json:
            mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
            _out.print(f"{mark} {finding.what:<9}", end=" ")
            _out.print(show_text(finding.detail), markup=False)
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    if not all(finding.ok for finding in findings):
        raise typer.Exit(2)


@app.command(cls=_Command)
def plan(context: typer.Context, config: Config, set_: Sets = None, as_json: Json = False) -> None:
    """Plan the run without running it: read the manifest, reject bad rows, cut shards."""
    job = make_job(load_job_config(config, set_ or ()))
    inline = job.config.backend == "inline"
    with _interrupts(context).run(inline) as stop, Terminal(_err) as progress:
        summary = runner.plan(job, progress, stop)
    if as_json:
        _print_json(dump_summary(summary))
    else:
        _out.print(
            f"{summary.planned:,} records in {summary.shards:,} shards, {summary.committed:,} committed"
        )
        _out.print(f"{summary.rejected:,} rows rejected, {summary.skipped:,} already done by an earlier run")
        _out.print(show_text(f"plan: {summary.run}/plan"), markup=False)


@app.command(cls=_Command)
def run(
    context: typer.Context,
    config: Config,
    set_: Sets = None,
    takeover: Takeover = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write and print where the time of this call went.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the job, going on from wherever an earlier call stopped.

    Ctrl-C, SIGTERM or SIGHUP finishes the steps in hand; a second one leaves at once. None loses anything.
    """
    _run(_interrupts(context), load_job_config(config, set_ or ()), takeover, profile, as_json)


@app.command(cls=_Command)
def inspect(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Argument(help="A manifest, or the directory of a run: then its result images.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="Directory of all runs of it.")] = "facts",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML or JSON file of the job, in place of SOURCE.")
    ] = None,
    set_: Sets = None,
    takeover: Takeover = False,
    as_json: Json = False,
) -> None:
    """Look at every image before spending on it: format, size, colour, sharpness, borders, a row each.

    Images that an edit would refuse are named with the reason. It goes on from wherever an earlier call
    stopped.
    """
    if (source is None) == (config is None):
        raise ConfigError("inspect: give a SOURCE, or --config with the settings of the job, one of them")
    given = config or {"input": {"manifest": source}, "output": {"uri": output}}
    _run(_interrupts(context), load_job_config(given, set_ or (), "inspect"), takeover, False, as_json)


def _interrupts(context: typer.Context) -> Interrupts:
    assert isinstance(context.obj, Interrupts)
    return context.obj


def _run(interrupts: Interrupts, settings: JobConfig, takeover: bool, profile: bool, as_json: bool) -> None:
    """Run a job, and print what came of it."""
    problem, kind, code = "", "", 0
    with interrupts.run(settings.backend == "inline") as stop, Terminal(_err) as progress:
        try:
            summary = runner.run(make_job(settings), progress, stop, takeover, profile)
            if summary.unread:
                problem, kind, code = describe_unread(summary), "damaged", 1
            elif summary.committed and not summary.ok:
                problem, kind, code = describe_none_ok(summary), "none ok", 1
                if summary.failed == summary.committed:
                    kind = "all failed"
        except RunStopped as early:
            summary, problem, kind = early.summary, str(early), early.end
            code = INTERRUPTED if early.end is RunEnd.interrupted else 1
        begun = not code or summary.planned > 0  # else there is nothing to look at
        more, lost = look_at_results(settings, summary) if begun else ({}, "")
    if lost:
        _complain(f"[yellow]no {'report' if isinstance(settings, BulkEditConfig) else 'facts'}:[/]", lost)
    if as_json:
        _print_json(dump_summary(summary) | more | ({"error": problem} if problem else {}))
    elif begun:
        print_outcome(_out, summary, more, profile)
    if code:
        _complain(f"[yellow]{kind}:[/]", problem)
        raise typer.Exit(code)


@app.command(cls=_Command)
def status(config: Config, set_: Sets = None, as_json: Json = False) -> None:
    """Say how far the run is, from its directory alone."""
    summary = runner.status(make_job(load_job_config(config, set_ or ())))
    if as_json:
        _print_json(dump_summary(summary))
    else:
        _out.print(summary_table(summary))


@app.command(cls=_Command)
def verify(config: Config, set_: Sets = None, as_json: Json = False) -> None:
    """Check a run against its plan: every record once, every image whole, every chain of steps too."""
    verdict = runner.verify(make_job(load_job_config(config, set_ or ())))
    if as_json:
        _print_json(asdict(verdict) | {"whole": verdict.whole})
    else:
        counts = f"{verdict.planned:,} planned, {verdict.committed:,} committed"
        _out.print(f"{counts}, {verdict.steps:,} steps, {verdict.images:,} images decoded")
        for problem in verdict.problems:
            _out.print("[red]✗[/]", end=" ")
            _out.print(show_text(problem), markup=False)
        if verdict.whole:
            good = (
                "[green]✓ whole:[/]"
                if verdict.ok == verdict.committed
                else "[yellow]✓ whole, not all good:[/]"
            )
            found = f"{verdict.ok:,} ok, {verdict.unfinished:,} unfinished, {verdict.failed:,} failed"
            _out.print(f"{good} {found}")
        else:
            _out.print(f"[red]{len(verdict.problems)} problems[/]")
    if not verdict.whole:
        raise typer.Exit(1)


@app.command(cls=_Command)
def clean(
    config: Config,
    set_: Sets = None,
    all_state: Annotated[
        bool,
        typer.Option("--all-state", help="Also the steps of records still to run; they are made again."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete what a run no longer needs: step state of what is committed, and what killed processes left."""
    with Terminal(_err) as progress:
        cleaned = runner.clean(make_job(load_job_config(config, set_ or ())), progress, all_state)
    if as_json:
        _print_json(asdict(cleaned))
    else:
        _out.print(f"{cleaned.objects:,} objects deleted, {cleaned.size / 1e6:,.1f} MB")


def _print_json(data: Any) -> None:
    _out.file.write(json.dumps(data, indent=2, default=str) + "\n")
    _out.file.flush()


def _complain(head: str, text: str) -> None:
    """One message on standard error; `text` may be of foreign origin."""
    _err.print(head, end=" ")
    _err.print(show_text(text), markup=False)


def run_command(arguments: Sequence[str] | None, interrupts: Interrupts) -> int:
    """Run one command to its end; returns the exit code.

    Args:
        arguments: the command's. None takes those of this process, whose standard output then is the answer
            to its end: also what libraries print when it exits goes to standard error.
        interrupts: hears signals.
    """
    if arguments is None:
        return _answer(sys.argv[1:], interrupts)
    with keep_streams():
        return _answer(list(arguments), interrupts)


def _answer(arguments: list[str], interrupts: Interrupts) -> int:
    _out.file = answer = open_answer()
    interrupts.owes_json = lambda: "--json" in arguments and not answer.used
    code, error = _call(arguments, interrupts)
    if error is not None and interrupts.owes_json():
        with suppress(UserError):  # standard output is lost as well
            _print_json({"error": str(error) if isinstance(error, MiraError) else describe(error)})
    with suppress(UserError, OSError):  # that it was lost is told by now
        answer.close()
    divert_prints(_murmur)  # also after help, which is shown before that
    return code


def _call(arguments: list[str], interrupts: Interrupts) -> tuple[int, Exception | None]:
    """The exit code, and what went wrong."""
    try:
        app(args=arguments, obj=interrupts)
    except RunStopped as early:  # before there was anything to show
        _complain(f"[yellow]{early.end}:[/]", str(early))
        return INTERRUPTED if early.end is RunEnd.interrupted else 1, early
    except MiraError as error:
        _complain("[red bold]error:[/]", str(error))
        if interrupts.heard:  # and Ray died as well: one line is enough
            return INTERRUPTED, error
        return 2 if isinstance(error, UserError) else 1, error
    except SystemExit as done:  # how the framework ends, also after bad usage
        code = int(done.code or 0)
        return code, UserError("bad usage; standard error says what is wrong") if code == 2 else None
    except Exception as error:
        traceback.print_exc(file=_murmur)
        return 1, error
    return 0, None
