"""The commands about a catalogue: what all runs under one output have made."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mira_batch.catalogue.compare import compare_runs
from mira_batch.catalogue.explain import explain as explain_record
from mira_batch.catalogue.trajectory import find_trajectory
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
)
from mira_batch.cli.execute import read_storage, run_job
from mira_batch.config.load import load_job_config
from mira_batch.launch import make_job
from mira_batch.report.history import print_difference, print_explanation, print_trajectory
from mira_batch.report.progress import Terminal

Where = Annotated[
    str | None,
    typer.Option("--where", metavar="SQL", help="Which records: a condition over the catalogue's columns."),
]


@app.command(cls=Command)
def explain(
    record: Annotated[str, typer.Argument(help="A record_id.")],
    config: Config,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Say why a plan would run a record or leave it alone, and what runs have made of it."""
    job = make_job(load_job_config(config, set_ or ()))
    with Terminal(err) as progress:
        found = explain_record(job, record, progress)
    if as_json:
        print_json(asdict(found))
    else:
        print_explanation(out, found)
    if found.cause == "unknown":
        raise typer.Exit(1)


@app.command(cls=Command)
def show(
    where: Annotated[str, typer.Argument(metavar="RUN", help="A run's directory, or that of all runs.")],
    record: Annotated[str, typer.Argument(help="A record_id.")],
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Write the images into this directory.")
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Show what the loop did with a record: each step, its scores, and the images where the terminal can."""
    found = find_trajectory(where, record, read_storage(set_ or ()))
    written = found.write_images(images) if images is not None else []
    if as_json:
        print_json(found.dump() | {"images": [str(path) for path in written]})
    else:
        print_trajectory(out, found, written)


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
        typer.Option("--decisions", metavar="FILE", help="Those whose result a person has rejected."),
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Run records again: all that are not ok, or those of --where, or those that people have rejected.

    --config may be the run.json of the run to be repeated: its settings hold, but for --set.
    """
    again = where is not None or decisions is not None
    chosen = where or ("true" if decisions else "status != 'ok'")
    sets = [
        "select=null",
        f"select.where={_quote(chosen)}",
        f"select.again={str(again).lower()}",
        "run_id=null",
    ]
    if decisions is not None:
        sets.append(f"select.decisions={_quote(decisions)}")
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
    sets = ["select=null", f"select.where={_quote(where or 'true')}", "run_id=null"]
    if canary is not None:
        sets.append(f"select.sample={canary}")
    run_job(get_interrupts(context), load_job_config(config, [*sets, *(set_ or ())]), as_json)


def _quote(text: str) -> str:
    """A text as YAML reads it back."""
    return "'" + text.replace("'", "''") + "'"
