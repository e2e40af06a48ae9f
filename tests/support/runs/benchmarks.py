"""The jobs that a prepared benchmark is given to, called by the commands that `prepare` prints."""

from __future__ import annotations

from pathlib import Path

from tests.support.runs.commands import Commands
from tests.support.servers.models import ModelServer

EMBEDDED = "policy: {type: rules}\neditor: {type: pillow}\nbackend: inline\n"
"""A config of an editor."""
_QUIET = ("--set", "controls={repeats: 0, canaries: 0}", "--set", "backend=inline")


def edit(cli: Commands, prepared: Path, *more: str) -> Path:
    """A run of the embedded models over it; its directory."""
    config = prepared.parent / "edit.yaml"
    config.write_text(EMBEDDED)
    sets = [f"input.manifest={prepared}/manifest.jsonl", f"output.uri={prepared}/edited", "run_id=r", *more]
    words = [part for text in sets for part in ("--set", text)]
    cli.json("run", "--config", config, *words)
    return prepared / "edited" / "r"


def evaluate(cli: Commands, source: Path, prepared: Path, server: ModelServer, judge: str = "") -> Path:
    """An evaluation by the config that `prepare` wrote, or by another judge, at a server; its directory."""
    other = ("--set", f"judge={judge}") if judge else ()
    places = ("--set", f"judge.backend.base_url={server.url}", "--set", "run_id=r")
    words = ("--config", prepared / "judge.yaml", "--output", prepared / "scores", *other, *places, *_QUIET)
    cli.json("evaluate", source, *words)
    return prepared / "scores" / "r"
