"""Judges that are made of other models' clients, each a `ModelClient` itself: one that asks a model by a
protocol, and a panel. Those that compare are in `comparing.py`.

They are put together above the clients, and not inside one model, so that each question is a call of its own:
batched with those of other records in the worker, or retried, limited and paid for by itself at an endpoint.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Generic, Literal, TypeVar

from mira_batch.core.errors import RecordError, boundary
from mira_batch.core.identity import content_hash
from mira_batch.core.ports import Axis, Judgement, JudgeRequest, Timed
from mira_batch.core.questions import Answer, Question
from mira_batch.core.text import clean_text
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


@dataclass(frozen=True, slots=True)
class PanelRules:
    """How the scores of several judges become one.

        mean        sum of s_i / n
        min         the least
        weighted    sum of w_i s_i / sum of w_i, w_i the given reliability

    over the members that gave a score, which are all unless a quorum is set.
    """

    identities: Mapping[str, str]
    """What changes each member's scores, by its name."""
    combine: Literal["mean", "min", "weighted"]
    """Which of them."""
    reliabilities: Mapping[str, float]
    """Weights by name, for `weighted`."""
    quorum: int
    """How many must give a score."""

    @property
    def identity(self) -> str:
        """What changes the scores: the rules, and who all members are."""
        return f"{self._name} [{'; '.join(self._describe())}]"

    @property
    def protocol(self) -> str:
        """As `Judgement.protocol` has it."""
        return f"{self._name} members={content_hash(*self._describe(), size=8)}"

    @property
    def _name(self) -> str:
        return f"panel/1 combine={self.combine} quorum={self.quorum}/{len(self.identities)}"

    def _describe(self) -> list[str]:
        weigh = self.combine == "weighted"
        return [
            f"{name}{f' reliability={self.reliabilities[name]:g}' if weigh else ''}: {identity}"
            for name, identity in self.identities.items()
        ]

    def combine_scores(self, scores: Mapping[str, float]) -> float:
        """One score of several, by name."""
        match self.combine:
            case "mean":
                return fmean(scores.values())
            case "min":
                return min(scores.values())
            case "weighted":
                return fmean(scores.values(), [self.reliabilities[name] for name in scores])


class Panel(Over):
    """Combines the scores of several judges into one. A `ModelClient` of `JudgeRequest` and `Judgement`."""

    def __init__(
        self, rules: PanelRules, members: Mapping[str, ModelClient[JudgeRequest, Judgement]]
    ) -> None:
        """
        Args:
            rules: how scores become one.
            members: the judges' clients, by name.
        """
        super().__init__(list(members.values()))
        self._rules = rules
        self._members = dict(members)

    async def submit(self, request: JudgeRequest, priority: tuple[int, ...] = ()) -> Timed[Judgement]:
        """The combined score; see `ModelClient.submit`. All members are asked side by side.

        Raises:
            RecordError: fewer members than the quorum gave a score; of the kind of their faults, where that
                is one kind.
        """
        began = time.perf_counter()
        calls = (member.submit(request, priority) for member in self._members.values())
        outcomes = dict(zip(self._members, await asyncio.gather(*calls, return_exceptions=True), strict=True))
        given = {name: found for name, found in outcomes.items() if isinstance(found, Timed)}
        failed = {name: found for name, found in outcomes.items() if isinstance(found, RecordError)}
        for found in outcomes.values():
            if not isinstance(found, Timed | RecordError):
                raise found
        usage = add_up(list(given.values()), began)
        usage += Usage(cost=sum(error.cost for error in failed.values()))
        if len(given) < self._rules.quorum:
            kinds = {error.kind for error in failed.values()}
            words = "; ".join(f"{name}: {error}" for name, error in failed.items())
            raise RecordError(
                kinds.pop() if len(kinds) == 1 else JUDGE.failed,
                f"{len(given)} of {len(outcomes)} judges scored, and {self._rules.quorum} must: {words}",
                usage.cost,
            )
        verdicts = {name: timed.value for name, timed in given.items()}
        return Timed(JUDGE.check(self._join(verdicts, failed)), usage)

    def _join(self, verdicts: Mapping[str, Judgement], failed: Mapping[str, RecordError]) -> Judgement:
        axes = {name: Axis(verdict.score, 0.0, 1.0) for name, verdict in verdicts.items()}
        validity = {"judges_answered": float(len(verdicts)), "judges_asked": float(len(self._members))}
        for name, verdict in verdicts.items():
            axes |= {f"{name}.{axis}": value for axis, value in verdict.axes.items()}
            validity |= {f"{name}.{part}": value for part, value in verdict.validity.items()}
        said = [f"{name}: {verdict.reason}" for name, verdict in verdicts.items() if verdict.reason]
        said += [f"{name} failed: {error}" for name, error in failed.items()]
        raw = tuple(text for verdict in verdicts.values() for text in verdict.raw)
        score = self._rules.combine_scores({name: verdict.score for name, verdict in verdicts.items()})
        return Judgement(score, clean_text("\n".join(said)), axes, self._rules.protocol, raw, validity)


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
    return Usage({**called, "waiting": waiting}, whole.cost, whole.retries)
