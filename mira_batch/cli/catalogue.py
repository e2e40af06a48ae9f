"""The commands about a catalogue: what all runs under one output have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from mira_batch.catalogue.compare import compare_runs
from mira_batch.cli.app import (
    Command,
    Config,
    Json,
    Sets,
    app,
    err,
    get_interrupts,
    out,
    print_json,
    print_text,
)
from mira_batch.cli.execute import run_job
from mira_batch.cli.settings import quote, read_storage
from mira_batch.config.base import make_absolute
from mira_batch.config.load import load_job_config
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.report.history import print_difference
from mira_batch.report.progress import Terminal
from mira_batch.runtime.busy import keep_idle
from mira_batch.runtime.forget import Retention
from mira_batch.runtime.forget import forget as forget_runs
from mira_batch.storage.catalogue.check import check_catalogue
from mira_batch.storage.catalogue.fold import fold
from mira_batch.storage.catalogue.place import Catalogue, open_with_runs
from mira_batch.storage.catalogue.rollback import roll_back
from mira_batch.storage.catalogue.snapshot import list_snapshots
from mira_batch.storage.schema import RESULTS_OF

Where = Annotated[
    str | None,
    typer.Option("--where", metavar="SQL", help="Which records: a condition over the catalogue's columns."),
]


@app.command(cls=Command)
def diff(
    old: Annotated[str, typer.Argument(help="The directory of a run.")],
    new: Annotated[str, typer.Argument(help="The directory of another.")],
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Compare two runs: settings, records that came, went or have another result, and what each run cost."""
    found = compare_runs(old, new, read_storage(set_ or ()))
    if as_json:
        print_json(asdict(found))
    else:
        print_difference(out, found)


