"""The scores of an evaluation, read from its results column by column: a million of them fit into memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import RunConflict, StoreError
from mira_batch.core.identity import name_rollout
from mira_batch.core.types import Status
from mira_batch.evaluate.controls import RESULT
from mira_batch.evaluate.statistics import Floats
from mira_batch.storage import schema
from mira_batch.storage.run.history import read_columns
from mira_batch.storage.run.layout import job_of, read_run
from mira_batch.storage.run.planfile import count_rejects
from mira_batch.storage.run.results import results_dataset
from mira_batch.storage.stores import open_store, shorten_error

OVERALL = "overall"
"""The name of a judge's score in [0, 1], among those of its axes."""
Bools = NDArray[np.bool_]
_AS_THEY_ARE = (
    "of", "rollout", "instruction", "source", "source_digest", "result_digest", "num_steps", "edit_seconds",
    "edit_cost", "cost",
)  # fmt: skip
_REPEATED = ("judged", "group", "run", "error_kind", "result_status", "protocol")
"""Columns of a few texts, of which each is kept once."""
_MADE_FROM = ("score", "axes", "models", "seconds")
_OF_PAIRS = ("against_digest", "against_status")
_ROWS = 20_000
"""Rows that are condensed at once."""
_Part = tuple[pa.Table, dict[str, Floats]]
"""Some rows: the table of `Judgings`, and its values."""

_DETAILS = ("record_id", "axes", "protocol", "error_kind", "error_message", "reason", "raw")


