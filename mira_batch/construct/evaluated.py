"""Scores of an evaluation, by what was judged."""

from __future__ import annotations

import sqlite3

from mira_batch.config.shared import StorageConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.storage import schema
from mira_batch.storage.run.history import read_columns
from mira_batch.storage.run.layout import job_of, read_run
from mira_batch.storage.stores import open_store


def load_scores(uri: str, storage: StorageConfig, database: sqlite3.Connection) -> None:
    """Put the scores of an evaluation into a table `scores` of (name, score), by what was judged.

    Args:
        uri: the evaluation's directory.
        storage: how it is reached.
        database: of `scratch.open_scratch`.

    Raises:
        ConfigError: it is no evaluation, or compared pairs.
        StoreError: it is damaged.
    """
    about = read_run(open_store(uri, storage, make=False))
    if job_of(about) != "evaluate":
        raise ConfigError(f"scores: {uri}: is a run of the job {job_of(about)}; give that of an evaluate job")
    if about["settings"].get("input", {}).get("against"):
        raise ConfigError(
            f"scores: {uri}: compared results pair by pair; give one that scored each by itself"
        )
    columns = ("judged", "instruction", "source_digest", "result_digest", "score")
    database.execute("CREATE TABLE scores (name TEXT PRIMARY KEY, score REAL) WITHOUT ROWID")

    def fail(error: StoreError) -> None:
        raise error

    for _, table in read_columns(uri, columns, schema.SCORES, storage, fail):
        rows = [
            (name_judged(row["source_digest"], row["instruction"], row["result_digest"]), row["score"])
            for row in table.to_pylist()
            if row["judged"] == "result" and row["score"] is not None and row["result_digest"]
        ]
        database.execute("BEGIN")
        database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)
        database.execute("COMMIT")


def name_judged(source: str | None, instruction: str, result: str | None) -> str:
    """What a judge was shown and asked: equal pictures under equal instructions have one score, whatever the
    record and the rollout are called.

    Args:
        source, result: digests of the pixels.
        instruction: of the record.
    """
    return f"{source}\n{result}\n{instruction}"
