"""Judges that say which of two results is better, made of clients that look at one order, or at one image.

A verdict is a `Judgement` of the second over the first: 1 it is better, 0.5 neither, 0 it is worse.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from mira_batch.core.pairs import PairRequest, Preference, Winner, agree
from mira_batch.core.ports import Axis, Judgement, JudgeRequest, Timed
from mira_batch.models.judges.clients import Over, add_up, gather_answers
from mira_batch.models.serving import JUDGE, ModelClient

_SCORES: Mapping[Winner, float] = {Winner.second: 1.0, Winner.tie: 0.5, Winner.first: 0.0}
"""Of the second over the first."""


class BothOrders(Over):
    """Has two results compared in both orders; where these disagree it is a tie. A `ModelClient` of
    `PairRequest` and `Judgement`.

    The request's first is called A here, and its second B. `axes` have the verdict of each order, on the same
    scale: `a_shown_first` and `b_shown_first`. `raw` has the answers in that order; in the latter the judge's
    own letters are swapped.
    """

    def __init__(self, comparer: ModelClient[PairRequest, Preference]) -> None:
        """
        Args:
            comparer: the client that compares two results in one order.
        """
        super().__init__([comparer])
        self._comparer = comparer

    async def submit(self, request: PairRequest, priority: tuple[int, ...] = ()) -> Timed[Judgement]:
        """The verdict on two results; see `ModelClient.submit`. Both orders are asked side by side.

        Raises:
            RecordError: comparing failed in one of the orders.
        """
        began = time.perf_counter()
        orders = (request, request.swap())
        found = await gather_answers(self._comparer.submit(order, priority) for order in orders)
        forward, backward = (timed.value for timed in found)
        verdicts = forward.winner, backward.winner.swapped
        names = "a_shown_first", "b_shown_first"
        axes = {name: Axis(_SCORES[v], 0.0, 1.0) for name, v in zip(names, verdicts, strict=True)}
        judgement = Judgement(
            _SCORES[agree(forward.winner, backward.winner)],
            forward.reason,
            axes,
            f"{forward.protocol} orders=2",
            (*forward.raw, *backward.raw),
            {"orders_agree": float(verdicts[0] is verdicts[1])},
        )
        return Timed(JUDGE.check(judgement), add_up(found, began))


class AgainstOriginal(Over):
    """Makes a score of comparing: a result against the original, in both orders. 1 where both orders prefer
    the result, 0 where both prefer the original, else 0.5. A `ModelClient` of `JudgeRequest` and `Judgement`.
    """

    def __init__(self, pairs: BothOrders) -> None:
        """
        Args:
            pairs: who compares.
        """
        super().__init__([pairs])
        self._pairs = pairs

    async def submit(self, request: JudgeRequest, priority: tuple[int, ...] = ()) -> Timed[Judgement]:
        """The score of one result; see `ModelClient.submit`.

        Raises:
            RecordError: comparing failed in one of the orders.
        """
        original = request.original
        asked = request.instruction
        pair = PairRequest(request.record_id, asked, original, original, request.candidate, request.draw)
        timed = await self._pairs.submit(pair, priority)
        found = timed.value
        judgement = replace(
            found,
            axes={"preference": Axis(found.score, 0.0, 1.0)},
            protocol=f"{found.protocol} against=original",
        )
        return Timed(judgement, timed.usage)


class ByScores(Over):
    """Has each of two results scored by itself: the one with the higher score is better. It knows no order. A
    `ModelClient` of `PairRequest` and `Judgement`, whose `axes` `a` and `b` are the scores of its
    first and its second.
    """

    def __init__(self, judge: ModelClient[JudgeRequest, Judgement]) -> None:
        """
        Args:
            judge: the client that scores.
        """
        super().__init__([judge])
        self._judge = judge

    async def submit(self, request: PairRequest, priority: tuple[int, ...] = ()) -> Timed[Judgement]:
        """The verdict on two results; see `ModelClient.submit`.

        Raises:
            RecordError: one of them could not be scored.
        """
        began, asked = time.perf_counter(), request.instruction
        requests = (
            JudgeRequest(request.record_id, asked, request.original, frame, asked, draw=request.draw)
            for frame in (request.first, request.second)
        )
        found = await gather_answers(self._judge.submit(each, priority) for each in requests)
        first, second = (timed.value for timed in found)
        winner = Winner.tie
        if first.score != second.score:
            winner = Winner.first if first.score > second.score else Winner.second
        judgement = Judgement(
            _SCORES[winner],
            f"{first.reason}; {second.reason}",
            {name: Axis(each.score, 0.0, 1.0) for name, each in (("a", first), ("b", second))},
            f"{first.protocol} by=scores",
            (*first.raw, *second.raw),
        )
        return Timed(JUDGE.check(judgement), add_up(found, began))
