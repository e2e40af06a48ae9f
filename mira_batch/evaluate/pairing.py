"""Two evaluations, record by record."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.evaluate.scores import Bools, Judgings, find_records
from mira_batch.evaluate.statistics import Floats

_ASKED = ("instruction", "source", "source_digest", "result_digest", "judge", "protocol")
"""Columns that are of no use once it is known which records were asked for alike."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The judgings of both of the same records, in the same order."""

    a: Judgings
    b: Judgings

    def __len__(self) -> int:
        return len(self.a)

    def where(self, mask: Bools) -> Pairs:
        """Only those records."""
        return Pairs(self.a.where(mask), self.b.where(mask))

    def take(self, name: str) -> tuple[Floats, Floats]:
        """A score of both, NaN where there is none."""
        return self.a.values[name], self.b.values[name]

    def take_alike(self) -> Pairs:
        """Only the records of which the instruction and the original's pixels are the same; of those whose
        pixels are not known, where it lies. What that was told by is left behind."""

        alike = self.where(self.asked_alike)
        return Pairs(alike.a.without(*_ASKED), alike.b.without(*_ASKED))

    @property
    def asked_alike(self) -> Bools:
        """Of which records the question is the same; see `take_alike`."""

        def agree(column: str) -> pa.ChunkedArray:
            return pc.call_function("equal", [self.a.table[column], self.b.table[column]])

        original = pc.call_function("coalesce", [agree("source_digest"), agree("source")])
        return pc.call_function("and", [agree("instruction"), original]).fill_null(False).to_numpy()


def pair_up(a: Judgings, b: Judgings) -> Pairs:
    """The records that both have.

    Args:
        a, b: one judging of each record.
    """
    places = find_records(a, b)
    return Pairs(a.where(places.is_valid().to_numpy()), b.take(places.drop_null()))
