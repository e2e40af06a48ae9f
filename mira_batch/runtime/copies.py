"""Copies rows that a catalogue needs out of a run into one of their own, and reads them back."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mira_batch.core.errors import StoreError
from mira_batch.core.receipts import Receipt, Tally
from mira_batch.core.types import Status
from mira_batch.runtime.ledger import FOOTER, to_json
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import FoldedRun, Snapshot
from mira_batch.storage.run.decisions import list_kept
from mira_batch.storage.run.history import read_result_file, shard_in
from mira_batch.storage.run.layout import (
    COPY_OF,
    MODELS,
    PLAN,
    RUN,
    parse_run,
    read_document,
    result_key,
)
from mira_batch.storage.run.planfile import PlanReader, read_plan, read_plan_file
from mira_batch.storage.run.planwriter import write_plan_of
from mira_batch.storage.run.result_file import results_file
from mira_batch.storage.run.results import result_files, take_rows
from mira_batch.storage.run.step_images import find_step_image
from mira_batch.storage.stores import Store, open_store

_COPY = re.compile(r"(.+)\.kept\d+")
_ROWS = 64
"""Rows of a shard of copies."""
_BYTES = 64_000_000
"""Encoded bytes after which such a shard is closed earlier."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where the needed rows of a run are now."""

    run: str
    folded: FoldedRun
    places: Mapping[tuple[int, int], tuple[int, int]]
    """(shard, row) before -> after."""


def copy_rows(
    catalogue: Catalogue, name: str, newest: Snapshot, rows: Collection[tuple[int, int]], fields: pa.Schema
) -> Move:
    """Copy rows of a run into one of their own, with their plan rows, their step images and what people have
    decided about them, and read them back.

    Args:
        catalogue: of both runs.
        name: of the run.
        newest: the catalogue as it is.
        rows: (shard, row in it) of each.
        fields: schema of the job's results.

    Raises:
        StoreError: the store can't be used, or a copy is not what was written.
    """
    source = open_store(catalogue.output.locate(name), catalogue.storage, make=False)
    about, standing = read_document(source, RUN, "settings"), read_plan(source)
    if about is None or standing is None:
        raise StoreError(
            f"{source.locate(RUN if about is None else PLAN)}: is gone, and the catalogue needs it"
        )
    run, number, taken = newest.runs[name], 1, {*catalogue.output.list_folders(), *newest.forgotten}
    while (copy := f"{_find_stem(name)}.kept{number}") in taken:
        number += 1
    target = open_store(catalogue.output.locate(copy), catalogue.storage)
    shards = {shard.index: shard for shard in standing.shards()}
    plan = PlanReader(source)
    plan_fields = plan.read_schema(standing.files[0])
    places: dict[tuple[int, int], tuple[int, int]] = {}
    plans: list[pa.Table] = []
    for shard, group in enumerate(_group(_read_rows(source, rows, fields, catalogue))):
        table = pa.concat_tables([part for _, _, part in group]).combine_chunks()
        places |= {(old, row): (shard, at) for at, (old, row, _) in enumerate(group)}
        data = results_file(table.to_pylist(), fields, {FOOTER: to_json(_make_receipt(table))})
        target.put(result_key(shard), data)
        _check_copy(target, result_key(shard), table)
        planned = [plan.read(shards[old]) for old in sorted({old for old, _, _ in group})]
        by_record = {row["record_id"]: row for part in planned for row in part}
        plans.append(
            pa.Table.from_pylist([by_record[n] for n in table["record_id"].to_pylist()], plan_fields)
        )
    for key in [*_list_step_images(source, places, fields, target), *list_kept(source)]:
        if (data := source.get(key)) is not None:  # else it was lost before
            target.put(key, data)
    for key in standing.pointers:
        target.put(key, read_plan_file(source, key))
    more = {"number": run.plan, "pointers": standing.pointers, "digest": standing.digest}
    write_plan_of(target, plans, more)
    if (models := source.get(MODELS)) is not None:
        target.put(MODELS, models)
    target.put(RUN, json.dumps({**about, "run_id": copy, COPY_OF: name}, indent=2).encode())
    folded = replace(run, shards=len(plans), folded=((0, len(plans) - 1),), left_out=())
    return Move(copy, folded, places)


