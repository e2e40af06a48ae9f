"""MagicBrush: sessions are the turns of one img_id. Turns begin from the image that people accepted
before."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from mira_batch.config.construct import MagicBrushConfig
from mira_batch.construct.pictures import keep_exact
from mira_batch.construct.readers.found import Found, FoundTurn, Left, locate
from mira_batch.storage.published import BOUNDS, Picture, Problems, Reader, list_turns, read_pictures


def read(config: MagicBrushConfig) -> Iterator[Found | Left]:
    """The sessions of the data set.

    Raises:
        DataSetError: it is no MagicBrush, a value of it is wrong, or a session's turns stand apart.
    """
    data = locate(config.data)
    reader = Reader(Problems())
    turns = list_turns(data, config.split, reader)
    reader.problems.refuse()
    seen: set[str] = set()
    for session, some in groupby(
        read_pictures(data, config.split, turns, reader), key=lambda t: t[0].session
    ):
        group = sorted(some, key=lambda each: each[0].number)
        reader.problems.refuse()
        if session in seen or [turn.number for turn, _, _ in group] != list(range(1, group[0][0].turns + 1)):
            reader.problems.add(group[0][0].place, f"turns of {session} stand apart; download it again")
            reader.problems.refuse()
        seen.add(session)
        steps = [(turn, source, target) for turn, source, target in group if source and target]
        found = tuple(FoundTurn(turn.instruction, target.data) for turn, _, target in steps)
        # A turn that does not begin from the accepted image before it is no chain.
        alike = all(_is_same(a[2], b[1]) for a, b in zip(steps, steps[1:], strict=False))
        if not alike:
            yield Left("no_chain")
        else:
            yield Found(session, steps[0][1].data, found)


def _is_same(one: Picture, other: Picture) -> bool:
    """Whether two images have the same pixels; most are the very same file."""
    if one.data == other.data:
        return True
    first, second = (keep_exact(each.data, each.name, BOUNDS).digest for each in (one, other))
    return first == second
