"""Reads the cards of chosen records, a row group at a time and a few side by side.

However many there are, only those on their way are in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from mira_batch.report.cards import CardReader
from mira_batch.report.contents import Card
from mira_batch.report.totals import Totals

_READERS = 4
_ROWS_PER_READ = 16
"""Of one row group mostly, which is read as a whole each time."""


def read_in_order(reader: CardReader, totals: Totals, chosen: Sequence[int]) -> Iterator[Card]:
    """The cards of records, in the run's order.

    Args:
        reader: of the run.
        totals: of the run.
        chosen: positions of the records in the run.

    Raises:
        pa.ArrowException, OSError: a result file can't be read.
    """
    reads = _plan_reads(totals, sorted(chosen))
    waiting: deque[Future[dict[int, Card]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="report") as pool:
        for file, start, positions in reads:
            waiting.append(pool.submit(reader.read_cards, file, start, positions))
            if len(waiting) > 2 * _READERS:
                yield from waiting.popleft().result().values()
        while waiting:
            yield from waiting.popleft().result().values()


def read_cards(reader: CardReader, totals: Totals, chosen: Sequence[int]) -> list[Card]:
    """The cards of records in the order they are named; arguments and errors as of `read_in_order`."""
    places = {position: place for place, position in enumerate(sorted(chosen))}
    cards = list(read_in_order(reader, totals, chosen))
    return [cards[places[position]] for position in chosen]


def _plan_reads(totals: Totals, positions: Sequence[int]) -> Iterator[tuple[str, int, list[int]]]:
    """A result file, the position of its first row, and some positions in it that lie close together."""
    batch: list[int] = []
    last = -1
    for position in positions:
        file = int(np.searchsorted(totals.starts, position, "right")) - 1
        if batch and (file != last or len(batch) == _ROWS_PER_READ):
            yield totals.files[last], totals.starts[last], batch
            batch = []
        batch.append(position)
        last = file
    if batch:
        yield totals.files[last], totals.starts[last], batch
