"""Trajectories of the edit job: which rows there are, and each as a demonstration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.construct import RunsConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.construct.demonstration import Deed, Demonstration, Origin, Picture
from mira_batch.construct.pictures import Unusable, keep_exact
from mira_batch.core.errors import ConfigError, RecordError, StoreError
from mira_batch.core.types import FINISHED
from mira_batch.storage import schema
from mira_batch.storage.catalogue.decided import find_decided, read_verdicts, read_verdicts_of_runs
from mira_batch.storage.catalogue.standing import find_kind, find_standing_rows
from mira_batch.storage.run.decisions import APPROVE, REJECT
from mira_batch.storage.run.history import read_result_file, shard_in
from mira_batch.storage.run.layout import RUN, read_edit_run, result_key
from mira_batch.storage.run.originals import open_originals
from mira_batch.storage.run.results import find_groups, result_files, take_rows, tell_unfinished
from mira_batch.storage.run.step_images import find_step_image
from mira_batch.storage.stores import Store, open_arrow_filesystem, open_store

_SMALL = ("record_id", "work_id", "instruction", "status", "stop_reason", "num_steps", "source_digest",
          "result_digest", "metadata")  # fmt: skip
_OF_STEPS = ("accepted", "score")
_WHOLE = (*_SMALL, "source", "final_thought", "steps")
_OF_DEEDS = ("instruction", "before", "after", "accepted", "score")
_LIGHT = ("record_id", "work_id", "instruction", "stop_reason", "source_digest",
          *(f"steps.list.element.{name}" for name in _OF_DEEDS))  # fmt: skip
_ROLLOUT = "rollout"
_Take = Callable[..., list[pa.Table]]
"""Takes rows out of a result file, by their `numbers`."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row of results, without its images."""

    run: str
    """Directory of its run."""
    shard: int
    row: int
    """Its number in the file."""
    values: Mapping[str, Any]
    """Small columns, `rollout` (0 where the run has none) and `own_score`."""
    decision: str | None
    """What people's newest decision about it is, approve or reject; None: there is none, or nobody was
    asked."""


def check_source(source: RunsConfig, storage: StorageConfig) -> None:
    """See that there are runs at all, before anything is made.

    Args:
        source: where they are.
        storage: how it is reached.

    Raises:
        ConfigError: there are none.
        ManifestError: it can't be looked at.
    """
    if find_kind(source.uri.rstrip("/"), storage) is None:
        raise ConfigError(f"{source.uri}: holds no run of the edit job; give its directory, or output.uri")


def find_rows(source: RunsConfig, storage: StorageConfig) -> Iterator[FoundRow]:
    """Every row of a run, each rollout by itself; or of a catalogue those that are current. With what people
    said of them.

    Args:
        source: where they are.
        storage: how it is reached.

    Raises:
        ConfigError: there is no run, or a decision can't be read.
        StoreError: one is damaged.
    """
    one_run = open_store(source.uri, storage, make=False).exists(RUN)
    found = find_standing_rows(source.uri, one_run, storage, rollouts=one_run)
    more = None if source.decisions is None else read_verdicts(source.decisions, storage, "decisions")
    verdicts = read_verdicts_of_runs(found.runs.values(), more) if source.asks_people else {}
    wanted: dict[str, dict[int, set[int]]] | None = None
    if one_run:
        runs = [source.uri.rstrip("/")]
    else:
        wanted = _gather(found.tables)
        runs = [f"{found.output.rstrip('/')}/{name}" for name in sorted(wanted)]
        if not runs:
            raise ConfigError(
                f"{source.uri}: holds no run of the edit job; give its directory, or output.uri"
            )
    for run in runs:
        fs, files = result_files(run, storage)
        rows_of = None if wanted is None else wanted[run.rpartition("/")[2]]
        for file in files:
            shard = shard_in(file)
            if rows_of is not None and shard not in rows_of:
                continue
            wanted_fields = [schema.RESULTS.field(name) for name in _SMALL]
            table = read_result_file(fs, run, file, wanted_fields, _read_small, storage)
            decided = {said: find_decided(table, verdicts, said) for said in (APPROVE, REJECT)}
            for number, values in enumerate(table.to_pylist()):
                if rows_of is None or number in rows_of[shard]:
                    said = next((said for said, rows in decided.items() if rows[number]), None)
                    yield FoundRow(run, shard, number, values, said)