@dataclass(frozen=True, eq=False)
class Judgings:
    """Some judgings of one evaluation, column by column. Iterated they give rows, each a mapping."""

    table: pa.Table
    """Columns of schema `SCORES` without what the judge said in words; its identity is `judge`, the seconds
    that it took `judge_seconds`. Where there are several rollouts of a record, `of` names each by itself."""
    values: Mapping[str, Floats]
    """The score, as `OVERALL`, and the axes' values by name, NaN where there is none, [rows]."""
    clusters: NDArray[np.int32]
    """What a row's errors share with those of others: the number of its original, by the pixels or else by
    where it lies, [rows]."""

    def __len__(self) -> int:
        return self.table.num_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row by column, with all its scores by name as `values`."""
        place = 0
        for batch in self.table.to_batches(max_chunksize=1_000):
            for row in batch.to_pylist():
                found = ((name, float(column[place])) for name, column in self.values.items())
                yield row | {"values": {name: value for name, value in found if value == value}}
                place += 1

    @property
    def scored(self) -> Bools:
        """Which have a score."""
        return ~np.isnan(self.values[OVERALL])

    @property
    def without_result(self) -> Bools:
        """Of which there is nothing to judge, since the edit failed."""
        return self.equal("result_status", Status.failed)

    def equal(self, column: str, value: str) -> Bools:
        """Which have this value in a column of texts."""
        found = pc.call_function("equal", [self.table[column], pa.scalar(value, pa.string())])
        return found.fill_null(False).to_numpy()

    def among(self, column: str, values: Collection[str]) -> Bools:
        """Which have one of these values in a column of texts."""
        options = pc.SetLookupOptions(pa.array(values, pa.string()))
        found = pc.call_function("is_in", [self.table[column]], options)
        return found.fill_null(False).to_numpy()

    def numbers(self, column: str) -> Floats:
        """A column of numbers, NaN where there is none."""
        return self.table[column].cast(pa.float64()).to_numpy()

    def distinct(self, column: str) -> list[str]:
        """The texts of a column, each once and sorted."""
        return sorted(text for text in self.table[column].unique().to_pylist() if text is not None)

    def where(self, mask: Bools) -> Judgings:
        """Only those rows."""
        return self if mask.all() else self.take(pa.array(np.flatnonzero(mask)))

    def take(self, places: pa.Array | pa.ChunkedArray) -> Judgings:
        """Those rows, in that order."""
        chosen = places.to_numpy()
        values = {name: column[chosen] for name, column in self.values.items()}
        return Judgings(self.table.take(places), values, self.clusters[chosen])

    def without(self, *columns: str) -> Judgings:
        """The same rows without some columns of the table, to save memory."""
        return Judgings(self.table.drop_columns([*columns]), self.values, self.clusters)


@dataclass(frozen=True, eq=False)
class Scores:
    """All judgings of one evaluation."""

    run: str
    """Its directory."""
    about: Mapping[str, Any]
    """Its `run.json`."""
    results: Judgings
    """One of each record."""
    controls: Judgings
    """What was asked beside them."""
    scales: Mapping[str, tuple[float, float]]
    """The least and the greatest value that each score can have, by name."""
    turned_away: Mapping[str, int]
    """How many records were not judged, by the reason in the plan's rejects."""

    @property
    def against(self) -> str | None:
        """What the results were held against pair by pair: a run, or all of an output; None: each was scored
        by itself."""
        return self.about["settings"].get("input", {}).get("against")

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same of two evaluations whose scores are compared, by name. Of one that scored
        nothing the protocol is not known: the list is empty. Nor has a pair of equal pixels any."""
        both = [self.results, self.controls]
        scored = [rows.where(rows.scored) for rows in both]
        judged = scored if any(map(len, scored)) else both
        names = {
            "judge": sorted({text for rows in judged for text in rows.distinct("judge")}),
            "protocol": sorted({text for rows in scored for text in rows.distinct("protocol") if text}),
        }
        said = self.about["settings"].get("scores", {})
        return names | {"version": said.get("version"), "settings of the judge": said.get("judge")}

    def beside(self, kind: str) -> tuple[Judgings, Floats]:
        """The judgings of a kind of question, and the scores of the same records' own results, [rows]; NaN
        where there is none."""
        rows = self.controls.where(self.controls.equal("judged", kind))
        places = find_records(rows, self.results)
        own = np.full(len(rows), np.nan)
        own[places.is_valid().to_numpy()] = self.results.take(places.drop_null()).values[OVERALL]
        return rows, own


def join_scales(a: Scores, b: Scores) -> dict[str, tuple[float, float]]:
    """The least and the greatest value that each score can have in either evaluation, by name."""
    return {
        name: (min(low, b.scales[name][0]), max(high, b.scales[name][1]))
        for name, (low, high) in a.scales.items()
        if name in b.scales
    }


def refuse_pairs(scores: Scores, fix: str) -> None:
    """Refuse an evaluation of pairs where one of scores is wanted.

    Args:
        scores: the evaluation.
        fix: what to do, in words.

    Raises:
        RunConflict: it is one.
    """
    if scores.against is not None:
        raise RunConflict(f"{scores.run}: compares pairs and has no scores of single results; {fix}")


def find_records(rows: Judgings, among: Judgings) -> pa.ChunkedArray:
    """Of each row the number of that of the same record among others, null where there is none, [rows].

    Args:
        rows: any.
        among: one of each record.
    """
    options = pc.SetLookupOptions(among.table["of"].combine_chunks())
    return pc.call_function("index_in", [rows.table["of"]], options)


def read_scores(run: str, storage: StorageConfig) -> Scores:
    """All judgings of an evaluation.

    Args:
        run: its directory.
        storage: how it is reached.

    Raises:
        RunConflict: there is no run, or it is of another job.
        StoreError: it has no results, or they can't be read.
    """
    store = open_store(run, storage, make=False)
    about = read_run(store)
    if (job := job_of(about)) != "evaluate":
        raise RunConflict(f"{run}: is a run of the job {job}; give one of `mira-batch evaluate`")
    columns = (*_keep(about), *_REPEATED, *_MADE_FROM)
    found = read_columns(run, columns, schema.SCORES, storage, _raise)
    return gather_scores(run, about, (table for _, table in found), count_rejects(store))


def gather_scores(
    run: str, about: Mapping[str, Any], tables: Iterable[pa.Table], turned_away: Mapping[str, int]
) -> Scores:
    """Put the rows of an evaluation together.

    Args:
        run: its directory.
        about: its `run.json`.
        tables: the rows, of schema `SCORES` or with those of its columns that are needed.
        turned_away: as `Scores` has it.
    """
    kept = _keep(about)
    scales: dict[str, tuple[float, float]] = {OVERALL: (0.0, 1.0)}
    parts: tuple[list[_Part], list[_Part]] = ([], [])
    for table in _gather(tables, (*kept, *_REPEATED, *_MADE_FROM)):
        rows, values = _condense(table, kept, scales)
        is_result = rows["judged"].to_numpy() == RESULT
        for part, mask in zip(parts, (is_result, ~is_result), strict=True):
            part.append(
                (rows.filter(pa.array(mask)), {name: column[mask] for name, column in values.items()})
            )
    results, controls = (_join(part, list(scales)) for part in parts)
    return Scores(run, about, results, controls, scales, turned_away)


def _keep(about: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that are taken as they are: more of an evaluation of pairs."""
    pairs = about["settings"].get("input", {}).get("against") is not None
    return (*_AS_THEY_ARE, *(_OF_PAIRS if pairs else ()))


