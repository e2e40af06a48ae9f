"""A construct from its start to its end: which stages there are, and what each reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mira_batch.config.construct import ConstructConfig, RunsConfig
from mira_batch.construct.best_scores import BEST_SCORES, FOLDER, BestScores, score_samples
from mira_batch.construct.candidates import CANDIDATES, list_candidates
from mira_batch.construct.card import write_card
from mira_batch.construct.cut import SampleCutter
from mira_batch.construct.merging import INSTRUCTIONS, Instructions, merge_sessions
from mira_batch.construct.paraphrase import paraphrase
from mira_batch.construct.runs import check_source
from mira_batch.construct.scratch import Seen, open_scratch
from mira_batch.construct.select import PART, SELECTED, select
from mira_batch.construct.sessions import SESSIONS, describe, gather
from mira_batch.construct.stages import Stage, Told, Unit, carry_out, open_output, read_marker
from mira_batch.core.errors import ConfigError, RunStopped
from mira_batch.core.receipts import RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.storage.samples import SAMPLES
from mira_batch.storage.stores import Store, open_store

STAGES = ("sessions", "merge", "paraphrase", "candidates", "select", "samples", "card")
"""In their order."""
FOLDERS = {"merge": "merged", "paraphrase": "paraphrased", "select": "selected"}
"""Where a stage writes, where its folder has another name."""
_WHOLE = 1 << 40
"""Of files that are not to be cut."""


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
        if not store.list_folders():  # later calls need only the sources of stages that are not done
            for source in config.sources:
                if isinstance(source, RunsConfig):
                    check_source(source, config.storage)
        about = open_output(store, config)
        call = _Call(store, config, look, told)
        found: dict[str, Any] = {}
        for stage in STAGES:
            if only is None or stage == only:
                found[stage] = _carry_out(stage, call, about)
            elif (done := read_marker(store, FOLDERS.get(stage, stage))) is not None:
                found[stage] = done
        return found


@dataclass(frozen=True)
class _Call:
    """What all stages of a call share."""

    store: Store
    config: ConstructConfig
    look: Callable[[], None]
    told: Told

    def carry_out(self, stage: Stage, units: Sequence[Unit], read: Any) -> dict[str, Any]:
        return carry_out(self.store, stage, units, read, self.look, self.told)


def _carry_out(stage: str, call: _Call, about: dict[str, Any]) -> dict[str, Any]:
    match stage:
        case "sessions":
            return _gather(call)
        case "merge":
            return _merge(call)
        case "paraphrase":
            return _paraphrase(call)
        case "candidates":
            return _list_candidates(call)
        case "select":
            return _select(call)
        case "samples":
            return _cut(call)
        case _:
            markers = {name: _need(call.store, name, "card") for name in STAGES[:-1]}
            return write_card(call.store, call.config, about, markers)


def _need(store: Store, stage: str, before: str) -> dict[str, Any]:
    """The marker of a stage that another needs."""
    found = read_marker(store, FOLDERS.get(stage, stage))
    if found is None:
        raise ConfigError(
            f"{store.uri}: the stage {before} needs {stage}, which is not done; call it without --stage, or "
            f"with --stage {stage} first"
        )
    return found


def _gather(call: _Call) -> dict[str, Any]:
    sources = [describe(source) for source in call.config.sources if not isinstance(source, RunsConfig)]
    units = [Unit(f"{number:05d}", source) for number, source in enumerate(sources)]
    work = partial(gather, config=call.config)
    read = [source.config.model_dump(mode="json", exclude_none=True) for source in sources]
    return call.carry_out(Stage("sessions", SESSIONS, work, rows=2_000), units, read)


def _merge(call: _Call) -> dict[str, Any]:
    files = _need(call.store, "sessions", "merge")["files"]
    units = [Unit(f"{number:06d}", file) for number, file in enumerate(files)]
    with open_scratch() as database:
        instructions = Instructions(call.store, Seen(database))
        work = partial(merge_sessions, store=call.store, config=call.config, instructions=instructions)
        stage = Stage("merged", INSTRUCTIONS, work, instructions.take_done, _WHOLE, _WHOLE)
        return call.carry_out(stage, units, files)


def _paraphrase(call: _Call) -> dict[str, Any]:
    files = _need(call.store, "merge", "paraphrase")["files"]
    units = _pair_with_sessions(call.store, files)
    with open_scratch() as database:
        instructions = Instructions(call.store, Seen(database))
        work = partial(paraphrase, store=call.store, config=call.config, instructions=instructions)
        stage = Stage("paraphrased", INSTRUCTIONS, work, instructions.take_done, _WHOLE, _WHOLE)
        return call.carry_out(stage, units, files)


def _list_candidates(call: _Call) -> dict[str, Any]:
    files = _need(call.store, "paraphrase", "candidates")["files"]
    work = partial(list_candidates, store=call.store)
    return call.carry_out(
        Stage("candidates", CANDIDATES, work), _pair_with_sessions(call.store, files), files
    )


def _pair_with_sessions(store: Store, files: Sequence[str]) -> list[Unit]:
    """A unit for each file of instructions, which is about one file of sessions, by whose number it is
    called: `merged/part-<number>-000.parquet`."""
    sessions = _need(store, "sessions", "merge")["files"]
    numbers = [file.rpartition("/")[2].split("-")[1] for file in files]
    return [Unit(number, (file, sessions[int(number)])) for number, file in zip(numbers, files, strict=True)]


def _select(call: _Call) -> dict[str, Any]:
    sources = [source for source in call.config.sources if isinstance(source, RunsConfig)]
    units = [Unit(f"{number:05d}", source) for number, source in enumerate(sources)]
    stage = Stage("selected", SELECTED, partial(select, config=call.config), rows=PART, size=_WHOLE)
    return call.carry_out(stage, units, [source.model_dump(mode="json") for source in sources])


def _cut(call: _Call) -> dict[str, Any]:
    if (done := read_marker(call.store, "samples")) is not None:
        return done
    files = list(_need(call.store, "select", "samples")["files"])
    units = [Unit(f"r{number:06d}", file) for number, file in enumerate(files)]
    if call.config.samples.sessions:
        worded = _need(call.store, "paraphrase", "samples")["files"]
        pairs = _pair_with_sessions(call.store, worded)
        units += [Unit(f"s{unit.name}", unit.read) for unit in pairs]
        files += worded
    scored = _score_samples(call)
    with open_scratch() as database:
        best = BestScores(database)
        best.load(call.store, scored)
        cutter = SampleCutter(call.store, call.config, Seen(database), best)
        config = call.config.samples
        stage = Stage("samples", SAMPLES, cutter.cut, cutter.take_done, config.part_rows, config.part_bytes)
        return call.carry_out(stage, units, files)


def _score_samples(call: _Call) -> Sequence[str]:
    """The files that say what samples are worth, made before the first of these; none where nobody scored."""
    if not any(isinstance(source, RunsConfig) and source.scores != "none" for source in call.config.sources):
        return []
    files = _need(call.store, "select", "samples")["files"]
    units = [Unit(f"{number:06d}", file) for number, file in enumerate(files)]
    work = partial(score_samples, store=call.store, config=call.config)
    return call.carry_out(Stage(FOLDER, BEST_SCORES, work), units, files)["files"]


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