def _gather(tables: Iterator[pa.Table]) -> dict[str, dict[int, set[int]]]:
    """The current rows of a catalogue by run and shard: some dozen bytes each."""
    found: dict[str, dict[int, set[int]]] = {}
    for table in tables:
        for row in table.select(["run", "shard", "row", "gone"]).to_pylist():
            if row["gone"] is None:
                found.setdefault(row["run"], {}).setdefault(row["shard"], set()).add(row["row"])
    return found


def _read_small(parquet: pq.ParquetFile) -> pa.Table:
    """The small columns, with `rollout` and the score of the step whose image is the result."""
    there = parquet.schema_arrow.names
    steps = [f"steps.list.element.{name}" for name in _OF_STEPS]
    names = [*_SMALL, *([_ROLLOUT] if _ROLLOUT in there else [])]
    table = tell_unfinished(parquet.read(columns=[*names, *steps], use_threads=False))
    own = pa.array([_score_result(row or ()) for row in table["steps"].to_pylist()], pa.float64())
    table = table.drop_columns(["steps"]).append_column("own_score", own)
    numbers = table[_ROLLOUT].to_pylist() if _ROLLOUT in there else [None] * table.num_rows
    table = table.drop_columns([_ROLLOUT]) if _ROLLOUT in there else table
    return table.append_column(_ROLLOUT, pa.array([number or 0 for number in numbers], pa.int32()))


