"""The commands of learning from a catalogue: turns, promotions, and what a model was made from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mira_batch.cli.app import (
    Command,
    Config,
    Json,
    Sets,
    app,
    complain,
    get_interrupts,
    print_json,
    print_text,
    tell,
)
from mira_batch.cli.settings import read_storage
from mira_batch.config.base import make_absolute
from mira_batch.config.flywheel import FlywheelConfig
from mira_batch.config.load import load_own_config
from mira_batch.core.errors import ConfigError
from mira_batch.report.turned import (
    describe_damage,
    describe_lineage,
    describe_promotions,
    describe_turn,
    describe_turns,
)

Place = Annotated[str, typer.Argument(metavar="PLACE", help="The directory of promotions.")]


@app.command(cls=Command)
def flywheel(
    context: typer.Context,
    config: Config,
    status: Annotated[
        bool, typer.Option("--status", help="Only say how the turns stand, and what is current.")
    ] = False,
    abandon: Annotated[
        str | None,
        typer.Option("--abandon", metavar="WHY", help="Only end the open turn, without a promotion."),
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Learn from what was edited and what people said of it: a candidate is trained, tried on held-out
    records, compared with the current policy, and promoted where it passes the gate.

    It goes on in the stage that an earlier call was in. Exit code 1: there was a candidate, and it was not
    promoted.
    """
    settings = load_own_config(FlywheelConfig, config, set_ or ())
    from mira_batch.train.flywheel import run as turns  # its rooms take a second

    if status and abandon is not None:
        raise ConfigError("give --status or --abandon, one of them")
    if abandon is not None and not abandon.strip():
        raise ConfigError("--abandon: say why, in words")
    if status:
        found = turns.look(settings)
        if as_json:
            print_json(found)
        else:
            for line in describe_turns(found):
                print_text(line)
        for problem in found["problems"]:
            complain("[red]damaged:[/]", problem)
        if found["problems"]:
            raise typer.Exit(2)
        return
    if abandon is not None:
        result = turns.abandon(settings, abandon)
    else:
        with get_interrupts(context).run(settings.backend == "inline") as stop:
            result = turns.turn(settings, tell, stop)
    if as_json:
        print_json(result)
    else:
        for line in describe_turn(result, settings.place):
            print_text(line)
    if result["outcome"] == turns.KEPT:
        raise typer.Exit(1)


@app.command(cls=Command)
def promote(
    place: Place,
    adapter: Annotated[
        str | None, typer.Argument(help="The output of a training, or the directory adapter/ in it.")
    ] = None,
    to: Annotated[
        int | None, typer.Option("--to", min=1, metavar="N", help="Make promotion N current again.")
    ] = None,
    why: Annotated[str, typer.Option("--why", help="In words, for people.")] = "",
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Promote an adapter, or roll back to an earlier promotion; with neither list what was promoted.

    Runs whose `policy.adapter.promoted` names the place take it from their next plan on. Exit code 2 of the
    list: what is current there is damaged.
    """
    from mira_batch.train.flywheel.promote import list_promotions, promote_adapter, promote_anew

    if adapter is not None and to is not None:
        raise ConfigError("give an ADAPTER or --to, one of them")
    place, storage = make_absolute(place).rstrip("/"), read_storage(set_ or ())
    if adapter is None and to is None:
        if why:
            raise ConfigError("--why: is for a promotion; give an ADAPTER or --to")
        found = list_promotions(place, storage)
        if as_json:
            print_json(found)
        else:
            for line in describe_promotions(found):
                print_text(line)
        if "problem" in found[0]:
            complain("[red]damaged:[/]", describe_damage(found, place))
            raise typer.Exit(2)
        return
    if to is not None:
        made = promote_anew(place, to, why, storage)
    else:
        assert adapter is not None
        made = promote_adapter(place, make_absolute(adapter).rstrip("/"), why or "by hand", storage)
    if as_json:
        print_json(asdict(made))
    else:
        print_text(f"promotion {made.number} in {place}: {made.adapter}")


@app.command(cls=Command)
def lineage(
    model: Annotated[
        str, typer.Argument(help="A training, the adapter in it, or a directory of promotions.")
    ],
    promotion: Annotated[
        int | None, typer.Option("--promotion", min=1, metavar="N", help="Which; else the current one.")
    ] = None,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Say what a model was made from: its training, its data, and the runs and records of these.

    With --json each record by name.
    """
    from mira_batch.train.flywheel.lineage import trace

    found = trace(make_absolute(model).rstrip("/"), read_storage(set_ or ()), promotion)
    if as_json:
        print_json(found)
        return
    for line in describe_lineage(found):
        print_text(line)
