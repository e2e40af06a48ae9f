"""Two runs, record by record: which results are compared with which, and the rows of a plan of that.

B is what is judged, A what it is held against. A record that one of them alone has, or that was asked for
otherwise, is a reject of the plan: it is counted, and listed with its reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.core.errors import ConfigError, ManifestError
from mira_batch.core.identity import content_hash
from mira_batch.core.types import Status
from mira_batch.evaluate.controls import ORIGINAL, PAIR_CANARIES, REPEAT, RESULT, Asked, draw
from mira_batch.evaluate.places import NEEDED, ROW_BYTES, SPLIT_BYTES, name_version, read_standing
from mira_batch.evaluate.planrows import describe_result, make_plan_row, make_reject, read_results
from mira_batch.storage import schema
from mira_batch.storage.catalogue.standing import find_kind
from mira_batch.storage.catalogue.where import parse_where
from mira_batch.storage.source import Source

ONLY_A, ONLY_B = "is in A alone", "is in B alone"
OTHERWISE = "is another one in A"
Position = tuple[str, int, int]
"""Run, shard and row of a result."""
_PLACE = ("run", "shard", "row")


@dataclass(frozen=True, slots=True)
class AgainstSplit:
    """Results of one file, each with the one that it is held against."""

    output: str
    """The directory of all runs."""
    run: str
    shard: int
    rows: tuple[int, ...]
    """Their numbers in the file, ascending."""
    partners: tuple[Position | None, ...]
    """Of each the result of A; None where one of both alone has the record."""
    partners_output: str
    is_b: bool
    """Whether the file is one of B; else it is one of A, with records that B hasn't."""
    size: int
    """What reading them takes, in bytes."""
    asked: Asked


def find_both(config: EvaluateConfig) -> Source:
    """The records of both runs.

    Raises:
        ManifestError: one can't be read, or they have no record in common.
        ConfigError: one is no run.
        StoreError: one is damaged.
    """
    source = config.input
    assert source.against is not None
    output_b, b = _read_side(source.manifest, "input.manifest", config, parse_where(source.where))
    output_a, a = _read_side(source.against, "input.against", config)
    places = _find(b, a)
    if places.null_count == len(places):
        raise ManifestError(
            f"{source.manifest} and {source.against} have no record in common, or none that input.where "
            "names; name two runs of one manifest"
        )
    partners = a.take(places)
    asked = _draw(config, b, partners)
    alone = a.filter(_find(a, b).is_null())
    if asked.sample is not None:
        if not asked.sample:
            raise ManifestError(
                f"{source.manifest} and {source.against} have no record that was asked for alike; name two "
                "runs of one manifest"
            )
        options = pc.SetLookupOptions(pa.array(sorted(asked.sample)))
        chosen = pc.call_function("is_in", [b["record_id"]], options)
        b, partners = b.filter(chosen), partners.filter(chosen)
    if asked.sample is not None or source.where != "true":
        alone = alone.slice(0, 0)  # who asks for some records doesn't ask what else there is
    asked = replace(asked, sample=None)
    splits = [
        *_cut(output_b, b, output_a, partners, True, asked),
        *_cut(output_a, alone, output_b, None, False, asked),
    ]
    rows = (row for side in (b, partners, alone) for row in _iterate(side))
    content = content_hash(*sorted(name_version(row) for row in rows if row["run"] is not None))
    return Source(source.manifest, [(source.manifest, content)], lambda: splits, SPLIT_BYTES)


def _read_side(
    place: str, field: str, config: EvaluateConfig, where: pc.Expression | None = None
) -> tuple[str, pa.Table]:
    """The output that results lie in, and of each what is needed to find it."""
    one_run = find_kind(place, config.storage)
    if one_run is None:
        raise ConfigError(
            f"{field}: {place}: is no run, nor a directory of runs, which input.against asks for"
        )
    output, tables = read_standing(place, one_run, config)
    chosen = (table if where is None else table.filter(where) for table in tables)
    few = [table.select([*NEEDED, "instruction_part"]) for table in (schema.SNAPSHOT.empty_table(), *chosen)]
    return output, pa.concat_tables(few).combine_chunks()


def _find(rows: pa.Table, among: pa.Table) -> pa.ChunkedArray:
    """Of each row the number of the same record's among others; null where there is none."""
    options = pc.SetLookupOptions(among["record_id"].combine_chunks())
    return pc.call_function("index_in", [rows["record_id"]], options)


