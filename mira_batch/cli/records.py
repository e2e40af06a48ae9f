"""The commands about one record."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mira_batch.catalogue.explain import explain as explain_record
from mira_batch.cli.app import Command, Config, Json, Sets, app, err, out, print_json
from mira_batch.cli.settings import load_run, read_storage
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.load import load_job_config
from mira_batch.core.errors import ConfigError
from mira_batch.launch import make_job
from mira_batch.report.history import print_explanation, print_replay, print_trajectory
from mira_batch.report.progress import Terminal
from mira_batch.storage.catalogue.trajectory import find_trajectory

Rollout = Annotated[
    int | None,
    typer.Option("--rollout", min=0, metavar="K", help="Which trajectory, of a run that made several."),
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
    rollout: Rollout = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Write the images into this directory; none is overwritten."
        ),
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Show what the loop did with a record: each step, its scores, and the images where the terminal can."""
    found = find_trajectory(where, record, read_storage(set_ or ()), rollout)
    written = found.write_images(images) if images is not None else []
    if as_json:
        print_json(found.dump() | {"images": [str(path) for path in written]})
    else:
        print_trajectory(out, found, written)


@app.command(cls=Command)
def replay(
    where: Annotated[str, typer.Argument(metavar="RUN", help="A run's directory, or that of all runs.")],
    record: Annotated[str, typer.Argument(help="A record_id.")],
    rollout: Rollout = None,
    from_step: Annotated[
        int, typer.Option("--from-step", min=1, help="Take the steps before this one as they are.")
    ] = 1,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Run a record once more as its run did, in this process, and say what comes out otherwise, and by which
    component. Nothing is written."""
    from mira_batch.edit.job import EditJob
    from mira_batch.edit.replay import replay as replay_record

    sets = list(set_ or ())
    found = find_trajectory(where, record, read_storage(sets), rollout)
    settings = load_run(found.run.uri, None, sets)
    if not isinstance(settings, BulkEditConfig):
        raise ConfigError(f"{found.run.uri}: is no run of the edit job")
    with Terminal(err) as progress:
        done = replay_record(found, EditJob(settings), from_step - 1, progress.note)
    if as_json:
        difference = None if done.difference is None else asdict(done.difference)
        print_json({"verdict": done.verdict, "difference": difference, "models": done.models})
    else:
        print_replay(out, done)
    if done.verdict == "different":
        raise typer.Exit(1)
