"""Several judges whose scores become one: all are asked side by side, or each only where the one before it is
unsure.

Like the judges of `clients.py` a panel is put together above its members' clients: each member is batched
with other records' requests, or retried and paid for, by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from mira_batch.core.errors import RecordError
from mira_batch.core.identity import content_hash
from mira_batch.core.ports import Axis, Judgement, JudgeRequest, Timed
from mira_batch.core.text import clean_text
from mira_batch.core.usage import Usage
from mira_batch.models.judges.clients import Over, add_up
from mira_batch.models.serving import JUDGE, ModelClient

Outcomes = dict[str, Timed[Judgement] | RecordError]
"""What became of each member that was asked, by name, in the order of asking."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """When the next member is asked as well."""

    entropy_above: float | None
    """Where the last one's entropy is above this, in nats."""
    score_between: tuple[float, float] | None
    """Or where its score is in this band, ends included."""

    def __str__(self) -> str:
        parts = [] if self.entropy_above is None else [f"entropy>{self.entropy_above:g}"]
        if self.score_between is not None:
            parts.append("score={:g}..{:g}".format(*self.score_between))
        return "|".join(parts)

    def is_unsure(self, name: str, verdict: Judgement) -> bool:
        """Whether a member's verdict leaves room for another.

        Args:
            name: the member's.
            verdict: what it said.

        Raises:
            RecordError: it doesn't say how unsure it is, and nothing else decides.
        """
        low, high = self.score_between or (1.0, 0.0)
        entropy = verdict.validity.get("entropy")
        if self.entropy_above is not None and self.score_between is None and entropy is None:
            raise RecordError(
                JUDGE.failed,
                "escalate.entropy_above needs judges that say how unsure they are, by `entropy` in their "
                f"validity, and {name} doesn't; set score_between instead",
            )
        doubts = self.entropy_above is not None and entropy is not None and entropy > self.entropy_above
        return doubts or low <= verdict.score <= high


@dataclass(frozen=True, slots=True)
class PanelRules:
    """How the scores of several judges become one.

        mean        sum of s_i / n
        min         the least
        weighted    sum of w_i s_i / sum of w_i, w_i the given reliability
        last        that of the member asked last

    over the members that gave a score, which are all that were asked unless a quorum is set.
    """

    identities: Mapping[str, str]
    """What changes each member's scores, by its name."""
    combine: Literal["mean", "min", "weighted", "last"]
    """Which of them."""
    reliabilities: Mapping[str, float]
    """Weights by name, for `weighted`."""
    quorum: int | None
    """How many must give a score; None: all that are asked."""
    escalation: Escalation | None = None
    """When a member after the first is asked; None asks all."""

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
        if self.escalation is not None:
            return f"panel/1 combine={self.combine} escalate={self.escalation}"
        count = len(self.identities)
        needed = count if self.quorum is None else self.quorum
        return f"panel/1 combine={self.combine} quorum={needed}/{count}"

    def _describe(self) -> list[str]:
        weigh = self.combine == "weighted"
        return [
            f"{name}{f' reliability={self.reliabilities[name]:g}' if weigh else ''}: {identity}"
            for name, identity in self.identities.items()
        ]

    def combine_scores(self, scores: Mapping[str, float]) -> float:
        """One score of several.

        Args:
            scores: by the members' names, in the order of asking.
        """
        match self.combine:
            case "last":
                return list(scores.values())[-1]
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
        """The combined score; see `ModelClient.submit`.

        Raises:
            RecordError: fewer members gave a score than must; of the kind of their faults, where that is one
                kind.
        """
        began = time.perf_counter()
        ask = self._ask_all if self._rules.escalation is None else self._ask_in_turn
        asked = await ask(request, priority)
        given = {name: found for name, found in asked.items() if isinstance(found, Timed)}
        failed = {name: found for name, found in asked.items() if isinstance(found, RecordError)}
        usage = add_up(list(given.values()), began)
        usage += Usage.paid(JUDGE.name, sum(error.cost for error in failed.values()))
        needed = len(asked) if self._rules.quorum is None else self._rules.quorum
        if len(given) < needed:
            kinds = {error.kind for error in failed.values()}
            words = "; ".join(f"{name}: {error}" for name, error in failed.items())
            raise RecordError(
                kinds.pop() if len(kinds) == 1 else JUDGE.failed,
                f"{len(given)} of {len(asked)} judges scored, and {needed} must: {words}",
                usage.cost,
            )
        verdicts = {name: timed.value for name, timed in given.items()}
        return Timed(JUDGE.check(self._join(verdicts, failed)), usage)

    async def _ask_all(self, request: JudgeRequest, priority: tuple[int, ...]) -> Outcomes:
        calls = (member.submit(request, priority) for member in self._members.values())
        found = await asyncio.gather(*calls, return_exceptions=True)
        outcomes: Outcomes = {}
        for name, outcome in zip(self._members, found, strict=True):
            if not isinstance(outcome, Timed | RecordError):
                raise outcome
            outcomes[name] = outcome
        return outcomes

    async def _ask_in_turn(self, request: JudgeRequest, priority: tuple[int, ...]) -> Outcomes:
        """One member after another, as long as the last one is unsure. A fault ends it."""
        assert self._rules.escalation is not None
        outcomes: Outcomes = {}
        for name, member in self._members.items():
            cost = 0.0
            try:
                found = await member.submit(request, priority)
                cost = found.usage.cost
                outcomes[name] = found
                is_last = len(outcomes) == len(self._members)
                if is_last or not self._rules.escalation.is_unsure(name, found.value):
                    break
            except RecordError as error:
                error.cost += cost
                outcomes[name] = error
                break
        return outcomes

    def _join(self, verdicts: Mapping[str, Judgement], failed: Mapping[str, RecordError]) -> Judgement:
        axes = {name: Axis(verdict.score, 0.0, 1.0) for name, verdict in verdicts.items()}
        asked = len(verdicts) + len(failed)
        validity = {"judges_answered": float(len(verdicts)), "judges_asked": float(asked)}
        for name, verdict in verdicts.items():
            axes |= {f"{name}.{axis}": value for axis, value in verdict.axes.items()}
            validity |= {f"{name}.{part}": value for part, value in verdict.validity.items()}
        said = [f"{name}: {verdict.reason}" for name, verdict in verdicts.items() if verdict.reason]
        said += [f"{name} failed: {error}" for name, error in failed.items()]
        raw = tuple(text for verdict in verdicts.values() for text in verdict.raw)
        score = self._rules.combine_scores({name: verdict.score for name, verdict in verdicts.items()})
        return Judgement(score, clean_text("\n".join(said)), axes, self._rules.protocol, raw, validity)