def _draw(config: EvaluateConfig, b: pa.Table, partners: pa.Table) -> Asked:
    """What is asked, of records of both that are not known to be asked for otherwise. More is asked only
    where both have a result, and not the same."""
    records: dict[str, bool] = {}
    for row, other in zip(_iterate(b), _iterate(partners), strict=True):
        parts = ((row[name], other[name]) for name in ("instruction_part", "source_digest"))
        if other["run"] is None or any(None not in part and part[0] != part[1] for part in parts):
            continue
        failed = Status.failed in (row["status"], other["status"])
        records[row["record_id"]] = not failed and row["result_digest"] != other["result_digest"]
    return draw(records, config.sample, config.controls, PAIR_CANARIES)


def _cut(
    output: str, rows: pa.Table, partners_output: str, partners: pa.Table | None, is_b: bool, asked: Asked
) -> Iterator[AgainstSplit]:
    """A split for each file, in order."""
    positions: list[Position | None] = [None] * rows.num_rows
    if partners is not None:
        found = zip(*(partners[name].to_pylist() for name in _PLACE), strict=True)
        positions = [position if position[0] is not None else None for position in found]
    own = zip(*(rows[name].to_pylist() for name in _PLACE), strict=True)
    ordered = sorted(zip(own, positions, strict=True), key=lambda each: each[0])
    for (run, shard), group in groupby(ordered, key=lambda each: each[0][:2]):
        members = list(group)
        yield AgainstSplit(
            output,
            run,
            shard,
            tuple(place[2] for place, _ in members),
            tuple(position for _, position in members),
            partners_output,
            is_b,
            2 * len(members) * ROW_BYTES,
            asked,
        )


def _iterate(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def scan_both(split: AgainstSplit, config: EvaluateConfig, fingerprint: str) -> Iterator[dict[str, Any]]:
    """The rows of a split, a row for each judging.

    Args:
        split: which.
        config: the job's.
        fingerprint: the job's, which is part of each work id.

    Raises:
        StoreError: a result file can't be read.
    """
    rows = read_results(split.output, split.run, split.shard, split.rows, config.storage)
    partners = _read_partners(split, config)
    for row, position in zip(rows, split.partners, strict=True):
        if position is None:
            yield _turn_away(row, "record_id", ONLY_B if split.is_b else ONLY_A)
            continue
        other = partners[position]
        if field := _find_difference(row, other):
            yield _turn_away(row, field, OTHERWISE)
            continue
        yield from _plan_pair(split, row, other, position[0], config, fingerprint)


def _read_partners(split: AgainstSplit, config: EvaluateConfig) -> dict[Position, dict[str, Any]]:
    files: dict[tuple[str, int], list[int]] = defaultdict(list)
    for run, shard, number in filter(None, split.partners):
        files[run, shard].append(number)
    found: dict[Position, dict[str, Any]] = {}
    for (run, shard), numbers in files.items():
        rows = read_results(split.partners_output, run, shard, numbers, config.storage)
        found |= {(run, shard, number): row for number, row in zip(sorted(numbers), rows, strict=True)}
    return found


def _turn_away(row: Mapping[str, Any], field: str, reason: str) -> dict[str, Any]:
    return make_reject(field, reason) | {"record_id": row["record_id"], "where": str(row["place"])}


def _find_difference(row: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """In which column a record was asked for otherwise: as `compare` tells it of two evaluations."""
    if row["instruction"] != other["instruction"]:
        return "instruction"
    digests = row["source_digest"], other["source_digest"]
    same = digests[0] == digests[1] if all(digests) else row["source"] == other["source"]
    return None if same else "source"


def _plan_pair(
    split: AgainstSplit,
    row: Mapping[str, Any],
    other: Mapping[str, Any],
    run: str,
    config: EvaluateConfig,
    fingerprint: str,
) -> Iterator[dict[str, Any]]:
    about = describe_result(row, split.output, split.run, config)
    about |= {"against_run": run, "against_status": other["status"], "against_digest": other["result_digest"]}
    missing = [side for side, result in (("A", other), ("B", row)) if result["status"] == Status.failed]
    if missing:
        failed = other if "A" in missing else row
        words = f"no result in {' and '.join(missing)}: {failed['error_message']}"
        about |= {"error_kind": failed["error_kind"], "error_message": words}
        yield make_plan_row(row, row["place"], None, RESULT, about, fingerprint)
        return
    about["against_image"] = astuple(other["place"])
    for kind in split.asked.kinds(row["record_id"]):
        held = dict(about)
        if kind not in (RESULT, REPEAT):
            held |= {"against_run": None, "against_status": None, "against_digest": None}
        if kind == ORIGINAL and row["result_digest"] == row["source_digest"]:
            continue  # the edit has changed nothing
        content = f"{row['result_digest']} against {held['against_digest'] or kind}"
        yield make_plan_row(row, row["place"], content, kind, held, fingerprint)
