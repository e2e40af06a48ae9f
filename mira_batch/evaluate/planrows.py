"""Rows of the plan of an evaluation: what of a result goes with each of its judgings, and what names one."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.core.identity import content_hash, name_rollout, work_id
from mira_batch.core.types import Status
from mira_batch.evaluate.controls import CANARIES, NONSENSE, SENSELESS, name_judging
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import digest_records
from mira_batch.storage.manifest import Place
from mira_batch.storage.run.history import read_result_file
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.results import fill_added
from mira_batch.storage.stores import open_arrow_filesystem

_COLUMNS = (
    "record_id", "instruction", "status", "error_kind", "error_message", "source", "source_digest",
    "result_digest", "num_steps", "seconds", "cost", "metadata", "work_id", "rollout",
)  # fmt: skip


def read_results(
    output: str, run: str, shard: int, rows: Collection[int], storage: StorageConfig
) -> list[dict[str, Any]]:
    """The small columns of some rows of a result file, in its order, each with the `place` of its image.

    Args:
        output: the directory of all runs.
        run: which of them.
        shard: which file.
        rows: their numbers in it.
        storage: how it is reached.

    Raises:
        StoreError: it can't be read.
    """
    where = f"{output}/{run}"
    fs, root = open_arrow_filesystem(where, storage)
    key = result_key(shard)
    wanted = [schema.RESULTS.field(name) for name in _COLUMNS]
    take = partial(_take_rows, path=f"{where}/{key}", rows=frozenset(rows))
    return read_result_file(fs, where, f"{root}/{key}", wanted, take, storage)


def _take_rows(parquet: pq.ParquetFile, path: str, rows: frozenset[int]) -> list[dict[str, Any]]:
    found, number = [], 0
    known = [name for name in _COLUMNS if name in parquet.schema_arrow.names]
    for group in range(parquet.num_row_groups):
        table = fill_added(parquet.read_row_group(group, columns=known), _COLUMNS)
        for index, row in enumerate(table.to_pylist()):
            if number in rows:
                found.append(row | {"place": Place(path, group, index)})
            number += 1
    return found


def describe_result(row: Mapping[str, Any], output: str, run: str, config: EvaluateConfig) -> dict[str, Any]:
    """What goes with all judgings of a result, by columns of `SCORES` and a few names of the plan's own."""
    about = {
        "run": run,
        "place": f"{output}/{run}",
        "source": row["source"],
        "source_digest": row["source_digest"],
        "result_digest": row["result_digest"],
        "result_status": row["status"],
        "num_steps": row["num_steps"],
        "rollout": row["rollout"],
        "metadata": row["metadata"],
        "edit_seconds": sum((row["seconds"] or {}).values()),
        "edit_cost": row["cost"],
        "group": find_group(json.loads(row["metadata"] or "{}"), config.group),
    }
    if row["status"] == Status.failed:
        about |= {"error_kind": row["error_kind"], "error_message": f"no result: {row['error_message']}"}
    return about


def make_reject(field: str, reason: str) -> dict[str, Any]:
    """The columns by which a row can't be judged, to be put over those of the row.

    Args:
        field: what is wrong.
        reason: why, to be read after the field.
    """
    return {name: None for name in schema.PLAN.names if name != "record_id"} | {
        "field": field,
        "reason": reason,
    }


def find_group(metadata: Mapping[str, Any], key: str | None) -> str | None:
    """The group of a record: the value of a key of its metadata; None where it has none."""
    value = None if key is None else metadata.get(key)
    return None if value is None else str(value)


def make_plan_row(
    row: Mapping[str, Any],
    shown: str | Place,
    content: str | None,
    kind: str,
    about: Mapping[str, Any],
    fingerprint: str,
) -> dict[str, Any]:
    """The row of a judging.

    Args:
        row: the record, with its `record_id` and `instruction`.
        shown: where the image is that is judged.
        content: what tells that other pixels are judged.
        kind: what is asked.
        about: what goes with it.
        fingerprint: the job's.
    """
    name = name_rollout(row["record_id"], about.get("rollout"))
    record, is_place = name_judging(name, kind), isinstance(shown, Place)
    instruction = SENSELESS if kind == NONSENSE else row["instruction"]
    # What the judge is shown and asked decides the work; a second asking is other work.
    canary = kind if kind in CANARIES else ""
    identity = f"{canary}\n{about.get('source_digest') or about['source']}\n{content}"
    said = {**about, "judged": kind, "of": row["record_id"]}
    return {
        "record_id": record,
        "work_id": work_id(record, identity, instruction, fingerprint),
        "instruction": instruction,
        "image_uri": None if is_place else shown,
        "image_file": shown.file if isinstance(shown, Place) else None,
        "image_row_group": shown.row_group if isinstance(shown, Place) else None,
        "image_row": shown.row if isinstance(shown, Place) else None,
        "metadata": json.dumps(said, ensure_ascii=False),
        "image_part": content_hash(identity, size=8),
        "instruction_part": content_hash(instruction, size=8),
        "where": str(shown),
        "field": None,
        "reason": None,
    }


def make_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows and rejects as a table of schema `scan_schema(PLAN)`."""
    fields = schema.scan_schema(schema.PLAN)
    digests = digest_records([row["record_id"] or "" for row in rows])
    columns = [
        digests if field.name == "digest" else pa.array([row.get(field.name) for row in rows], field.type)
        for field in fields
    ]
    return pa.table(columns, schema=fields)
