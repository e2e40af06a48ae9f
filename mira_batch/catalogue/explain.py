"""Why a plan runs a record or leaves it alone, and what runs have made of it so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.core.receipts import Progress
from mira_batch.runtime.busy import find_busy, read_works
from mira_batch.runtime.job import Job
from mira_batch.runtime.known import peek_catalogue
from mira_batch.runtime.plan import Known
from mira_batch.runtime.prepare import find_source, make_spec
from mira_batch.runtime.scan import digest_pixels, scan_split
from mira_batch.storage.catalogue.bucketfiles import read_part
from mira_batch.storage.catalogue.buckets import digest_records, find_buckets
from mira_batch.storage.catalogue.join import Cause, join, take_keys
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.select import make_selection
from mira_batch.storage.run.history import read_columns, shard_in
from mira_batch.storage.run.layout import RunSpec, find_changed_settings, read_run
from mira_batch.storage.run.planfile import read_plan, read_shard
from mira_batch.storage.source import Source
from mira_batch.storage.stores import open_store

_HISTORY = ("record_id", "status", "stop_reason", "error_kind", "result_digest", "cost")
_MOST_SHOWN = 200
"""Characters shown of an instruction."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a record."""

    record_id: str
    cause: str
    """Why a plan made now would run it or leave it alone: a `Cause` by name; `gone` where the manifest has no
    such record, `unknown` where the catalogue has none either."""
    place: str = ""
    """Where the manifest has it, if it can't be used."""
    now: Mapping[str, Any] = field(default_factory=dict)
    """Its row, as it would be planned."""
    changes: Sequence[str] = ()
    """What is otherwise than when its newest result was made, in words."""
    history: Sequence[Mapping[str, Any]] = ()
    """What runs have made of it, the newest plan first: `plan`, `run`, `status`, `stop_reason`, `error_kind`,
    `result_digest`, `cost`, whether it is `current`, and by which `promotion` of the policy's adapter, if the
    run has taken one."""


def explain(job: Job, record_id: str, progress: Progress | None = None) -> Explanation:
    """Explain a record. The whole manifest is read, and of the catalogue the record's bucket; nothing is
    written.

    Args:
        job: the job as it is configured now.
        record_id: the record.
        progress: told how many rows are read.

    Raises:
        UserError: the manifest or the store can't be used.
    """
    if not job.config.enters_catalogue:
        raise ConfigError(
            "explain is about the catalogue, of which a run with rollouts or input.branches is no part"
        )
    watch, source = progress or Progress(), find_source(job)
    spec = make_spec(job, source.files, source.location)
    with peek_catalogue(job, spec, watch) as known:
        return _explain(job, spec, known, source, record_id, watch)


def _explain(
    job: Job, spec: RunSpec, known: Known, source: Source, record_id: str, watch: Progress
) -> Explanation:
    history, found, read = _find_history(known, record_id), list[pa.Table](), 0
    for split in source.split():
        for table in scan_split(job, split):
            read += table.num_rows
            watch.planning(read)
            rows = table.filter(pc.field("record_id") == record_id)
            found += [rows.slice(at, 1) for at in range(rows.num_rows)]
    past = _read_history(job, known, history)
    if not found:
        return Explanation(record_id, "gone" if past else "unknown", history=past)
    # As a plan does, it takes the first that can be used.
    planned = next((row for row in found if not row["reason"].is_valid()[0].as_py()), found[0])
    (row,) = planned.to_pylist()
    if row["reason"] is not None:
        words = f"{row['where']}: {row['field']} {row['reason']}"
        return Explanation(record_id, Cause.rejected.name, words, history=past)
    cause = _find_cause(job, spec, known, history, planned, watch)
    now = {name: row[name] for name in job.plan_schema.names}
    newest = max(history.to_pylist(), key=lambda row: row["plan"], default=None)
    changes = _find_changes(job, spec, newest, now) if newest and cause.runs else []
    return Explanation(record_id, cause.name, "", now, changes, past)


