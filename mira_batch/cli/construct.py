"""The commands that make training data, and hand it to trainers of others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mira_batch.cli.app import Command, Json, Sets, app, err, get_interrupts, print_json, print_text
from mira_batch.config.construct import ConstructConfig
from mira_batch.config.load import load_own_config
from mira_batch.construct.run import STAGES
from mira_batch.construct.run import construct as make_data
from mira_batch.report.constructed import StageProgress, describe_stages

StageName = StrEnum("StageName", {stage: stage for stage in STAGES})


@app.command(cls=Command)
def construct(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", "-c", help="YAML or JSON file, of job: construct.")],
    stage: Annotated[
        StageName | None,  # type: ignore[valid-type]
        typer.Option("--stage", help="Only this one; those before it must be done."),
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Make training data: sessions and trajectories become samples that policies learn from.

    Stage by stage; one that is done is not done again, and a call that was cut short goes on.
    """
    settings = load_own_config(ConstructConfig, config, set_ or ())
    with get_interrupts(context).run(True) as stop, StageProgress(err) as progress:
        found: dict[str, Any] = make_data(
            settings, None if stage is None else str(stage), stop, progress.tell
        )
    if as_json:
        print_json(found)
        return
    for line in describe_stages(found, settings.output.uri):
        print_text(line)
