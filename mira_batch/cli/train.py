"""The commands that train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from mira_batch.cli.app import Command, Config, Json, Sets, app, get_interrupts, print_json, print_text, tell
from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.load import load_own_config
from mira_batch.config.train import SftConfig

train = typer.Typer(help="Teach a policy, or an editor.", no_args_is_help=True)
app.add_typer(train, name="train")


@train.command("policy-sft", cls=Command)
def policy_sft(context: typer.Context, config: Config, set_: Sets = None, as_json: Json = False) -> None:
    """Teach a policy by the samples that `construct` writes; the result is what `policy.adapter` loads.

    It goes on from its newest checkpoint, wherever an earlier call stopped.
    """
    settings = load_own_config(SftConfig, config, set_ or ())
    from mira_batch.train.run import train as train_policy  # takes seconds

    with get_interrupts(context).run(settings.backend == "inline") as stop:
        result = train_policy(settings, tell, stop)
    _print_result(result, settings.output.uri, as_json)


@train.command("editor-sft", cls=Command)
def editor_sft(context: typer.Context, config: Config, set_: Sets = None, as_json: Json = False) -> None:
    """Teach an editor by pairs of images; the result is what `editor.loras` loads.

    It goes on from its newest checkpoint, wherever an earlier call stopped.
    """
    settings = load_own_config(EditorSftConfig, config, set_ or ())
    from mira_batch.train.editor.run import train as train_editor  # takes seconds

    with get_interrupts(context).run(settings.backend == "inline") as stop:
        result = train_editor(settings, tell, stop)
    _print_result(result, settings.output.uri, as_json)


@train.command("editor-nft", cls=Command)
def editor_nft(context: typer.Context, config: Config, set_: Sets = None, as_json: Json = False) -> None:
    """Teach an editor by its own samples, judged; the result is what `editor.loras` loads.

    Each iteration is a run of the edit job, an evaluation and an update. It goes on in the phase that an
    earlier call was in.
    """
    settings = load_own_config(EditorNftConfig, config, set_ or ())
    from mira_batch.train.nft.run import train as train_editor  # takes seconds

    with get_interrupts(context).run(settings.backend == "inline") as stop:
        result = train_editor(settings, tell, stop)
    _print_iterations(
        result, settings.output.uri, {"reward_mean": "reward", "sentinel_mean": "sentinel"}, as_json
    )


@train.command("policy-grpo", cls=Command)
def policy_grpo(context: typer.Context, config: Config, set_: Sets = None, as_json: Json = False) -> None:
    """Teach a policy by its own rollouts, with the editor in the loop.

    The result is what `policy.adapter` loads.

    Each iteration is a run of the edit job, an evaluation and an update. It goes on in the phase that an
    earlier call was in.
    """
    settings = load_own_config(GrpoConfig, config, set_ or ())
    from mira_batch.train.grpo.run import train as train_policy  # takes seconds

    with get_interrupts(context).run(settings.backend == "inline") as stop:
        result = train_policy(settings, tell, stop)
    _print_iterations(result, settings.output.uri, {"success": "success", "score": "score"}, as_json)


def _print_iterations(
    result: Mapping[str, Any], output: str, figures: Mapping[str, str], as_json: bool
) -> None:
    """What a training by iterations came to.

    Args:
        result: its figures.
        output: its directory.
        figures: of validations that are told, and how they are called.
        as_json: as plain data.
    """
    if as_json:
        print_json(result)
        return
    for title, name in (("at the start", "validation_at_start"), ("now", "validation")):
        if (found := result[name]) is not None:
            told = ", ".join(f"{word} {found[key]:.4f}" for key, word in figures.items() if key in found)
            print_text(f"held-out records {title}: {told}")
    print_text(f"{result['iterations']:,} iterations; {result['ended']}")
    learned = result["learned"]
    print_text(f"{learned}: {output.rstrip('/')}/{learned} (of iteration {result['iteration']:,})")


def _print_result(result: Mapping[str, Any], output: str, as_json: bool) -> None:
    """What a training by steps of gradients came to."""
    if as_json:
        print_json(result)
        return
    figures = result["figures"]
    for name, title in (("loss", "training loss"), ("val_loss", "validation loss"), ("sight", "sight")):
        if name in figures:
            print_text(f"{title}: {figures[name]:.4f}")
    print_text(f"{result['learned']}: {output.rstrip('/')}/{result['learned']}")
