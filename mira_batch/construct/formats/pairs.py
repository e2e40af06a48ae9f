"""Which samples are pairs: answers of unequal worth in the same state."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from mira_batch.construct.formats.words import Row, name_state
from mira_batch.construct.words import normalise

COLUMNS = (
    "sample_id",
    "split",
    "instruction",
    "source_digest",
    "current_digest",
    "history",
    "edit",
    "answer",
    "score",
)
"""What is read of samples to find pairs."""


def find_pairs(rows: Iterable[Row], margin: float, database: sqlite3.Connection) -> int:
    """Fill a table `pairs` of (sample_id, rejected answer): of each state the answer of the trajectory that
    scored best, and another edit (or stop) that scored lower by more than the margin, of which the worst.

    Args:
        rows: samples, by `COLUMNS`.
        margin: least difference of scores.
        database: of `scratch.open_scratch`.

    Returns:
        How many pairs there are.
    """
    database.execute("CREATE TABLE answers (state TEXT, name TEXT, action TEXT, answer TEXT, score REAL)")
    database.execute("BEGIN")
    for row in rows:
        if row["score"] is not None:
            action = "stop" if row["edit"] is None else f"edit {normalise(row['edit'])}"
            values = (name_state(row), row["sample_id"], action, row["answer"], row["score"])
            database.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", values)
    database.execute("COMMIT")
    database.execute("CREATE INDEX by_state ON answers (state, score)")
    database.execute("CREATE TABLE pairs (name TEXT PRIMARY KEY, rejected TEXT) WITHOUT ROWID")
    database.execute(
        """
        INSERT INTO pairs SELECT name, rejected FROM (
            SELECT best.name AS name, worst.answer AS rejected,
                row_number() OVER (
                    PARTITION BY best.state ORDER BY best.score DESC, worst.score, best.name, worst.name
                ) AS place
            FROM answers AS best JOIN answers AS worst
                ON best.state = worst.state AND best.action != worst.action AND best.score > worst.score + ?
        ) WHERE place = 1
        """,
        (margin,),
    )
    return database.execute("SELECT count(*) FROM pairs").fetchone()[0]
