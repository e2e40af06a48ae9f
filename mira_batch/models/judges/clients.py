"""Judges that are made of other models' clients, each a `ModelClient` itself: one that asks a model by a
protocol. Those that compare are in `comparing.py`, panels in `panel.py`.

They are put together above the clients, and not inside one model, so that each question is a call of its own:
batched with those of other records in the worker, or retried, limited and paid for by itself at an endpoint.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from mira_batch.core.errors import RecordError, boundary
from mira_batch.core.ports import Judgement, Timed
from mira_batch.core.questions import Answer, Question
from mira_batch.core.usage import Usage
from mira_batch.models.judges.protocol import JudgeProtocol
from mira_batch.models.judges.reading import Unreadable
from mira_batch.models.serving import JUDGE, ModelClient, OnCall, quote

Q = TypeVar("Q")
R = TypeVar("R")


class Over:
    """What every client over others has in common."""

    role = JUDGE

    def __init__(self, clients: Sequence[ModelClient[Any, Any]]) -> None:
        self._clients = tuple(clients)

    @property
    def usage(self) -> Usage:
        """What all calls took so far; see `ModelClient.usage`."""
        return sum((client.usage for client in self._clients), Usage())

    @property
    def out_of_memory(self) -> int:
        """Calls that ran out of memory so far."""
        return sum(client.out_of_memory for client in self._clients)

    @property
    def on_call(self) -> OnCall:
        """Told of each call when it has ended."""
        return self._clients[0].on_call

    @on_call.setter
    def on_call(self, on_call: OnCall) -> None:
        for client in self._clients:
            client.on_call = on_call

    async def close(self) -> None:
        """Close all clients; see `ModelClient.close`."""
        await asyncio.gather(*(client.close() for client in self._clients))


class ProtocolJudge(Over, Generic[Q, R]):
    """Asks a model by a protocol. A `ModelClient` of requests and verdicts."""

    def __init__(self, protocol: JudgeProtocol[Q, R], model: ModelClient[Question, Answer]) -> None:
        """
        Args:
            protocol: what is asked, and what is made of the answers.
            model: the client of the model that is asked.
        """
        super().__init__([model])
        self._protocol = protocol
        self._model = model

    async def submit(self, request: Q, priority: tuple[int, ...] = ()) -> Timed[R]:
        """The verdict on one request; see `ModelClient.submit`. Its questions are asked side by side.

        Raises:
            RecordError: the model failed on a question, refused it (`judge_refused`), or its answer can't be
                read. Its `cost` is that of all questions.
        """
        began = time.perf_counter()
        with boundary(JUDGE.failed):
            questions = await asyncio.to_thread(self._protocol.ask, request)
        answers = await gather_answers(self._model.submit(question, priority) for question in questions)
        usage = add_up(answers, began)
        try:
            verdict = self._protocol.read(request, [answer.value for answer in answers])
        except Unreadable as fault:
            kind, what = JUDGE.failed, "the judge's answer can't be used"
            if fault.is_refusal:
                kind, what = JUDGE.refused, "the judge refused to answer"
            words = f"{what}: {fault}: {quote(fault.text, None) or 'nothing'!r}"
            raise RecordError(kind, words, usage.cost) from None
        except RecordError as error:
            error.cost += usage.cost
            raise
        checked: Any = JUDGE.check(verdict) if isinstance(verdict, Judgement) else verdict
        return Timed(checked, usage)


async def gather_answers(calls: Iterable[Awaitable[Timed[R]]]) -> list[Timed[R]]:
    """All answers, or the first fault, which bears the cost of all calls."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    faults = [found for found in outcomes if isinstance(found, BaseException)]
    if not faults:
        return [found for found in outcomes if isinstance(found, Timed)]
    for fault in faults:
        if not isinstance(fault, RecordError):
            raise fault
    first = faults[0]
    assert isinstance(first, RecordError)
    first.cost = sum(fault.cost for fault in faults if isinstance(fault, RecordError))
    first.cost += sum(found.usage.cost for found in outcomes if isinstance(found, Timed))
    raise first


def add_up(answers: Sequence[Timed[Any]], began: float) -> Usage:
    """What calls made side by side took of a record: their seconds add up, and what is left of the time since
    `began` it waited."""
    whole = sum((answer.usage for answer in answers), Usage())
    called = {name: seconds for name, seconds in whole.seconds.items() if name != "waiting"}
    waiting = max(0.0, time.perf_counter() - began - sum(called.values()))
    return replace(whole, seconds={**called, "waiting": waiting})