def read_details(run: str, storage: StorageConfig, records: Collection[str]) -> dict[str, dict[str, Any]]:
    """All that the judge said of these records' results: the axes of each with their ranges, its reason and
    its answers as they came, or its error.

    Args:
        run: the evaluation's directory.
        storage: how it is reached.
        records: ids of those wanted.

    Raises:
        StoreError: it has no results, or they can't be read.
    """
    wanted = (pc.field("judged") == RESULT) & pc.field("record_id").isin(pa.array(records, pa.string()))
    found: dict[str, dict[str, Any]] = {}
    try:
        for batch in results_dataset(run, storage).to_batches(
            columns=list(_DETAILS), filter=wanted, batch_size=64, cache_metadata=False
        ):
            found |= {row["record_id"]: row for row in batch.to_pylist()}
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{run}/results: can't be read: {shorten_error(error)}") from error
    return found


def _raise(error: StoreError) -> None:
    raise error


def _gather(tables: Iterable[pa.Table], columns: Sequence[str]) -> Iterator[pa.Table]:
    """The same rows in fewer tables; one without rows where there are none."""
    waiting = [pa.schema([schema.SCORES.field(name) for name in columns]).empty_table()]
    for table in tables:
        waiting.append(table.select(columns))
        if sum(each.num_rows for each in waiting) >= _ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting.clear()
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _condense(table: pa.Table, kept: Iterable[str], scales: dict[str, tuple[float, float]]) -> _Part:
    """Rows of schema `SCORES` column by column. The scales of their axes are added to `scales`."""
    columns = {name: table[name] for name in kept if name != "rollout"}
    if table["rollout"].null_count < table.num_rows:  # each by a name of its own
        pairs = zip(table["of"].to_pylist(), table["rollout"].to_pylist(), strict=True)
        columns["of"] = pa.chunked_array([[name_rollout(*pair) for pair in pairs]], pa.string())
    columns |= {name: table[name].dictionary_encode() for name in _REPEATED}
    structs = table.select(["models", "seconds"]).flatten()
    columns |= {
        "judge": structs["models.judge"].dictionary_encode(),
        "judge_seconds": structs["seconds.judge"],
    }
    values = {OVERALL: table["score"].to_numpy()}
    axes = table["axes"].combine_chunks()
    parents, flat = axes.value_parent_indices().to_numpy(), axes.flatten()
    names = flat.field("name").dictionary_encode()
    codes = names.indices.to_numpy()
    value, low, high = (flat.field(name).to_numpy() for name in ("value", "low", "high"))
    for code, name in enumerate(names.dictionary.to_pylist()):
        if name == OVERALL:  # the score once more, on a scale of the protocol's own
            continue
        chosen = codes == code
        values[name] = np.full(table.num_rows, np.nan)
        values[name][parents[chosen]] = value[chosen]
        least, greatest = scales.get(name, (np.inf, -np.inf))
        scales[name] = (
            float(min(least, low[chosen].min())),
            float(max(greatest, high[chosen].max())),
        )
    return pa.table(columns), values


def _join(parts: Sequence[_Part], names: Iterable[str]) -> Judgings:
    table = pa.concat_tables([rows for rows, _ in parts]).unify_dictionaries()
    values = {}
    for name in names:
        columns = (found.get(name, np.full(rows.num_rows, np.nan)) for rows, found in parts)
        values[name] = np.concatenate(list(columns))
    original = pc.call_function("coalesce", [table["source_digest"], table["source"]])
    clusters = original.combine_chunks().fill_null("").dictionary_encode().indices.to_numpy()
    return Judgings(table, values, clusters)
