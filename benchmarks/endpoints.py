"""How much of a served model's capacity a run takes while some calls are refused, and it is away once.

The server is a real one on a socket. It answers 64 calls at once, each in a second; one in twenty it
refuses at once with 429, and for half a minute all of them with 503. Its own notes are what is measured.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from PIL import Image

from benchmarks.child import in_child
from benchmarks.figure import Bench, Figure, at_least, at_most, reported
from benchmarks.workload import config, manifest
from tests.support.servers.models import Answer, Asked, failing, model_server

AT_ONCE, SECONDS, REFUSED, SIDE, PRICE = 64, 1.0, 0.05, 64, 0.01
_ANSWER = Image.new("RGB", (SIDE, SIDE), "gray")


@dataclass
class Server:
    """The script of the server, and what it noted."""

    away: tuple[float, float]
    """Seconds after the first call between which it refuses all."""
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    began: float | None = None
    answers: list[float] = field(default_factory=list)
    """When each good answer is given, in seconds after the first call."""
    refused: dict[int, int] = field(default_factory=dict)
    """Calls by the status that they were refused with."""

    def answer(self, asked: Asked) -> Answer:
        """What becomes of a call."""
        now = time.monotonic()
        self.began = self.began or now
        since = now - self.began
        if self.away[0] <= since < self.away[1]:
            return self._refuse(503, "down for maintenance")
        inside = sum(each > since for each in self.answers[-AT_ONCE:])
        if inside >= AT_ONCE or self.dice.random() < REFUSED:
            return self._refuse(429, "too many requests")
        self.answers.append(since + SECONDS)
        return Answer(_ANSWER, seconds=SECONDS)

    def _refuse(self, status: int, why: str) -> Answer:
        self.refused[status] = self.refused.get(status, 0) + 1
        return failing(status, why)


@cache
def _served(bench: Bench) -> tuple[Server, dict[str, Any]]:
    """A run whose editor is that server, and what the server noted."""
    folder = bench.folder / "endpoints"
    edits = round(bench.size(60, 2) * AT_ONCE / SECONDS)
    away = (20.0, 50.0) if not bench.quick else (1.0, 2.0)
    names = [f"rec-{number:06d}" for number in range(edits)]
    server = Server(away)
    with model_server(server.answer) as running:
        job = config(
            manifest(folder, SIDE, names),
            folder / "out",
            policy={"type": "simulated", "steps": {"exact": {"*": 1}}},
            editor={
                "type": "openai_images",
                "model": "served",
                "base_url": running.url,
                "concurrency": AT_ONCE,
                "prices": {"call": PRICE},
            },
            backend="inline",
            workers={"records_in_flight": 4 * AT_ONCE},
        )
        job["output"] |= {"step_images": "drop", "fidelity": False}  # the calls are measured, not the images
        found = in_child("run", variables={"OPENAI_API_KEY": "none"}, config=job)
    if abs(found["cost"] - PRICE * len(server.answers)) > PRICE / 2:
        raise RuntimeError(f"{len(server.answers):,} answers, and the run booked {found['cost']} US dollars")
    return server, found


def _start(bench: Bench) -> float:
    """From when the figures are taken: a run fills its window first."""
    return 0.5 if bench.quick else 3.0


def _share(answers: Sequence[float], start: float, end: float, away: float = 0.0) -> float:
    """Answers between two moments, of those that the server could have given."""
    made = sum(start <= each < end for each in answers)
    return made / ((end - start - away) * AT_ONCE / SECONDS)


def refusals(bench: Bench) -> Figure:
    server, found = _served(bench)
    start = _start(bench)
    return at_least(
        0.95,
        "endpoint_share_of_capacity_with_refusals",
        _share(server.answers, start, server.away[0]),
        "",
        f"Edits by a served model over a real socket, {AT_ONCE} in flight at {SECONDS:g} s, of which "
        f"{REFUSED:.0%} are refused at once with 429: answers ÷ what the server could have given, from "
        f"{start:g} s after the first call until the server went away. All {found['records']:,} records came "
        "through, and each answer's price was booked once.",
    )


def outage(bench: Bench) -> Figure:
    server, _ = _served(bench)
    ordered = sorted(server.answers)
    start, end = _start(bench), ordered[int(0.95 * len(ordered))]
    gone = server.away[1] - server.away[0]
    return at_least(
        0.95,
        "endpoint_share_of_capacity_with_an_outage",
        _share(server.answers, start, end, gone),
        "",
        f"The same run until 95 % of its edits were answered. For {gone:g} s all calls were refused with 503 "
        f"({server.refused.get(503, 0):,} were made); those seconds are no capacity.",
    )


def recovery(bench: Bench) -> Figure:
    server, _ = _served(bench)
    first = min(each for each in server.answers if each >= server.away[1] + SECONDS)
    return at_most(
        6,
        "endpoint_seconds_until_used_again",
        first - SECONDS - server.away[1],
        "s",
        "From the end of the outage to the first call that was answered again.",
    )


def calls_an_answer(bench: Bench) -> Figure:
    server, _ = _served(bench)
    refused = server.refused.get(429, 0)
    return reported(
        "endpoint_refusals_an_answer",
        refused / len(server.answers),
        "",
        f"429s ÷ answers of that run; {REFUSED / (1 - REFUSED):.3f} are by chance, the others are calls that "
        "were more than the server takes at once.",
    )


FIGURES = (refusals, outage, recovery, calls_an_answer)
