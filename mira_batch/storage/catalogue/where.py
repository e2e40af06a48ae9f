"""Conditions over the catalogue's columns, as users write them: `status = 'failed' and cost > 0.01`.

How they are read is in `sql.py`, which is loaded for the first condition only: its parser is slow to import.
"""

from __future__ import annotations

import pyarrow.compute as pc


def parse_where(text: str) -> pc.Expression:
    """A condition as an expression over tables of schema `SNAPSHOT`. As in SQL, one that compares with a
    value that is not there doesn't hold, nor does its contrary.

    Raises:
        ConfigError: it can't be read, names no column, or asks for what there is no word for here.
    """
    from mira_batch.storage.catalogue.sql import read_condition

    return read_condition(text)
