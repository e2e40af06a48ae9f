"""What is judged: results of a run or of a catalogue, or the pairs of a manifest."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mira_batch.config.evaluate import EvaluateConfig, PairsConfig
from mira_batch.core.errors import ConfigError, ManifestError
from mira_batch.core.identity import content_hash
from mira_batch.core.types import Status
from mira_batch.evaluate.against import find_both
from mira_batch.evaluate.controls import ALL, Asked, draw
from mira_batch.evaluate.places import NEEDED, ROW_BYTES, SPLIT_BYTES, name_version, read_standing
from mira_batch.storage.catalogue.standing import find_kind
from mira_batch.storage.catalogue.where import parse_where
from mira_batch.storage.manifest import Split, find_manifest, scan_split
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import read_run
from mira_batch.storage.run.planfile import read_plan
from mira_batch.storage.run.rollouts import count_rollouts
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store, open_store

_OTHERS = 16
"""Results that are at hand to be shown as those of others."""


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
        ConfigError: `input.where` or `input.against` makes no sense for it.
        StoreError: a run is damaged.
    """
    one_run = find_kind(config.input.manifest, config.storage)
    if config.input.against is not None:
        return find_both(config)
    return _find_pairs(config) if one_run is None else _find_results(config, one_run)


def _find_results(config: EvaluateConfig, one_run: bool) -> Source:
    place, where = config.input.manifest, parse_where(config.input.where)
    output, tables = read_standing(place, one_run, config)
    several = False
    if one_run:
        store = open_store(place, config.storage, make=False)
        several = count_rollouts(read_run(store)) > 1
        _warn_of_rest(store, place)
    name = "work_id" if several else "record_id"
    files: dict[tuple[str, int], list[int]] = defaultdict(list)
    records: dict[str, bool] = {}
    version: list[str] = []
    others: dict[str, Other] = {}
    for table in tables:
        for row in table.filter(where).select([*NEEDED, "work_id"]).to_pylist():
            files[row["run"], row["shard"]].append(row["row"])
            records[row[name]] = row["status"] != Status.failed
            version.append(name_version(row))
            original, digest = row["source_digest"], row["result_digest"]
            if records[row[name]] and original and len(others) < _OTHERS:
                others.setdefault(original, Other(original, row["run"], row["shard"], row["row"], digest))
    if not files:
        raise ManifestError(
            f"{place}: has no result that input.where and input.statuses name; see `mira-batch status`"
        )
    asked = draw(records, config.sample, config.controls)
    splits = [
        ResultSplit(
            output,
            run,
            shard,
            tuple(sorted(rows)),
            len(rows) * ROW_BYTES,
            asked,
            tuple(others.values()),
        )
        for (run, shard), rows in sorted(files.items())
    ]
    content = content_hash(*sorted(version))
    return Source(place, [(place, content)], lambda: splits, SPLIT_BYTES)


def _warn_of_rest(store: Store, place: str) -> None:
    """Say that a run is not whole: its other records will be in no figure of this evaluation."""
    plan, done = read_plan(store), find_committed_shards(store)
    left = 0 if plan is None else sum(size for shard, size in enumerate(plan.sizes) if shard not in done)
    if left:
        logging.getLogger(__name__).warning(
            "%s: %s of its %s records have no result yet, and are left out here; wait for the run, and call "
            "this again with another run_id or output",
            place,
            f"{left:,}",
            f"{sum(plan.sizes):,}" if plan else "",
        )


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
        if config.sample is None and not config.controls.asked:
            return [PairSplit(part, part.size, ALL) for part in parts]
        few = config.model_copy(update={"input": source.model_copy(update={"identity": "uri"})})
        read = (table for part in parts for table in scan_split(part, few.input, config.storage, ""))
        good = (table.filter(table["reason"].is_null()) for table in read)
        records = dict.fromkeys((name for rows in good for name in rows["record_id"].to_pylist()), True)
        asked = draw(records, config.sample, config.controls)
        return [PairSplit(part, part.size, asked) for part in parts]

    return Source(found.location, found.files, split, found.split_bytes)
