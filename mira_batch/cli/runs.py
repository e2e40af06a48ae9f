"""The commands about a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from mira_batch.cli.app import (
    Command,
    Config,
    Json,
    MaybeConfig,
    Sets,
    app,
    err,
    get_interrupts,
    out,
    print_json,
    print_text,
)
from mira_batch.cli.execute import run_job
from mira_batch.cli.settings import load_run
from mira_batch.cli.watch import watch_run
from mira_batch.config.load import load_job_config
from mira_batch.core.errors import ConfigError, UserError
from mira_batch.core.text import show_text
from mira_batch.launch import make_job
from mira_batch.report.causes import causes_table, describe_estimate
from mira_batch.report.figures import dump_summary
from mira_batch.report.progress import Terminal, summary_table
from mira_batch.runtime import preflight
from mira_batch.runtime import run as runner
from mira_batch.runtime.busy import IfRunning
from mira_batch.storage.schema import REJECTS

_MOST_NAMED = 5
"""Unusable rows that a plan names."""
Takeover = Annotated[
    bool, typer.Option("--takeover", help="Take the run over from a driver that is at work on it.")
]
First = Annotated[
    int | None,
    typer.Option(
        "--first", metavar="N", min=1, help="Only the first N rows of the manifest, in a run of their own."
    ),
]
Run = Annotated[str | None, typer.Argument(help="The directory of a run, in place of --config.")]


@app.command("make-tiny", cls=Command)
def make_tiny(
    directory: Annotated[Path, typer.Argument(help="A new or empty directory.")], as_json: Json = False
) -> None:
    """Write tiny random models of the real classes, to rehearse a deployment without weights or a GPU."""
    from mira_batch.models.tiny import make_tiny as make

    models = {name: str(path) for name, path in make(directory).items()}
    if as_json:
        print_json(models)
    else:
        for name, path in models.items():
            out.print(show_text(f"{name:<26} {path}"), markup=False)


@app.command(cls=Command)
def validate(config: Config, set_: Sets = None, as_json: Json = False) -> None:
    """Check everything that can be checked before spending: settings, manifest, store, models."""
    findings = []
    for finding in preflight.validate(make_job(load_job_config(config, set_ or ()))):
        findings.append(finding)
        if not as_json:
            mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
            out.print(f"{mark} {finding.what:<9}", end=" ")
            out.print(show_text(finding.detail), markup=False)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if not all(finding.ok for finding in findings):
        raise typer.Exit(2)


@app.command(cls=Command)
def plan(
    context: typer.Context,
    config: Config,
    set_: Sets = None,
    first: First = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            "--assume",
            metavar="NAME=X",
            help="edits of a record; edit_seconds of a worker, edit_dollars of an endpoint for each of them.",
        ),
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", metavar="FILE", help="Write unusable rows here, as Parquet.")
    ] = None,
    detailed: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 3 where there is something to do.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a run would do, and why, before anything is spent or written.

    `run --plan` with the digest that is printed runs this plan, and refuses any other.
    """
    job = make_job(load_job_config(config, [*_set_first(first), *(set_ or ())]))
    inline = job.config.backend == "inline"
    with get_interrupts(context).run(inline) as stop, Terminal(err) as progress:
        unusable: list[pa.Table] = []
        summary = runner.plan(job, progress, stop, _read_assumed(assume or ()), unusable.append)
    if rejects is not None:
        _write_rejects(rejects, unusable)
    if as_json:
        print_json(dump_summary(summary))
    else:
        out.print(f"{summary.planned:,} records in {summary.shards:,} shards to run", end="")
        out.print(f", {summary.committed:,} of them committed" if summary.run else "")
        out.print(causes_table(summary))
        for row in [row for table in unusable for row in table.to_pylist()][:_MOST_NAMED]:
            print_text(f"unusable: {row['where']}: {row['field']} {row['reason']}")
        if summary.estimate is not None and summary.committed < summary.planned:
            out.print(describe_estimate(summary.estimate), highlight=False)
        if summary.run:
            print_text(f"run:  {summary.run}")
        print_text(f"plan: {summary.plan}")
    if detailed and summary.committed < summary.planned:
        raise typer.Exit(3)


def _write_rejects(file: Path, rejects: Sequence[pa.Table]) -> None:
    try:
        pq.write_table(pa.concat_tables([REJECTS.empty_table(), *rejects]), file)
    except OSError as error:
        raise UserError(f"--rejects {file}: can't be written: {error.strerror}") from None


