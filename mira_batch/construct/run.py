"""A construct from its start to its end: which stages there are, and what each reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from mira_batch.config.construct import ConstructConfig, RunsConfig
from mira_batch.construct.card import write_card
from mira_batch.construct.cut import SampleCutter
from mira_batch.construct.scratch import Seen, open_scratch
from mira_batch.construct.select import PART, SELECTED, select
from mira_batch.construct.stages import Stage, Told, Unit, carry_out, open_output, read_marker
from mira_batch.core.errors import ConfigError, RunStopped
from mira_batch.core.receipts import RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.storage.samples import SAMPLES
from mira_batch.storage.stores import Store, open_store

STAGES = ("select", "samples", "card")
"""In their order."""
FOLDERS = {"select": "selected"}
"""Where a stage writes, where its folder has another name."""


def construct(
    config: ConstructConfig,
    only: str | None = None,
    stop: StopRequest | None = None,
    told: Told = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Make training data, going on from wherever an earlier call stopped.

    Args:
        config: the job's.
        only: one stage; those before it must be done. None carries out all.
        stop: by this a signal handler can end it in order.
        told: told how far it is.

    Returns:
        The marker of each stage that is done, by its name.

    Raises:
        ConfigError: a setting or a source is wrong; or an earlier stage is not done.
        RunConflict: the output is of another config, or a source has changed since.
        RunStopped: `stop` was asked. The same call goes on.
        StoreError: a store can't be used, or what is in it is damaged.
    """
    stop = stop or StopRequest()

    def look() -> None:
        if stop.end is not None:
            summary = RunSummary(config.output.uri, "construct")
            words = f"{stop.words}; nothing is lost, and the same command goes on"
            raise RunStopped(stop.end, words, summary)

    with stop.heeding():
        store = open_store(config.output.uri, config.storage)
        about = open_output(store, config)
        found: dict[str, Any] = {}
        for stage in STAGES:
            if only is None or stage == only:
                found[stage] = _carry_out(stage, store, config, about, look, told)
            elif (done := read_marker(store, FOLDERS.get(stage, stage))) is not None:
                found[stage] = done
        return found


def _carry_out(
    stage: str,
    store: Store,
    config: ConstructConfig,
    about: dict[str, Any],
    look: Callable[[], None],
    told: Told,
) -> dict[str, Any]:
    match stage:
        case "select":
            return _select(store, config, look, told)
        case "samples":
            return _cut(store, config, look, told)
        case _:
            markers = {name: _need(store, name, "card") for name in STAGES[:-1]}
            return write_card(store, config, about, markers)


def _need(store: Store, stage: str, before: str) -> dict[str, Any]:
    """The marker of a stage that another needs."""
    found = read_marker(store, FOLDERS.get(stage, stage))
    if found is None:
        raise ConfigError(
            f"{store.uri}: the stage {before} needs {stage}, which is not done; call it without --stage, or "
            f"with --stage {stage} first"
        )
    return found


def _select(store: Store, config: ConstructConfig, look: Callable[[], None], told: Told) -> dict[str, Any]:
    sources = {n: source for n, source in enumerate(config.sources) if isinstance(source, RunsConfig)}
    units = [Unit(f"{number:05d}", source) for number, source in sources.items()]
    stage = Stage(
        "selected", SELECTED, lambda unit, writer: select(unit, writer, config), rows=PART, size=1 << 40
    )
    read = [json.loads(source.model_dump_json()) for source in sources.values()]
    return carry_out(store, stage, units, read, look, told)


def _cut(store: Store, config: ConstructConfig, look: Callable[[], None], told: Told) -> dict[str, Any]:
    files: Sequence[str] = _need(store, "select", "samples")["files"]
    units = [Unit(f"r{number:06d}", file) for number, file in enumerate(files)]
    with ExitStack() as stack:
        seen = Seen(stack.enter_context(open_scratch()))
        cutter = SampleCutter(store, config, seen)
        stage = Stage(
            "samples",
            SAMPLES,
            cutter.cut_runs,
            cutter.take_done,
            config.samples.part_rows,
            config.samples.part_bytes,
        )
        return carry_out(store, stage, units, list(files), look, told)


def list_samples(store: Store, split: str) -> Iterator[str]:
    """The files of a split, in order.

    Args:
        store: an output of which the samples are done.
        split: train or val.

    Raises:
        ConfigError: its samples are not made yet.
    """
    marker = _need(store, "samples", "export")
    return (file for file in marker["files"] if file.startswith(f"samples/{split}-"))
