"""The commands that make training data, and hand it to trainers of others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from mira_batch.cli.app import Command, Json, Sets, app, err, get_interrupts, print_json, print_text
from mira_batch.cli.settings import read_storage
from mira_batch.config.base import make_absolute
from mira_batch.config.construct import ConstructConfig
from mira_batch.config.load import load_own_config
from mira_batch.construct.formats import FORMATS
from mira_batch.construct.formats import export_samples as write_samples
from mira_batch.construct.formats.run import MARGIN
from mira_batch.construct.run import STAGES
from mira_batch.construct.run import construct as make_data
from mira_batch.core.errors import ConfigError, RunStopped
from mira_batch.core.prompt import PromptForm
from mira_batch.core.receipts import RunSummary
from mira_batch.report.constructed import StageProgress, describe_stages

StageName = StrEnum("StageName", {stage: stage for stage in STAGES})
FormatName = StrEnum("FormatName", {name: name for name in FORMATS})
PromptName = StrEnum("PromptName", {form: form for form in get_args(PromptForm)})


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


@app.command(cls=Command, name="export-samples")
def export_samples(
    context: typer.Context,
    samples: Annotated[str, typer.Argument(metavar="SAMPLES", help="The output of construct.")],
    form: Annotated[FormatName, typer.Option("--format", help="Of which trainer.")],  # type: ignore[valid-type]
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="A directory of its own.")],
    prompt: Annotated[
        PromptName | None,  # type: ignore[valid-type]
        typer.Option("--prompt", help="How much the policy is told; full, unless set."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option("--margin", min=0, max=1, help=f"trl-dpo: least difference of scores ({MARGIN})."),
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Hand samples to another trainer, in its own format and in the words that the policy is asked in.

    Nothing is overwritten; an export that is there already is left alone.
    """
    if margin is not None and form != "trl-dpo":
        raise ConfigError(f"--margin: is for trl-dpo; {form} has no use for it")
    with get_interrupts(context).run(True) as stop, StageProgress(err) as progress:

        def look() -> None:
            if stop.end is not None:
                raise RunStopped(stop.end, f"{stop.words}; call it again", RunSummary(to, "export-samples"))

        found = write_samples(
            make_absolute(samples),
            make_absolute(to),
            str(form),
            read_storage(set_ or ()),
            "full" if prompt is None else str(prompt),  # type: ignore[arg-type]
            MARGIN if margin is None else margin,
            lambda done, total: progress.tell("export", done, total),
            look,
        )
    if as_json:
        print_json(found)
        return
    rows = ", ".join(f"{split} {count:,}" for split, count in found["rows"].items())
    print_text(f"{form}: {rows} in {make_absolute(to)}")
    for name, count in found["counts"].items():
        if name.startswith("dropped."):
            print_text(f"  without {name.split('.', 1)[1].replace('_', ' ')}: {count:,}")
    if found.get("warning"):
        print_text(f"warning: {found['warning']}")
    if found["prompt_version"]:
        print_text(f"prompt {found['prompt_version']}: ask the policy with no other")