def _read_assumed(assume: Sequence[str]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for text in assume:
        name, _, value = text.partition("=")
        try:
            figures[name.strip()] = float(value)
        except ValueError:
            raise ConfigError(f"--assume {text}: should look like edit_seconds=12.5") from None
        if not 0 <= figures[name.strip()] < float("inf"):
            raise ConfigError(f"--assume {text}: should be a number, and not below 0")
    return figures


@app.command(cls=Command)
def run(
    context: typer.Context,
    config: Config,
    set_: Sets = None,
    first: First = None,
    takeover: Takeover = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write and print where the time of this call went.")
    ] = False,
    approved: Annotated[
        str, typer.Option("--plan", metavar="DIGEST", help="Refuse any other plan than this one.")
    ] = "",
    if_running: Annotated[
        IfRunning, typer.Option("--if-running", help="Where another run is at work on the catalogue.")
    ] = IfRunning.share,
    as_json: Json = False,
) -> None:
    """Run the job, going on from wherever an earlier call stopped.

    Ctrl-C, SIGTERM or SIGHUP finishes the steps in hand; a second one leaves at once. None loses anything.
    """
    settings = load_job_config(config, [*_set_first(first), *(set_ or ())])
    run_job(get_interrupts(context), settings, as_json, takeover, profile, approved, if_running)


def _set_first(first: int | None) -> list[str]:
    """Settings of a run over the first rows; its name is its own, whatever the config calls the whole."""
    return [] if first is None else [f"first={first}", "run_id=null"]


@app.command(cls=Command)
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
    settings = load_job_config(given, set_ or (), "inspect")
    run_job(get_interrupts(context), settings, as_json, takeover)


@app.command(cls=Command)
def status(
    run: Run = None,
    config: MaybeConfig = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on saying what it is doing until its driver has ended.")
    ] = False,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Say how far the run is, from its directory alone."""
    job = make_job(load_run(run, config, set_ or ()))
    if watch:
        watch_run(runner.open_existing(job))
    summary = runner.status(job)
    if as_json:
        print_json(dump_summary(summary))
    else:
        out.print(summary_table(summary))


@app.command(cls=Command)
def verify(
    run: Run = None,
    config: MaybeConfig = None,
    set_: Sets = None,
    of_catalogue: Annotated[
        bool, typer.Option("--catalogue", help="Instead, whether the run's catalogue says what its runs say.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a run against its plan: every record once, every image whole, every chain of steps too."""
    settings = load_run(run, config, set_ or ())
    if of_catalogue:
        from mira_batch.cli.catalogue import verify_catalogue

        verify_catalogue(settings.output.uri, settings.job, set_, as_json)
        return
    verdict = runner.verify(make_job(settings))
    if as_json:
        print_json(asdict(verdict) | {"whole": verdict.whole})
    else:
        counts = f"{verdict.planned:,} planned, {verdict.committed:,} committed"
        out.print(f"{counts}, {verdict.steps:,} steps, {verdict.images:,} images decoded")
        for problem in verdict.problems:
            out.print("[red]✗[/]", end=" ")
            out.print(show_text(problem), markup=False)
        if verdict.whole:
            good = (
                "[green]✓ whole:[/]"
                if verdict.ok == verdict.committed
                else "[yellow]✓ whole, not all good:[/]"
            )
            found = f"{verdict.ok:,} ok, {verdict.unfinished:,} unfinished, {verdict.failed:,} failed"
            out.print(f"{good} {found}")
        else:
            out.print(f"[red]{len(verdict.problems)} problems[/]")
    if not verdict.whole:
        raise typer.Exit(1)


@app.command(cls=Command)
def clean(
    run: Run = None,
    config: MaybeConfig = None,
    set_: Sets = None,
    all_state: Annotated[
        bool,
        typer.Option("--all-state", help="Also the steps of records still to run; they are made again."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Delete what a run no longer needs: step state of what is committed, and what killed processes left."""
    with Terminal(err) as progress:
        cleaned = runner.clean(make_job(load_run(run, config, set_ or ())), progress, all_state)
    if as_json:
        print_json(asdict(cleaned))
    else:
        out.print(f"{cleaned.objects:,} objects deleted, {cleaned.size / 1e6:,.1f} MB")
