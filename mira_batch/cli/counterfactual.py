"""The command that says which step ruined a trajectory."""

from __future__ import annotations

from typing import Annotated, Any

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
from mira_batch.config.counterfactual import CounterfactualConfig
from mira_batch.config.load import load_own_config
from mira_batch.core.identity import name_rollout
from mira_batch.storage.counterfactual import STEPS_FILE, read_counterfactual

_MOST_SHOWN = 10


@app.command(cls=Command)
def counterfactual(
    context: typer.Context,
    config: Config,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what it would take; nothing is written.")
    ] = False,
    set_: Sets = None,
    as_json: Json = False,
) -> None:
    """Find which step ruined a trajectory, and what each was worth.

    States of a run are gone back to: the policy goes on from each again, and each step is left out. It goes
    on from wherever an earlier call stopped. `report RUN --counterfactual DIR` shows it.
    """
    settings = load_own_config(CounterfactualConfig, config, set_ or ())
    from mira_batch.train.counterfactual import run as counterfactuals  # loads what jobs need

    if plan:
        found = counterfactuals.plan(settings)
        if as_json:
            print_json(found.dump())
        for line in () if as_json else found.describe():
            print_text(line)
        return
    with get_interrupts(context).run(settings.backend == "inline") as stop:
        result = counterfactuals.find_values(settings, tell, stop)
    if as_json:
        print_json(result)
    else:
        _print_result(result, settings)
    if not result["with_advantage"]:
        complain("[yellow]nothing is known:[/]", "no two states next to each other have a judged end")
        raise typer.Exit(1)


def _print_result(result: dict[str, Any], settings: CounterfactualConfig) -> None:
    print_text(
        f"{result['trajectories']:,} trajectories: a step ruined {result['ruined']:,}, of "
        f"{result['none_named']:,} none can be named"
    )
    columns = ["record_id", "rollout", "step", "action", "edit", "value_before", "value_after", "ruined"]
    table = read_counterfactual(settings.output.uri, settings.storage).select(columns)
    ruined = table.filter(table["ruined"]).to_pylist()
    for row in ruined[:_MOST_SHOWN]:
        what = row["edit"] if row["action"] == "edit" else "STOP"
        print_text(
            f"  {name_rollout(row['record_id'], row['rollout'])}, step {row['step'] + 1}: {what} "
            f"({row['value_before']:.2f} → {row['value_after']:.2f})"
        )
    if (more := len(ruined) - _MOST_SHOWN) > 0:
        print_text(f"  and {more:,} more")
    for what, words in (("continuations", "continuations"), ("laid_down", "laid down")):
        found = result[what]
        left = ", ".join(f"{kind} {count:,}" for kind, count in found["left_out"].items())
        print_text(
            f"{words}: {found['judged']:,} of {found['ends']:,} judged" + (f"; {left}" if left else "")
        )
    if names := result["unusable"]["names"]:
        more = result["unusable"]["records"] - len(names[:_MOST_SHOWN])
        print_text(
            f"could not begin: {', '.join(names[:_MOST_SHOWN])}" + (f" and {more:,} more" if more else "")
        )
    print_text(f"steps: {settings.output.uri.rstrip('/')}/{STEPS_FILE}")
