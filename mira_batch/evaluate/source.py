"""What is judged: results of a run or of a catalogue, or the pairs of a manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mira_batch.config.evaluate import EvaluateConfig, PairsConfig
from mira_batch.core.errors import ConfigError, ManifestError
from mira_batch.core.identity import content_hash
from mira_batch.core.types import Status
from mira_batch.evaluate.controls import Asked, draw
from mira_batch.storage.catalogue.standing import find_standing_rows
from mira_batch.storage.catalogue.where import parse_where
from mira_batch.storage.manifest import Split, find_manifest, scan_split
from mira_batch.storage.run.layout import RUN
from mira_batch.storage.source import Source
from mira_batch.storage.stores import READ_ERRORS, file_exists, find_files, shorten_error

_NEEDED = ("record_id", "status", "source_digest", "result_digest", "run", "shard", "row")
_OTHERS = 16
"""Results that are at hand to be shown as those of others."""
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
    wanted = config.input.wanted | {Status.failed}
    for table in found.tables:
        rows = table.filter(where)
        rows = rows.filter(rows["gone"].is_null())
        for row in rows.select(list(_NEEDED)).to_pylist():
            if row["status"] not in wanted:
                continue
            files[row["run"], row["shard"]].append(row["row"])
            records[row["record_id"]] = row["status"] != Status.failed
            version.append(f"{row['run']} {row['shard']} {row['row']} {row['result_digest']}")
            original, digest = row["source_digest"], row["result_digest"]
            if records[row["record_id"]] and original and len(others) < _OTHERS:
                others.setdefault(original, Other(original, row["run"], row["shard"], row["row"], digest))
    if not files:
        raise ManifestError(f"{place}: has no result that input.where and input.statuses name; see `mira-batch status`")
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
    if source.statuses != PairsConfig.model_fields["statuses"].default:
        raise ConfigError("input.statuses: is for results of runs; the pairs of a manifest have none")
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
