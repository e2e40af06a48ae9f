"""A table on the local disk for as long as it is worked with, so that memory doesn't grow with the data."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PAGES_KIB = 32_000


@contextmanager
def open_scratch() -> Iterator[sqlite3.Connection]:
    """A database of SQLite that is gone afterwards, also where the process is killed and the system sweeps
    its temporary files."""
    with tempfile.TemporaryDirectory(prefix="construct-") as folder:
        database = sqlite3.connect(Path(folder) / "scratch.db", isolation_level=None)
        try:
            for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_PAGES_KIB}"):
                database.execute(f"PRAGMA {setting}")
            yield database
        finally:
            database.close()


class Seen:
    """Names that were there before: of samples and instructions. A repeat is a duplicate."""

    def __init__(self, database: sqlite3.Connection, table: str = "seen") -> None:
        """
        Args:
            database: of `open_scratch`.
            table: name of its own.
        """
        self._database = database
        self._insert = f"INSERT OR IGNORE INTO {table} VALUES (?)"
        database.execute(f"CREATE TABLE {table} (name TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, name: str) -> bool:
        """Note a name; whether it is new."""
        return self._database.execute(self._insert, (name,)).rowcount == 1

    def add_all(self, names: Iterable[str]) -> None:
        """Note many."""
        self._database.execute("BEGIN")
        self._database.executemany(self._insert, ((name,) for name in names))
        self._database.execute("COMMIT")
