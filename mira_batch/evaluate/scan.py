"""Turns a split of what is judged into the rows of a plan, a row for each judging. Runs on any worker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.core.identity import content_hash, work_id
from mira_batch.core.types import Status
from mira_batch.evaluate.controls import CANARIES, NONSENSE, OTHER, RESULT, SENSELESS, name_judging
from mira_batch.evaluate.source import PairSplit, ResultSplit
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import digest_records
from mira_batch.storage.manifest import Place, PlannedRecord, resolve_image, scan_split
from mira_batch.storage.run.history import read_result_file
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.results import find_groups
from mira_batch.storage.stores import open_arrow_filesystem

_COLUMNS = (
    "record_id", "instruction", "status", "error_kind", "error_message", "source", "source_digest",
    "result_digest", "num_steps", "seconds", "cost", "metadata",
)  # fmt: skip


def scan(split: ResultSplit | PairSplit, config: EvaluateConfig, fingerprint: str) -> Iterator[pa.Table]:
    """The rows of a split, a row for each judging (schema `scan_schema(PLAN)`).

    Args:
        split: which.
        config: the job's.
        fingerprint: the job's, which is part of each work id.

    Raises:
        StoreError: a result file can't be read.
        ManifestError: the same of a manifest.
    """
    if isinstance(split, ResultSplit):
        yield _table(list(_scan_results(split, config, fingerprint)))
        return
    for table in scan_split(split.part, config.input, config.storage, fingerprint):
        bad = table.filter(table["reason"].is_valid())
        good = table.filter(table["reason"].is_null()).to_pylist()
        yield _table([*_scan_pairs(split, good, config, fingerprint), *bad.to_pylist()])


def _scan_results(split: ResultSplit, config: EvaluateConfig, fingerprint: str) -> Iterator[dict[str, Any]]:
    where = f"{split.output}/{split.run}"
    fs, root = open_arrow_filesystem(where, config.storage)
    file = f"{root}/{result_key(split.shard)}"
    wanted = [schema.RESULTS.field(name) for name in _COLUMNS]
    path = f"{where}/{result_key(split.shard)}"
    read = partial(_read_rows, path=path, rows=frozenset(split.rows))
    found = read_result_file(fs, where, file, wanted, read, config.storage)
    records: list[dict[str, Any]] = [row | {"kinds": split.asked.kinds(row["record_id"])} for row in found]
    judged = [row for row in records if row["kinds"]]
    for row in judged:
        about = {
            "run": split.run,
            "place": f"{split.output}/{split.run}",
            "source": row["source"],
            "source_digest": row["source_digest"],
            "result_digest": row["result_digest"],
            "result_status": row["status"],
            "num_steps": row["num_steps"],
            "metadata": row["metadata"],
            "edit_seconds": sum((row["seconds"] or {}).values()),
            "edit_cost": row["cost"],
            "group": _find_group(json.loads(row["metadata"] or "{}"), config.group),
        }
        failed = row["status"] == Status.failed
        if failed:
            about |= {"error_kind": row["error_kind"], "error_message": row["error_message"]}
        for kind in [RESULT] if failed else row["kinds"]:
            place, digest = row["place"], row["result_digest"]
            if kind == OTHER:
                if (other := _find_other(split, row, config)) is None:
                    continue
                place, digest = other
            yield _plan_row(row, place, digest, kind, about, fingerprint)


def _read_rows(parquet: pq.ParquetFile, path: str, rows: frozenset[int]) -> list[dict[str, Any]]:
    found, number = [], 0
    for group in range(parquet.num_row_groups):
        for index, row in enumerate(parquet.read_row_group(group, columns=list(_COLUMNS)).to_pylist()):
            if number in rows:
                found.append(row | {"place": Place(path, group, index)})
            number += 1
    return found


def _find_other(
    split: ResultSplit, row: Mapping[str, Any], config: EvaluateConfig
) -> tuple[Place, str | None] | None:
    """A result of another original, and the digest of its pixels; None where all have the same one."""
    fitting = [other for other in split.others if other.original != row["source_digest"]]
    if not fitting:
        return None
    other = fitting[int(row["source_digest"], 16) % len(fitting)]
    where = f"{split.output}/{other.run}"
    fs, root = open_arrow_filesystem(where, config.storage)
    key = result_key(other.shard)
    ((group, (index,)),) = read_result_file(
        fs,
        where,
        f"{root}/{key}",
        [],
        lambda parquet: list(find_groups(parquet, [other.row])),
        config.storage,
    )
    return Place(f"{where}/{key}", group, index), other.digest


def _scan_pairs(
    split: PairSplit, rows: Sequence[dict[str, Any]], config: EvaluateConfig, fingerprint: str
) -> Iterator[dict[str, Any]]:
    name, base = config.input.columns.original, split.part.path.rsplit("/", 1)[0]
    judged = [row for row in rows if split.asked.kinds(row["record_id"])]
    for k, row in enumerate(judged):
        metadata = json.loads(row["metadata"])
        original = metadata.get(name)
        if not isinstance(original, str) or not original:
            yield row | _reject(name, "is missing or no text; it is where the original image is")
            continue
        about = {
            "source": resolve_image(original, base),
            "group": _find_group(metadata, config.group),
            "metadata": row["metadata"],
        }
        for kind in split.asked.kinds(row["record_id"]):
            other = judged[(k + 1) % len(judged)]
            if kind == OTHER and (other is row or json.loads(other["metadata"]).get(name) == original):
                continue
            shown = PlannedRecord.from_row(other if kind == OTHER else row).image
            yield _plan_row(row, shown, row["image_part"], kind, about, fingerprint) | {"where": row["where"]}


def _reject(field: str, reason: str) -> dict[str, Any]:
    return {name: None for name in schema.PLAN.names if name != "record_id"} | {
        "field": field,
        "reason": reason,
    }


def _find_group(metadata: Mapping[str, Any], key: str | None) -> str | None:
    value = None if key is None else metadata.get(key)
    return None if value is None else str(value)


def _plan_row(
    row: Mapping[str, Any],
    shown: str | Place,
    content: str | None,
    kind: str,
    about: Mapping[str, Any],
    fingerprint: str,
) -> dict[str, Any]:
    """A judging: of `shown`, whose pixels are those of `content`."""
    record, is_place = name_judging(row["record_id"], kind), isinstance(shown, Place)
    instruction = SENSELESS if kind == NONSENSE else row["instruction"]
    # What the judge is shown and asked decides the work; a second asking is other work.
    identity = (
        f"{kind if kind in CANARIES else ''}\n{about.get('source_digest') or about['source']}\n{content}"
    )
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


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    fields = schema.scan_schema(schema.PLAN)
    digests = digest_records([row["record_id"] or "" for row in rows])
    columns = [
        digests if field.name == "digest" else pa.array([row.get(field.name) for row in rows], field.type)
        for field in fields
    ]
    return pa.table(columns, schema=fields)
