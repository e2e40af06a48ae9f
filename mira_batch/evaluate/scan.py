"""Turns a split of what is judged into the rows of a plan, a row for each judging. Runs on any worker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.core.types import Status
from mira_batch.evaluate.against import AgainstSplit, scan_both
from mira_batch.evaluate.controls import OTHER, RESULT
from mira_batch.evaluate.planrows import (
    describe_result,
    find_group,
    make_plan_row,
    make_reject,
    make_table,
    read_results,
)
from mira_batch.evaluate.source import PairSplit, ResultSplit
from mira_batch.storage.manifest import (
    Place,
    PlannedRecord,
    identify_images,
    resolve_image,
    scan_split,
)
from mira_batch.storage.run.history import read_result_file
from mira_batch.storage.run.layout import result_key
from mira_batch.storage.run.results import find_groups
from mira_batch.storage.stores import open_arrow_filesystem


def scan(
    split: ResultSplit | AgainstSplit | PairSplit, config: EvaluateConfig, fingerprint: str
) -> Iterator[pa.Table]:
    """The rows of a split, a row for each judging (schema `scan_schema(PLAN)`).

    Args:
        split: which.
        config: the job's.
        fingerprint: the job's, which is part of each work id.

    Raises:
        StoreError: a result file can't be read.
        ManifestError: the same of a manifest.
    """
    if isinstance(split, AgainstSplit):
        yield make_table(list(scan_both(split, config, fingerprint)))
        return
    if isinstance(split, ResultSplit):
        yield make_table(list(_scan_results(split, config, fingerprint)))
        return
    for table in scan_split(split.part, config.input, config.storage, fingerprint):
        bad = table.filter(table["reason"].is_valid())
        good = table.filter(table["reason"].is_null()).to_pylist()
        yield make_table([*_scan_pairs(split, good, config, fingerprint), *bad.to_pylist()])


def _scan_results(split: ResultSplit, config: EvaluateConfig, fingerprint: str) -> Iterator[dict[str, Any]]:
    for row in read_results(split.output, split.run, split.shard, split.rows, config.storage):
        several = row["rollout"] is not None
        kinds = split.asked.kinds(row["work_id"] if several else row["record_id"])
        about = describe_result(row, split.output, split.run, config)
        if kinds and row["status"] == Status.failed:
            kinds = [RESULT]
        for kind in kinds:
            place, digest = row["place"], row["result_digest"]
            if kind == OTHER:
                if (other := _find_other(split, row, config)) is None:
                    continue
                place, digest = other
            yield make_plan_row(row, place, digest, kind, about, fingerprint)


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
    columns = [json.loads(row["metadata"]) for row in judged]
    originals = [_find_original(each.get(name), base) for each in columns]
    named = {source for source, problem in originals if not problem}
    versions = identify_images(named, config.input, config.storage)
    for k, (row, metadata) in enumerate(zip(judged, columns, strict=True)):
        source, problem = originals[k]
        if problem:
            yield row | make_reject(name, problem)
            continue
        about = {
            "source": source,
            "group": find_group(metadata, config.group),
            "metadata": row["metadata"],
        }
        for kind in split.asked.kinds(row["record_id"]):
            other = (k + 1) % len(judged)
            if kind == OTHER and originals[other] == originals[k]:
                continue
            shown = PlannedRecord.from_row(judged[other] if kind == OTHER else row).image
            content = f"{row['image_part']}\n{versions.get(source)}"
            yield make_plan_row(row, shown, content, kind, about, fingerprint) | {"where": row["where"]}


def _find_original(named: Any, base: str) -> tuple[str, str]:
    """Where a row's original is, and what is wrong with it, if anything."""
    if not isinstance(named, str) or not named:
        return "", "is missing or no text; it is where the original image is"
    try:
        return resolve_image(named, base), ""
    except ValueError as error:
        return "", str(error)
