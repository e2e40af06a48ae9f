"""Data sets as their owners publish them, read as data: their rows and files, each value checked.

Owns how they lie on disk, for benchmarks and for training data alike. Leaves what is made of them to
`evaluate.suites` and `construct`.
"""

from mira_batch.storage.published.magicbrush import Turn, list_turns, read_pictures
from mira_batch.storage.published.reading import BOUNDS, Picture, Problems, Reader, find_below
from mira_batch.storage.published.tables import Row, open_rows, read_json

__all__ = [
    "BOUNDS",
    "Picture",
    "Problems",
    "Reader",
    "Row",
    "Turn",
    "find_below",
    "list_turns",
    "open_rows",
    "read_json",
    "read_pictures",
]