def _find_cause(
    job: Job, spec: RunSpec, known: Known, history: pa.Table, planned: pa.Table, watch: Progress
) -> Cause:
    """What a plan says of a row that can be used."""
    config, selection = job.config, None
    if config.select is not None:
        selection = make_selection(config.select, config.storage, known.catalogue, known.snapshot)
    busy = read_works(find_busy(known.catalogue, "", watch.note))
    keys, alike = take_keys(planned, 0), known.find_alike(spec)
    joined = join(keys, history, config.output.done_statuses, alike, spec.source, selection, busy)
    if joined.doubtful.num_rows:
        then = joined.doubtful["source_digest"].to_pylist()
        for found in digest_pixels(job, planned.append_column("number", pa.array([0]))):
            if found["pixels"].to_pylist() == then:
                return Cause.same_pixels
    return Cause(int(joined.causes[0]))


def _find_history(known: Known, record_id: str) -> pa.Table:
    snapshot, count = known.snapshot, max(1, len(known.snapshot.files))
    bucket = int(find_buckets(digest_records([record_id]), count)[0])
    rows = read_part(known.catalogue.store, snapshot, bucket, count)
    return rows.filter(pc.field("record_id") == record_id)


def _read_history(job: Job, known: Known, rows: pa.Table) -> list[dict[str, Any]]:
    """What each run has made of a record of which these rows are in the catalogue, the newest plan first. The
    catalogue has the last try of the same work only; so all runs are asked."""
    if not rows.num_rows:
        return []
    (record_id, *_), catalogue = rows["record_id"].to_pylist(), known.catalogue
    stands = {(row["run"], row["shard"], row["row"]) for row in rows.to_pylist() if row["current"]}
    names = [name for name in _HISTORY if name in job.result_schema.names]
    found = []
    runs = sorted(known.snapshot.runs.items(), key=lambda run: run[1].plan, reverse=True)
    for name, run in runs:
        where = catalogue.output.locate(name)
        for file, table in read_columns(where, names, job.result_schema, catalogue.storage, lambda _: None):
            for at in pc.call_function(
                "indices_nonzero", [pc.call_function("equal", [table["record_id"], record_id])]
            ).to_pylist():
                row = dict.fromkeys(_HISTORY) | table.slice(at, 1).to_pylist()[0]
                current = (name, shard_in(file), at) in stands
                taken = _find_promotion(catalogue, name)
                found.append(row | {"plan": run.plan, "run": name, "current": current, "promotion": taken})
    return found


def _find_promotion(catalogue: Catalogue, run: str) -> int | None:
    """Which promotion a run has taken its policy's adapter from; None: from none."""
    about = read_run(open_store(catalogue.output.locate(run), catalogue.storage, make=False))
    policy = about["config"].get("policy") or {}
    return (policy.get("adapter") or {}).get("promotion")


def _find_changes(job: Job, spec: RunSpec, last: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of a record differs from when its newest row was made."""
    changes: list[str] = []
    store = open_store(f"{spec.output}/{last['run']}", spec.storage, make=False)
    then = _read_planned(job, spec, last)
    if last["image_part"] is not None and now.get("image_part") != last["image_part"]:
        was, is_ = _name_image(then), _name_image(now)
        same = was == is_ or not was
        changes.append(f"image: {is_} has changed" if same else f"image: was {was}, now {is_}")
    if last["instruction_part"] is not None and now.get("instruction_part") != last["instruction_part"]:
        was = f"was {_shorten(then['instruction'])}, " if "instruction" in then else ""
        changes.append(f"instruction: {was}now {_shorten(now.get('instruction'))}")
    return changes + find_changed_settings(read_run(store)["settings"], spec.settings)


def _read_planned(job: Job, spec: RunSpec, last: Mapping[str, Any]) -> Mapping[str, Any]:
    """The plan's row of which a result came; empty where it can't be had any more."""
    store = open_store(f"{spec.output}/{last['run']}", spec.storage, make=False)
    try:
        plan = read_plan(store)
        shards = [] if plan is None else [shard for shard in plan.shards() if shard.index == last["shard"]]
        rows = [row for shard in shards for row in read_shard(store, shard)]
    except StoreError:  # what is known without it is said
        return {}
    return next((row for row in rows if row["record_id"] == last["record_id"]), {})


def _name_image(row: Mapping[str, Any]) -> str:
    if row.get("image_uri"):
        return str(row["image_uri"])
    return f"{row['image_file']}, row {row['image_row']}" if row.get("image_file") else ""


def _shorten(text: object) -> str:
    words = repr(text)
    return words if len(words) <= _MOST_SHOWN else f"{words[:_MOST_SHOWN]}…"
