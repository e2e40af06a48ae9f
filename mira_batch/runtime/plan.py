"""Plans a run: reads the manifest (a large one with Ray Data), drops duplicates and what is done, cuts
shards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict

import pyarrow as pa
import ray

from mira_batch.catalogue.current import EarlierWork, work_of_earlier_runs
from mira_batch.config.edit import BulkEditConfig
from mira_batch.core.errors import ManifestError, UserError
from mira_batch.storage import schema
from mira_batch.storage.manifest import SCAN, SPLIT_BYTES, Split, number_lines, scan_split
from mira_batch.storage.run.planfile import Plan, PlanWriter, SkippedBy
from mira_batch.storage.stores import Store

_ERROR = pa.field("error", pa.string())


def make_plan(
    config: BulkEditConfig, pieces: list[Split], store: Store, on_rows: Callable[[int], None]
) -> Plan:
    """Read the whole manifest and write the plan.

    The driver holds a digest per record (to find duplicates and work already done) and the last few
    thousand rows; the images of a large manifest never reach it.

    Args:
        config: the job.
        pieces: the manifest, cut.
        store: the run's directory.
        on_rows: told how many rows were read so far.

    Raises:
        ManifestError: the manifest can't be used, or has not one valid row.
        StoreError: the store can't be used.
    """
    earlier = work_of_earlier_runs(config, store.uri) if config.output.skip_done else EarlierWork()
    writer = PlanWriter(store, config.workers.shard_size, config.workers.most)
    seen: set[bytes] = set()
    rejects: list[pa.Table] = []
    skipped: Counter[int] = Counter()
    read = 0
    scan = _scan_on_ray if needs_ray(config, pieces) else _scan_here
    for table in scan(number_lines(pieces, config.storage), config):
        read += table.num_rows
        on_rows(read)
        records, bad, left_out = _select(table, seen, earlier.by)
        writer.add(records)
        rejects.append(bad)
        skipped.update(left_out)
    refused = pa.concat_tables([schema.REJECTS.empty_table(), *rejects])
    if read == 0:
        raise ManifestError(f"{config.input.manifest}: the manifest is empty: it has no rows")
    if refused.num_rows == read:
        first = refused.to_pylist()[0]
        raise ManifestError(
            f"{config.input.manifest}: none of its {read} rows can be used; the first: "
            f"{first['where']}: {first['field']} {first['reason']}"
        )
    by_models = [SkippedBy(earlier.models[place], records) for place, records in sorted(skipped.items())]
    return writer.finish(refused, skipped.total(), by_models)


def needs_ray(config: BulkEditConfig, pieces: Iterable[Split]) -> bool:
    """Whether `make_plan` reads these pieces with Ray, which must have started by then.

    What makes less than two pieces is read here in less time than Ray takes to start its tasks.
    """
    return config.backend == "ray" and sum(piece.size for piece in pieces) >= 2 * SPLIT_BYTES


def _scan_here(pieces: Iterable[Split], config: BulkEditConfig) -> Iterator[pa.Table]:
    for piece in pieces:
        yield from scan_split(piece, config)


def _scan_on_ray(pieces: list[Split], config: BulkEditConfig) -> Iterator[pa.Table]:
    """The same in parallel, in the same order (the first of two duplicates must be the first)."""
    settings = config.model_dump(mode="json")

    def scan(batch: pa.Table) -> Iterator[pa.Table]:
        for text in batch["piece"].to_pylist():
            fields = json.loads(text)
            piece = Split(**fields | {"row_groups": tuple(fields["row_groups"])})
            try:
                for table in scan_split(piece, BulkEditConfig.model_validate(settings)):
                    yield table.append_column(_ERROR, pa.nulls(table.num_rows, pa.string()))
            except UserError as error:  # as data: of a raised one Ray hands over only the traceback's text
                schema_with_error = SCAN.append(_ERROR)
                yield pa.Table.from_pylist([{_ERROR.name: str(error)}], schema=schema_with_error)

    rows = [{"piece": json.dumps(asdict(piece))} for piece in pieces]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    dataset.context.execution_options.preserve_order = True
    # Else Ray gathers up to 128 MB of rows before the driver sees the first: no progress, and more memory.
    dataset.context.target_max_block_size = 4 << 20
    scanned = dataset.map_batches(scan, batch_size=None, batch_format="pyarrow")
    for batch in scanned.iter_batches(batch_size=None, batch_format="pyarrow"):
        table: pa.Table = batch  # type: ignore[assignment]
        for message in table[_ERROR.name].drop_null().to_pylist():
            raise ManifestError(message)
        yield table.drop_columns(_ERROR.name)


def _select(
    table: pa.Table, seen: set[bytes], done: Mapping[bytes, int]
) -> tuple[pa.Table, pa.Table, list[int]]:
    """Split scanned rows into plan rows, rejects, and those already done, of which who did them is given."""
    valid = table["reason"].is_null()
    bad = table.filter(table["reason"].is_valid()).select(schema.REJECTS.names).cast(schema.REJECTS)
    good = table.filter(valid)
    fresh: list[bool] = []
    twice: list[bool] = []
    skipped: list[int] = []
    works = good["work_id"].to_pylist() if done else [""] * good.num_rows
    for digest, work in zip(good["digest"].to_pylist(), works, strict=True):
        duplicate = digest in seen
        seen.add(digest)
        done_by = None if duplicate or not done else done.get(bytes.fromhex(work))
        if done_by is not None:
            skipped.append(done_by)
        twice.append(duplicate)
        fresh.append(not duplicate and done_by is None)
    again = good.filter(pa.array(twice, pa.bool_()))
    if again.num_rows:
        reason = ["an earlier row has the same record_id; the first one is used"] * again.num_rows
        columns = [again["where"], again["record_id"], ["record_id"] * again.num_rows, reason]
        bad = pa.concat_tables([bad, pa.table(columns, schema=schema.REJECTS)])
    return good.filter(pa.array(fresh, pa.bool_())).select(schema.PLAN.names), bad, skipped
