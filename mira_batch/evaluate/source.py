"""What is judged, as rows of a plan: results of a run or of a catalogue, or the pairs of a manifest."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.core.errors import ConfigError, ManifestError
from mira_batch.core.identity import content_hash, work_id
from mira_batch.core.types import Status
from mira_batch.evaluate.controls import (
    CANARIES,
    NONSENSE,
    OTHER,
    RESULT,
    SENSELESS,
    Asked,
    draw,
    name_judging,
)
from mira_batch.storage import schema
from mira_batch.storage.catalogue.buckets import digest_records
from mira_batch.storage.catalogue.standing import find_standing_rows
from mira_batch.storage.catalogue.where import parse_where
from mira_batch.storage.manifest import Place, Split, find_manifest, resolve_image, scan_split
from mira_batch.storage.run.history import read_result_file
from mira_batch.storage.run.layout import RUN, result_key
from mira_batch.storage.run.results import find_groups
from mira_batch.storage.source import Source
from mira_batch.storage.stores import (
    READ_ERRORS,
    file_exists,
    find_files,
    open_arrow_filesystem,
    shorten_error,
)

_COLUMNS = (
    "record_id", "instruction", "status", "error_kind", "error_message", "source", "source_digest",
    "result_digest", "num_steps", "seconds", "cost", "metadata",
)  # fmt: skip
_NEEDED = ("record_id", "status", "source_digest", "result_digest", "run", "shard", "row")
_OTHERS = 16
_ROW_BYTES = 2_000
"""What reading a row's small columns takes, about."""


@dataclass(frozen=True, slots=True)
class Other:
    """A result that may be shown as that of another record."""

    original: str
    """Digest of the pixels that it was made from."""
    run: str
    shard: int
    row: int
    digest: str | None
    """Of its pixels."""


@dataclass(frozen=True, slots=True)
class ResultSplit:
    """Results of one file that are judged."""

    output: str
    """The directory of all runs."""
    run: str
    shard: int
    rows: tuple[int, ...]
    """Their numbers in the file, ascending."""
    size: int
    """What reading them takes, in bytes."""
    asked: Asked
    others: tuple[Other, ...]
    """Results of different originals, to be shown as those of other records."""


@dataclass(frozen=True, slots=True)
class PairSplit:
    """Pairs of a part of a manifest that are judged."""

    part: Split
    size: int
    asked: Asked


def find_source(config: EvaluateConfig) -> Source:
    """What is judged.

    Raises:
        ManifestError: it can't be read, or there is nothing.
        ConfigError: `input.where` is no condition, or is none for a manifest.
        StoreError: a run is damaged.
    """
    place = config.input.manifest
    try:
        one_run = file_exists(f"{place}/{RUN}", config.storage)
        is_output = not one_run and any(
            file.location.endswith(f"/{RUN}") for file in find_files(f"{place}/*/{RUN}", config.storage)
        )
    except READ_ERRORS as error:
        raise ManifestError(
            f"{place}: can't be looked at; check the path and the credentials ({shorten_error(error)})"
        ) from error
    return _find_results(config, one_run) if one_run or is_output else _find_pairs(config)


def _find_results(config: EvaluateConfig, one_run: bool) -> Source:
    place, where = config.input.manifest, parse_where(config.input.where)
    found = find_standing_rows(place, one_run, config.storage)
    files: dict[tuple[str, int], list[int]] = defaultdict(list)
    records: dict[str, bool] = {}
    version: list[str] = []
    others: dict[str, Other] = {}
    for table in found.tables:
        rows = table.filter(where)
        rows = rows.filter(rows["gone"].is_null())
        for row in rows.select(list(_NEEDED)).to_pylist():
            files[row["run"], row["shard"]].append(row["row"])
            records[row["record_id"]] = row["status"] != Status.failed
            version.append(f"{row['run']} {row['shard']} {row['row']} {row['result_digest']}")
            original, digest = row["source_digest"], row["result_digest"]
            if records[row["record_id"]] and original and len(others) < _OTHERS:
                others.setdefault(original, Other(original, row["run"], row["shard"], row["row"], digest))
    if not files:
        raise ManifestError(f"{place}: has no result that input.where names; see `mira-batch status`")
    asked = _draw(config, records)
    splits = [
        ResultSplit(
            found.output,
            run,
            shard,
            tuple(sorted(rows)),
            len(rows) * _ROW_BYTES,
            asked,
            tuple(others.values()),
        )
        for (run, shard), rows in sorted(files.items())
    ]
    content = content_hash(*sorted(version))
    return Source(place, [(place, content)], lambda: splits, 64_000_000)


def _draw(config: EvaluateConfig, records: Mapping[str, bool]) -> Asked:
    return draw(records, config.sample, config.controls.repeats, config.controls.canaries)


def _find_pairs(config: EvaluateConfig) -> Source:
    source = config.input
    if source.where != "true":
        raise ConfigError(
            "input.where: is for results of runs; of a manifest of pairs take rows out yourself"
        )
    found = find_manifest(source, config.storage, config.output.uri)

    def split() -> Sequence[PairSplit]:
        parts = found.split()
        few = config.model_copy(update={"input": source.model_copy(update={"identity": "uri"})})
        read = (table for part in parts for table in scan_split(part, few.input, config.storage, ""))
        good = (table.filter(table["reason"].is_null()) for table in read)
        records = dict.fromkeys((name for rows in good for name in rows["record_id"].to_pylist()), True)
        asked = _draw(config, records)
        return [PairSplit(part, part.size, asked) for part in parts]

    return Source(found.location, found.files, split, found.split_bytes)


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
        place: str | Place | None = row["image_uri"]
        if place is None:
            place = Place(row["image_file"], row["image_row_group"], row["image_row"])
        about = {
            "source": resolve_image(original, base),
            "group": _find_group(metadata, config.group),
            "metadata": row["metadata"],
        }
        for kind in split.asked.kinds(row["record_id"]):
            other = judged[(k + 1) % len(judged)]
            if kind == OTHER and (other is row or json.loads(other["metadata"]).get(name) == original):
                continue
            shown = place if kind != OTHER else other["image_uri"]
            if shown is None:
                shown = Place(other["image_file"], other["image_row_group"], other["image_row"])
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
        f"{kind if kind in (*CANARIES,) else ''}\n{about.get('source_digest') or about['source']}\n{content}"
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