@app.command(cls=Command)
def retry(
    context: typer.Context,
    config: Config,
    where: Where = None,
    decisions: Annotated[
        str | None,
        typer.Option(
            "--decisions",
            metavar="FILE",
            help="Those whose result a person has rejected, by a file or by what `decide` kept in a run.",
        ),
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Run records again: all that are not ok, or those of --where, or those that people have rejected.

    --config may be the run.json of the run to be repeated: its settings hold, but for --set.
    """
    again = where is not None or decisions is not None
    chosen = where if where is not None else "true" if decisions is not None else "status != 'ok'"
    sets = [
        "select=null",
        f"select.where={quote(chosen)}",
        f"select.again={str(again).lower()}",
        "run_id=null",
    ]
    if decisions is not None:
        sets.append(f"select.decisions={quote(decisions)}")
    run_job(get_interrupts(context), load_job_config(config, [*sets, *(set_ or ())]), as_json)


@app.command(cls=Command)
def reprocess(
    context: typer.Context,
    config: Config,
    where: Where = None,
    canary: Annotated[
        int | None,
        typer.Option("--canary", metavar="N", help="Only so many of them: a sample of every kind."),
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Run what the catalogue has with other settings: all, or what --where says; perhaps a sample first.

    What these settings have made already stays as it is.
    """
    sets = ["select=null", f"select.where={quote('true' if where is None else where)}", "run_id=null"]
    if canary is not None:
        sets.append(f"select.sample={canary}")
    run_job(get_interrupts(context), load_job_config(config, [*sets, *(set_ or ())]), as_json)


catalogue = typer.Typer(help="What all runs under one output have made together.", no_args_is_help=True)
app.add_typer(catalogue, name="catalogue")
Output = Annotated[str, typer.Argument(help="The directory of all runs.")]
JobName = Annotated[str, typer.Option("--job", help="Of which job.")]


@catalogue.command("list", cls=Command)
def list_(output: Output, job: JobName = "edit", set_: Sets = None, as_json: Json = False) -> None:
    """List the snapshots of a catalogue, the newest first."""
    found = list_snapshots(_open(output, job, set_).store)
    if as_json:
        print_json([asdict(snapshot) for snapshot in found])
        return
    for entry in found:
        created = datetime.fromisoformat(entry.created).isoformat(timespec="seconds")
        out.print(f"{entry.number:>6}  {created}  {entry.records:,} records, {entry.runs:,} runs")


@catalogue.command(cls=Command)
def rebuild(output: Output, job: JobName = "edit", set_: Sets = None, as_json: Json = False) -> None:
    """Make the catalogue anew from the runs, where it was lost or is in doubt.

    What is damaged is left out and named, and the exit status is 1.
    """
    opened = _open(output, job, set_, write=True)
    damaged: dict[str, None] = {}  # a fold that was overtaken begins again, and meets the same
    made = fold(opened, RESULTS_OF[job], lambda error: damaged.setdefault(str(error)), anew=True)
    if as_json:
        found = {"snapshot": made.number, "records": made.records, "runs": len(made.runs)}
        print_json(found | {"left_out": list(damaged)})
    else:
        out.print(f"snapshot {made.number}: {made.records:,} records of {len(made.runs):,} runs")
        for problem in damaged:
            out.print("[red]✗ left out:[/]", end=" ")
            print_text(problem)
    if damaged:
        raise typer.Exit(1)


@catalogue.command("verify", cls=Command)
def verify_catalogue(output: Output, job: JobName = "edit", set_: Sets = None, as_json: Json = False) -> None:
    """Check the catalogue against the runs that it is made of."""
    verdict = check_catalogue(_open(output, job, set_), RESULTS_OF[job])
    if as_json:
        print_json(asdict(verdict) | {"whole": verdict.whole})
    else:
        out.print(f"snapshot {verdict.snapshot}: {verdict.records:,} records")
        for problem in verdict.problems:
            out.print("[red]✗[/]", end=" ")
            print_text(problem)
        out.print("[green]✓ whole[/]" if verdict.whole else f"[red]{len(verdict.problems)} problems[/]")
    if not verdict.whole:
        raise typer.Exit(1)


@catalogue.command(cls=Command)
def rollback(
    output: Output,
    number: Annotated[int, typer.Argument(help="Of the snapshot to go back to; `catalogue list` has them.")],
    job: JobName = "edit",
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Make an earlier snapshot the newest again. No run is deleted.

    Roll back the settings, too: the next run makes again whatever its own settings ask for.
    """
    opened = _open(output, job, set_, write=True)
    # Of a run at work, a part would be left out, and the rest come in.
    with Terminal(err) as progress, keep_idle(opened, progress.note):
        fold(opened, RESULTS_OF[job], _raise)  # what has come since is left out as well
        made = roll_back(opened, number)
    if as_json:
        print_json({"snapshot": made.number, "records": made.records})
    else:
        out.print(f"snapshot {made.number} is as {number} was: {made.records:,} records")


@app.command(cls=Command)
def forget(
    output: Output,
    last: Annotated[int, typer.Option("--keep-last", min=1, help="Newest snapshots to keep.")] = 1,
    daily: Annotated[int, typer.Option("--keep-daily", min=0, help="The last of so many days.")] = 0,
    weekly: Annotated[int, typer.Option("--keep-weekly", min=0, help="The last of so many weeks.")] = 0,
    monthly: Annotated[int, typer.Option("--keep-monthly", min=0, help="The last of so many months.")] = 0,
    yearly: Annotated[int, typer.Option("--keep-yearly", min=0, help="The last of so many years.")] = 0,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    job: JobName = "edit",
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Delete results that have been superseded, and snapshots but for those that are to be kept.

    What stands for a record now, or did so in a kept snapshot, is copied and read back before anything goes.
    """
    opened = _open(output, job, set_, write=True)
    retention = Retention(last, daily, weekly, monthly, yearly)
    with Terminal(err) as progress:
        done = forget_runs(opened, RESULTS_OF[job], retention, progress.note, dry)
    if as_json:
        print_json(asdict(done))
        return
    would = "would be " if dry else ""
    out.print(f"{len(done.kept)} snapshots {would}kept, {len(done.snapshots)} {would}deleted")
    for name, rows in done.deleted.items():
        people = (
            f" and {done.decisions[name]:,} files of decisions about them" if name in done.decisions else ""
        )
        print_text(f"{name}: {would}deleted, {rows:,} superseded rows{people}")
    for name, rows in done.copied.items():
        print_text(f"{name}: {would}deleted but for {rows:,} rows that are still needed")


def _open(output: str, job: str, set_: Sequence[str] | None, write: bool = False) -> Catalogue:
    if job not in RESULTS_OF:
        raise ConfigError(f"--job {job}: is no job; there are {', '.join(RESULTS_OF)}")
    return open_with_runs(make_absolute(output).rstrip("/"), job, read_storage(set_ or ()), write)


def _raise(error: StoreError) -> None:
    raise error