def find_abandoned(catalogue: Catalogue, newest: Snapshot) -> list[str]:
    """Copies, whole or not, that no snapshot came to point to, since whoever made them was cut off.

    Args:
        catalogue: of which.
        newest: as it is. Nobody else may be making copies.

    Raises:
        StoreError: the store can't be used.
    """
    known = newest.runs.keys() | newest.forgotten
    stems, found = {_find_stem(name) for name in known}, list[str]()
    for name in catalogue.output.list_folders():
        if name in known or not _COPY.fullmatch(name) or _find_stem(name) not in stems:
            continue
        where = catalogue.output.locate(f"{name}/{RUN}")
        about = catalogue.output.read(f"{name}/{RUN}", partial(parse_run, where=where))
        if about is None or COPY_OF in about:
            found.append(name)
    return found


def _find_stem(name: str) -> str:
    """The name of the run that the first copy was made of."""
    return match[1] if (match := _COPY.fullmatch(name)) else name


_Row = tuple[int, int, pa.Table]


def _read_rows(
    source: Store, rows: Collection[tuple[int, int]], fields: pa.Schema, catalogue: Catalogue
) -> Iterator[_Row]:
    by_shard: dict[int, list[int]] = defaultdict(list)
    for shard, row in sorted(rows):
        by_shard[shard].append(row)
    fs, files = result_files(source.uri, catalogue.storage)
    for file in files:
        wanted = by_shard.pop(shard_in(file), None)
        if wanted is None:
            continue

        def take(parquet: pq.ParquetFile, wanted: list[int] = wanted) -> list[pa.Table]:
            return list(take_rows(parquet, wanted, fields.names))

        tables = read_result_file(fs, source.uri, file, list(fields), take, catalogue.storage)
        table = pa.concat_tables(tables).cast(fields)
        for at, row in enumerate(wanted):
            yield shard_in(file), row, table.slice(at, 1)
    if by_shard:
        raise StoreError(f"{source.uri}/{result_key(min(by_shard))}: is gone, and the catalogue needs it")


def _group(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    group, size = list[_Row](), 0
    for row in rows:
        size += row[2].nbytes
        group.append(row)
        if len(group) == _ROWS or size > _BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _make_receipt(table: pa.Table) -> Receipt:
    """What can be said of copied rows; where their time went is no longer known."""
    names = table.column_names
    statuses = Counter(table["status"].to_pylist())
    kinds = table["error_kind"].to_pylist() if "error_kind" in names else []
    stops = table["stop_reason"].to_pylist() if "stop_reason" in names else []
    steps = pc.call_function("sum", [table["num_steps"]]).as_py() if "num_steps" in names else 0
    return Receipt(
        tally=Tally(
            records=table.num_rows,
            ok=statuses[Status.ok.value],
            unfinished=statuses[Status.unfinished.value],
            steps=steps or 0,
            errors=dict(Counter(kind for kind in kinds if kind)),
            stops=dict(Counter(stop for stop in stops if stop)),
        )
    )


def _check_copy(target: Store, key: str, table: pa.Table) -> None:
    data = target.get(key)
    if data is None or not pq.read_table(pa.BufferReader(data)).select(table.column_names).equals(table):
        raise StoreError(f"{target.locate(key)}: is not what was written; nothing is deleted")


def _list_step_images(
    source: Store, places: Mapping[tuple[int, int], tuple[int, int]], fields: pa.Schema, target: Store
) -> list[str]:
    """Keys of step images that are objects of their own."""
    if "steps" not in fields.names:
        return []
    keys: list[str] = []
    for shard in sorted({shard for shard, _ in places.values()}):
        data = target.get(result_key(shard))
        assert data is not None
        for row in pq.read_table(pa.BufferReader(data), columns=["steps"]).to_pylist():
            paths = [(step["image"] or {}).get("path") for step in row["steps"]]
            keys += [key for path in paths if (key := find_step_image(path))]
    return keys
