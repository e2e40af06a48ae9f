"""The samples' stage: demonstrations read again with their images, cut, freed of duplicates, split,
written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from mira_batch.config.construct import ConstructConfig
from mira_batch.construct.best_scores import BestScores, read_selected
from mira_batch.construct.candidates import demonstrate
from mira_batch.construct.demonstration import Demonstration, Fault, find_faults, find_path, relabel
from mira_batch.construct.runs import RunReader
from mira_batch.construct.samples import HINDSIGHT, TRAJECTORY, choose_split, cut_samples
from mira_batch.construct.scratch import Seen
from mira_batch.construct.select import RELABEL
from mira_batch.construct.stages import Counts, PartWriter, Unit, read_part
from mira_batch.construct.words import merge
from mira_batch.storage.stores import Store

Labelled = tuple[Demonstration, str]
"""A demonstration, and the origin of its samples."""


class SampleCutter:
    """Makes the samples of a unit: the trajectories of one file of `selected/`, or the sessions of one of
    `paraphrased/`.

    Counts: `trajectories` of runs, of which each is one of `demonstrations` or `lost.<why>`; `instructions`
    of sessions, of which each is one of `session_demonstrations` or `left.<why>`; `questions`, one for each
    step of a demonstration and one for its end, of which each is a sample (`samples`) or `dropped.<why>`.
    """

    def __init__(self, store: Store, config: ConstructConfig, seen: Seen, best: BestScores) -> None:
        """
        Args:
            store: the output.
            config: the job's.
            seen: the names of all samples so far.
            best: the score of each sample that has one, over all trajectories.
        """
        self._store, self._config, self._seen, self._best = store, config, seen, best
        self._open = lru_cache(maxsize=4)(lambda run: RunReader(run, config.storage))

    def take_done(self, files: Sequence[str]) -> None:
        """Remember the samples of a unit that an earlier call made."""
        for file in files:
            self._seen.add_all(read_part(self._store, file, ["sample_id"])["sample_id"].to_pylist())

    def cut(self, unit: Unit, writer: PartWriter) -> Counts:
        """The samples of a unit: of a file of `selected/`, or of one of `paraphrased/` with its sessions.

        Raises:
            StoreError: as `cut_runs`.
        """
        if isinstance(unit.read, str):
            return self.cut_runs(unit, writer)
        counts: Counts = Counter()
        self.write(demonstrate(self._store, unit.read, self._config, counts), writer, counts)
        return counts

    def cut_runs(self, unit: Unit, writer: PartWriter) -> Counts:
        """The samples of the trajectories that one file names.

        Raises:
            StoreError: a run is gone or damaged since.
        """
        counts: Counts = Counter()
        for use, demonstration in self._read_runs(unit.read, counts):
            counts["demonstrations"] += 1
            self.write(self._label(use, demonstration), writer, counts)
        return counts

    def write(self, labelled: Iterable[Labelled], writer: PartWriter, counts: Counts) -> None:
        """Cut demonstrations, and write the samples that are new.

        Args:
            labelled: the demonstrations.
            writer: for the samples.
            counts: what becomes of each question.
        """
        for demonstration, origin in labelled:
            for event, row in cut_samples(demonstration, self._config.samples, origin):
                counts["questions"] += 1
                if row is None:
                    counts[f"dropped.{event}"] += 1
                elif not self._seen.add(row["sample_id"]):
                    counts["dropped.duplicate"] += 1
                else:
                    # Whichever trajectory comes first: equal samples are worth what the best of theirs is.
                    if (best := self._best.find(row["sample_id"])) is not None:
                        row["score"] = best
                    row["split"] = choose_split(row["source_digest"], self._config.split)
                    counts["samples"] += 1
                    counts[name_cell(row)] += 1
                    writer.add(row["split"], row, _weigh(row))

    def _read_runs(self, file: str, counts: Counts) -> Iterator[tuple[str, Demonstration]]:
        for run, shard, rows, chosen in read_selected(self._store, file):
            uses = {row["row"]: row["use"] for row in rows}
            reader = self._open(run)
            for each, found in reader.read(shard, chosen):
                counts["trajectories"] += 1
                if isinstance(found, str):
                    counts[f"lost.{found}"] += 1
                    continue
                if reader.is_lossy:
                    counts["lossy_trajectories"] += 1
                yield uses[each.row], found

    def _label(self, use: str, demonstration: Demonstration) -> Iterator[Labelled]:
        if use != RELABEL:
            yield demonstration, TRAJECTORY
        if self._config.samples.hindsight != "trust_editor":
            return
        deeds = demonstration.deeds
        ends = [len(deeds) - 1] if use == RELABEL and deeds else []
        if use != RELABEL:
            faults = find_faults(demonstration, self._config.samples.worse)
            ends = [i for i, fault in enumerate(faults) if fault in (Fault.undone, Fault.worse)]
        for end in ends:
            if path := find_path(deeds, end):
                goal = merge([deeds[index].instruction for index in path])
                yield relabel(demonstration, path, goal), HINDSIGHT


CELL = ("split", "kind", "origin", "licence", "dataset")
"""By what samples are counted."""
_UNKNOWN = ""


def name_cell(row: dict[str, Any]) -> str:
    """The name that a sample is counted under: `sample|train|start|trajectory|CC-BY-4.0|MagicBrush`."""
    parts = [(row[name] or _UNKNOWN).replace("|", "/") for name in CELL]
    return "|".join(["sample", *parts])


def read_cells(counts: dict[str, int]) -> list[tuple[dict[str, str], int]]:
    """What `name_cell` counted: values by name, and how many. No licence is an empty text."""
    cells = [(name.split("|")[1:], count) for name, count in counts.items() if name.startswith("sample|")]
    return [(dict(zip(CELL, parts, strict=True)), count) for parts, count in cells]


def _weigh(row: dict[str, Any]) -> int:
    return sum(len(image["bytes"]) for image in (row["original"], row["current"]) if image)