def _score_result(steps: Sequence[Mapping[str, Any]]) -> float | None:
    """The judge's score of the result: of all accepted images the best, as the loop takes it; None
    without."""
    scores = [step["score"] for step in steps if step["accepted"] and step["score"] is not None]
    return max(scores) if scores else None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A row to be read whole, and what is known of it."""

    shard: int
    row: int
    record_id: str
    work_id: str
    score: float | None
    dataset: str
    licence: str | None


class RunReader:
    """Reads trajectories of one run whole, images and all, a row group at a time."""

    def __init__(self, run: str, storage: StorageConfig) -> None:
        """
        Args:
            run: its directory.
            storage: how it, and its originals, are reached.

        Raises:
            RunConflict: there is none, or it is of another job.
            StoreError: it is damaged.
        """
        self._storage = storage
        self.store: Store = open_store(run, storage, make=False)
        self._about = read_edit_run(self.store)
        self._input, self._originals = open_originals(self.store, storage)
        self._fs, self._root = open_arrow_filesystem(run, storage)

    def read(self, shard: int, chosen: Sequence[Chosen]) -> Iterator[tuple[Chosen, Demonstration | str]]:
        """Rows of one result file as demonstrations, or why one can't be: its original is gone or another.

        Args:
            shard: which file.
            chosen: rows of it.

        Raises:
            StoreError: it is gone, damaged, or has other rows there.
        """
        for some, found in self._read_rows(shard, chosen, _take):
            embedded = self._originals.read_embedded([row["source"] for row in found])
            for each, row in zip(some, found, strict=True):
                yield each, self._make(each, row, embedded)

    def read_without_images(
        self, shard: int, chosen: Sequence[Chosen]
    ) -> Iterator[tuple[Chosen, Demonstration]]:
        """The same rows, but with pictures that are no more than the digests of their pixels: enough to name
        samples by, and a small part of the bytes. An original that is gone is not noticed.

        Args:
            shard, chosen: as of `read`.

        Raises:
            StoreError: as `read`.
        """
        for some, found in self._read_rows(shard, chosen, _take_light):
            for each, row in zip(some, found, strict=True):
                deeds = tuple(_make_deed(step, Picture(b"", step["after"])) for step in row["steps"] or [])
                yield each, self._assemble(each, row, Picture(b"", row["source_digest"]), deeds)

    def _read_rows(
        self, shard: int, chosen: Sequence[Chosen], take: _Take
    ) -> Iterator[tuple[Sequence[Chosen], Sequence[Mapping[str, Any]]]]:
        """Rows of a result file, some at a time, with what was chosen."""
        key = result_key(shard)
        rows = sorted(chosen, key=lambda each: each.row)
        wanted = [schema.RESULTS.field(name) for name in _WHOLE]
        # One row group is in memory at a time; read_result_file reads the file again where one is damaged.
        for start in range(0, len(rows), 64):
            some = rows[start : start + 64]
            read = partial(take, numbers=[each.row for each in some])
            tables = read_result_file(
                self._fs, self.store.uri, f"{self._root}/{key}", wanted, read, self._storage
            )
            found = [row for table in tables for row in table.to_pylist()]
            for each, row in zip(some, found, strict=True):
                if (row["record_id"], row["work_id"]) != (each.record_id, each.work_id):
                    raise StoreError(
                        f"{self.store.locate(key)}: has other records than when they were selected; choose "
                        "another output.uri"
                    )
            yield some, found

    def _make(
        self, chosen: Chosen, row: Mapping[str, Any], embedded: Mapping[str, bytes]
    ) -> Demonstration | str:
        try:
            data = self._originals.read(row["source"], embedded)
        except RecordError:
            data = None
        if data is None:
            return "original_gone"
        try:
            original = keep_exact(data, row["source"], self._input)
        except Unusable:
            return "original_gone"
        if original.digest != row["source_digest"]:
            return "original_changed"
        return self._assemble(chosen, row, original, tuple(map(self._read_step, row["steps"] or [])))

    def _assemble(
        self, chosen: Chosen, row: Mapping[str, Any], original: Picture, deeds: tuple[Deed, ...]
    ) -> Demonstration:
        origin = Origin(chosen.dataset, chosen.licence, chosen.record_id, self.store.name, chosen.work_id)
        return Demonstration(
            origin,
            row["instruction"],
            original,
            deeds,
            stopped=row["stop_reason"] in {reason.value for reason in FINISHED},
            final_thought=row.get("final_thought") or "",
            score=chosen.score,
            has_judge=any(deed.score is not None for deed in deeds),
        )

    def _read_step(self, step: Mapping[str, Any]) -> Deed:
        image = step["image"] or {}
        data = image.get("bytes")
        if data is None and (key := find_step_image(image.get("path"))):
            data = self.store.get(key)
        return _make_deed(step, None if data is None else Picture(data, step["after"]))

    @property
    def is_lossy(self) -> bool:
        """Whether its step images were written with loss: then samples show nearly what the policy saw."""
        output = self._about["config"].get("output", {})
        return output.get("format") == "jpeg" or (
            output.get("format") == "webp" and output.get("quality") != 100
        )


def _make_deed(step: Mapping[str, Any], picture: Picture | None) -> Deed:
    return Deed(
        step["instruction"],
        step["before"],
        step["after"],
        picture,
        step.get("thought") or "",
        step["accepted"],
        step["score"],
    )


def _take(parquet: pq.ParquetFile, numbers: Sequence[int]) -> list[pa.Table]:
    return list(take_rows(parquet, numbers, _WHOLE))


def _take_light(parquet: pq.ParquetFile, numbers: Sequence[int]) -> list[pa.Table]:
    groups = find_groups(parquet, numbers)
    return [parquet.read_row_group(group, columns=[*_LIGHT]).take(inside) for group, inside in groups]


def name_origin(source: RunsConfig, metadata: str | None) -> tuple[str, str | None]:
    """The data set and licence of a record: as the config says, else as its metadata do, else the name of
    the source's directory, and none.

    Args:
        source: the config's.
        metadata: of the record, a JSON object.
    """
    said = json.loads(metadata or "{}")
    dataset, licence = said.get("dataset"), said.get("licence")
    return (
        source.name
        or (dataset if isinstance(dataset, str) and dataset else source.uri.rstrip("/").rpartition("/")[2]),
        source.licence or (licence if isinstance(licence, str) and licence else None),
    )
