"""Which trajectories of runs are learned from: by how they ended, what people said, and their scores."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from mira_batch.config.construct import ConstructConfig, RunsConfig
from mira_batch.construct.evaluated import load_scores, name_judged
from mira_batch.construct.runs import FoundRow, find_rows, name_origin
from mira_batch.construct.scratch import open_scratch
from mira_batch.construct.stages import Counts, PartWriter, Unit
from mira_batch.core.errors import ConfigError
from mira_batch.core.types import Status
from mira_batch.storage.run.decisions import APPROVE, REJECT

SELECTED = pa.schema(
    [
        ("use", pa.string()),  # learn; or relabel: only its edits are right, as hindsight
        ("run", pa.string()),  # its directory
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("record_id", pa.string()),
        ("work_id", pa.string()),
        ("rollout", pa.int32()),
        ("status", pa.string()),
        ("num_steps", pa.int32()),
        ("score", pa.float64()),
        ("source_digest", pa.string()),
        ("instruction", pa.string()),
        ("dataset", pa.string()),
        ("licence", pa.string()),
    ]
)
"""A row of `selected/`: a trajectory that samples are made of."""
LEARN, RELABEL = "learn", "relabel"
PART = 1_000
"""Trajectories of a file, which is one unit of the samples' stage."""
_COLUMNS = SELECTED.names[1:]


def select(unit: Unit, writer: PartWriter, config: ConstructConfig) -> Counts:
    """Choose among the trajectories of one source.

    Counts: `trajectories`, of which each is `chosen`, `to_relabel` or dropped (`dropped.<why>`).

    Args:
        unit: a source, of type runs.
        writer: for rows of `SELECTED`.
        config: the job's.

    Raises:
        ConfigError: a score is missing, and `unscored` says to refuse that; it names the record.
        StoreError: a run is damaged.
    """
    source: RunsConfig = unit.read
    counts: Counts = Counter()
    with open_scratch() as database:
        if source.scores not in ("none", "run"):
            load_scores(source.scores, config.storage, database)
        names = ", ".join([*_COLUMNS, "use"])
        database.execute(f"CREATE TABLE rows ({names}, PRIMARY KEY (run, shard, row)) WITHOUT ROWID")
        marks = ", ".join("?" * (len(_COLUMNS) + 1))
        database.execute("BEGIN")
        for found in find_rows(source, config.storage):
            counts["trajectories"] += 1
            why, row = _look_at(found, source, config, database)
            if why is not None:
                counts[why] += 1
            if row is not None:
                database.execute(f"INSERT INTO rows VALUES ({marks})", [row[n] for n in (*_COLUMNS, "use")])
        database.execute("COMMIT")
        _keep_best(database, config.select.keep)
        for row in _read_chosen(database):
            if row["use"] is None:
                counts["dropped.not_among_best"] += 1
                continue
            counts["chosen" if row["use"] == LEARN else "to_relabel"] += 1
            writer.add("part", row)
    return counts


def _look_at(
    found: FoundRow, source: RunsConfig, config: ConstructConfig, database: sqlite3.Connection
) -> tuple[str | None, dict[str, Any] | None]:
    """Why a trajectory is dropped, or the row that it is."""
    values, wanted = found.values, config.select
    if values["status"] == Status.failed:
        return "dropped.failed", None
    if values["status"] not in wanted.statuses:
        return f"dropped.{values['status']}", None
    if source.approved_only and found.decision != APPROVE:
        return "dropped.not_approved", None
    if source.rejected == "drop" and found.decision == REJECT:
        return "dropped.rejected", None
    score = _find_score(values, source, database)
    if score is None and source.scores != "none":
        if wanted.unscored == "refuse":
            raise ConfigError(
                f"{found.run}: record {values['record_id']!r}, rollout {values['rollout']}: has no score in "
                f"{source.scores}; have it judged, or set select.unscored: drop"
            )
        return "dropped.unscored", None
    dataset, licence = name_origin(source, values["metadata"])
    use = LEARN
    if score is not None and wanted.threshold is not None and score < wanted.threshold:
        if config.samples.hindsight != "trust_editor" or not values["num_steps"]:
            return "dropped.below_threshold", None
        use = RELABEL
    place = {"run": found.run, "shard": found.shard, "row": found.row}
    known = {name: values[name] for name in _COLUMNS if name in values}
    return None, known | place | {"score": score, "dataset": dataset, "licence": licence, "use": use}


def _find_score(values: Any, source: RunsConfig, database: sqlite3.Connection) -> float | None:
    if source.scores == "none":
        return None
    if source.scores == "run":
        return values["own_score"]
    name = name_judged(values["source_digest"], values["instruction"], values["result_digest"])
    found = database.execute("SELECT score FROM scores WHERE name = ?", (name,)).fetchone()
    return None if found is None else found[0]


def _keep_best(database: sqlite3.Connection, keep: int | None) -> None:
    """Of each record's trajectories to learn from leave the best: by score, then by fewer steps, then by the
    rollout's number."""
    if keep is None:
        return
    database.execute(
        """
        UPDATE rows SET use = NULL WHERE use = 'learn' AND (run, shard, row) IN (
            SELECT run, shard, row FROM (
                SELECT run, shard, row, row_number() OVER (
                    PARTITION BY record_id, instruction
                    ORDER BY score DESC, num_steps, rollout, run, shard, row
                ) AS place FROM rows WHERE use = 'learn'
            ) WHERE place > ?
        )
        """,
        (keep,),
    )


def _read_chosen(database: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    names = [*_COLUMNS, "use"]
    rows = database.execute(f"SELECT {', '.join(names)} FROM rows ORDER BY run, shard, row")
    for row in rows:
        yield dict(zip(names, row, strict=True))
