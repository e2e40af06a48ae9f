"""The command of a scheduler: one night of a catalogue."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mira_batch.catalogue.health import dump_night, find_drift, note_night
from mira_batch.cli.app import Command, Config, Json, Sets, app, complain, get_interrupts, out, print_json
from mira_batch.cli.execute import Outcome, end, perform, print_found
from mira_batch.config.load import load_job_config
from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import ConfigError, MiraError, StoreError
from mira_batch.report.night import describe_night
from mira_batch.runtime.busy import IfRunning
from mira_batch.storage.catalogue.place import Catalogue, open_catalogue

_ALERT_SECONDS = 60.0
"""Longest an alert command may take."""


@app.command(cls=Command)
def nightly(
    context: typer.Context,
    config: Config,
    if_running: Annotated[
        IfRunning, typer.Option("--if-running", help="Where another run is at work on the catalogue.")
    ] = IfRunning.skip,
    alert_command: Annotated[
        str | None,
        typer.Option("--alert-command", metavar="SH", help="Called on failure and drift; JSON on its input."),
    ] = None,
    alert_file: Annotated[
        Path | None, typer.Option("--alert-file", metavar="FILE", help="Written on failure and drift.")
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Run one night: what is new or changed, in a run that is named after the day.

    It is compared with the nights before, and what went wrong, or is out of line with them, is told. A night
    in which nothing has changed starts no worker. What a night before has told, and is no worse, is no
    failure of this one. Where another run is at work, it is skipped, with exit code 0.
    """
    try:
        settings = load_job_config(config, ['run_id="night-{date}"', *(set_ or ())])
    except ConfigError as error:  # of which catalogue it would have been is not known
        _alert({"problem": str(error)}, alert_command, alert_file)
        raise
    if not settings.enters_catalogue:
        raise ConfigError(
            "nightly keeps a catalogue, of which a run with rollouts or input.branches is no part; use run"
        )
    try:
        found = perform(get_interrupts(context), settings, if_running=if_running)
    except MiraError as error:
        _tell(settings, None, str(error), alert_command, alert_file, as_json)
        raise
    if found.summary.busy:
        print_found(found, as_json)
        return
    end(_tell(settings, found, found.problem, alert_command, alert_file, as_json) or found)


def _tell(
    settings: JobConfig,
    found: Outcome | None,
    problem: str,
    command: str | None,
    file: Path | None,
    as_json: bool,
) -> Outcome | None:
    """Write down how the night went, print it, and alert where it failed or is out of line.

    Returns what came of it, without what a night before has told.
    """
    summary = None if found is None else found.summary
    try:
        night, earlier = note_night(
            _open(settings), summary, problem, partial(complain, "[yellow]left out:[/]")
        )
    except StoreError as error:  # then the alert is what matters
        complain("[yellow]not written down:[/]", str(error))
        if found is not None:
            print_found(found, as_json)
        if problem:
            _alert({"problem": problem}, command, file)
        return found
    if found is not None and night.known:
        found = replace(found, code=0, kind="", problem="")
    drift = find_drift(night, earlier)
    report = "" if found is None else str(found.more.get("report", ""))
    text = describe_night(night, earlier, drift, summary, report)
    if as_json:
        print_json((found.dump() if found else {"error": problem}) | {"night": dump_night(night, drift)})
    else:
        out.print(text, markup=False)
    if night.problem or any(figure.out for figure in drift):
        _alert(dump_night(night, drift) | {"text": text}, command, file)
    return found


def _open(settings: JobConfig) -> Catalogue:
    return open_catalogue(settings.output.uri, settings.job, settings.storage)


def _alert(what: Mapping[str, object], command: str | None, file: Path | None) -> None:
    """A failing alert is said, but takes nothing from the night."""
    document = json.dumps(what, indent=2, default=str)
    if file is not None:
        try:
            half = file.with_name(f"{file.name}.part")
            half.write_text(document + "\n")
            os.replace(half, file)
        except OSError as error:
            complain("[red]no alert:[/]", f"{file} can't be written: {error.strerror}")
    if command is not None:
        try:
            subprocess.run(
                command, shell=True, input=document, text=True, check=True, timeout=_ALERT_SECONDS, stdout=2
            )
        except (subprocess.SubprocessError, OSError) as error:
            complain("[red]no alert:[/]", str(error))
