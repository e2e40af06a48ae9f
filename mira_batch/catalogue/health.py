"""How the nights go: a document for each, and where tonight is out of line with those before.

    catalogue/health/00012.json

Limits are plain control limits: three standard deviations about the mean of the last nights. A share of n
records scatters by itself, as a binomial one does, so its limits are never narrower than that.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mira_batch.core.receipts import RunSummary
from mira_batch.core.types import Status
from mira_batch.storage.catalogue.join import Cause
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import find_newest
from mira_batch.storage.run.layout import DamagedFile

NIGHTS = 14
"""Earlier nights that tonight is compared with."""
_LEAST = 5
"""Nights by which there are limits."""
_NIGHT = re.compile(r"health/(\d+)\.json")
_AS_BEFORE = {Cause.failed.name, Cause.unfinished.name}
"""Why records are run again of which nothing is new."""


@dataclass(frozen=True)
class Standing:
    """How the newest run of any night stands, as far as a night has told it."""

    run: str = ""
    """Its name; empty where there is none."""
    problem: str = ""
    """What is wrong with it."""
    left: Mapping[str, int] = field(default_factory=dict)
    """Its records that are not ok: failed ones by kind, and `unfinished` ones."""


@dataclass(frozen=True)
class Night:
    """What a night came to."""

    ended: str
    """When, ISO 8601 in UTC."""
    run: str
    """Name of its run; empty where there was nothing to do."""
    planned: int = 0
    committed: int = 0
    """By this night's run, over all its calls."""
    ok: int = 0
    unfinished: int = 0
    failed: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    """Failed records by kind."""
    cost: float = 0.0
    """US dollars, GPUs and endpoints."""
    seconds: float = 0.0
    """From start to end."""
    records: int = 0
    """Records that the catalogue has."""
    newest_good: str = ""
    """When last a night has made a good row; empty where none ever has."""
    problem: str = ""
    """Why it failed; empty where it didn't."""
    known: str = ""
    """What is wrong still, and is nothing that a night before has not told; empty where nothing is."""
    standing: Standing = Standing()
    """What later nights find told."""

    @property
    def acceptance(self) -> float | None:
        """The share of its records that are ok."""
        return self.ok / self.committed if self.committed else None

    @property
    def cost_each(self) -> float | None:
        """US dollars for each record that is ok."""
        return self.cost / self.ok if self.ok else None


@dataclass(frozen=True, slots=True)
class Drift:
    """A figure of tonight against those of the nights before."""

    name: str
    tonight: float
    mean: float
    limit: float
    """How far it may be from the mean."""

    @property
    def out(self) -> bool:
        """Whether it is out of line."""
        return abs(self.tonight - self.mean) > self.limit


_FORM = TypeAdapter(Night)


def note_night(
    catalogue: Catalogue, summary: RunSummary | None, problem: str, on_damaged: Callable[[str], None]
) -> tuple[Night, list[Night]]:
    """Write down how a night went.

    Args:
        catalogue: of which.
        summary: what its run came to; None where it came to nothing.
        problem: why it failed; empty where it didn't. Where a night before has told the same, and nothing is
            new, it becomes the night's `known`, and the night has no problem.
        on_damaged: as of `read_nights`.

    Returns:
        The night, and up to `NIGHTS` before it, the newest first.

    Raises:
        StoreError: the store can't be used, or the catalogue's snapshot is damaged.
    """
    earlier = read_nights(catalogue, on_damaged)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    standing = earlier[0].standing if earlier else Standing()
    known = ""
    if summary is not None and problem and _is_known(summary, problem, standing):
        problem, known = "", problem
    if summary is not None and summary.committed:
        left = _count_left(summary)
        if not summary.complete:  # what it has not come to is as it was
            left = Counter(left) | Counter(standing.left)
        standing = Standing(summary.run_id, problem or known, dict(left))
    elif summary is not None and summary.run_id and not summary.planned:
        standing = replace(standing, run=summary.run_id)  # it has nothing to run: what is left is as it was
    last_good = next((night.newest_good for night in earlier if night.newest_good), "")
    records = find_newest(catalogue.store).records
    night = Night(
        now, "", records=records, newest_good=last_good, problem=problem, known=known, standing=standing
    )
    if summary is not None and (
        problem or summary.committed > summary.already
    ):  # else there was nothing to do
        night = Night(
            now,
            summary.run_id,
            summary.planned,
            summary.committed,
            summary.ok,
            summary.unfinished,
            summary.failed,
            dict(summary.errors),
            summary.gpu_cost + summary.cost,
            summary.wall,
            records,
            now if summary.ok and summary.committed > summary.already else last_good,
            problem,
            known,
            standing,
        )
    number = max(_list_numbers(catalogue), default=0) + 1
    while not catalogue.store.create(
        f"health/{number:05d}.json", json.dumps(asdict(night), indent=2).encode()
    ):
        number += 1
    return night, earlier


def _is_known(summary: RunSummary, problem: str, before: Standing) -> bool:
    """Whether somebody whom a night before has told its problem learns nothing from this one's.

    Either nothing was done, and the same is wrong with the same run; or only records that had failed were
    made again, and they fail as they did. A run that ends early, or can't be made, is told each time.
    """
    if not (summary.committed and summary.complete):
        return False
    if summary.committed == summary.already:
        return (before.run, before.problem) == (summary.run_id, problem)
    why = {cause.name for cause in Cause if cause.runs} & summary.causes.keys()
    if summary.unread or summary.ok or not why <= _AS_BEFORE:
        return False
    return bool(why) and _count_left(summary) <= Counter(before.left)


def _count_left(summary: RunSummary) -> Counter[str]:
    return Counter(summary.errors) + Counter({Status.unfinished.value: summary.unfinished})


def read_nights(
    catalogue: Catalogue, on_damaged: Callable[[str], None] = lambda words: None, most: int = NIGHTS
) -> list[Night]:
    """The last nights, the newest first.

    Args:
        catalogue: of which.
        on_damaged: told of a document that is damaged and left out, in words: which, and what to do.
        most: how many.

    Raises:
        StoreError: the store can't be used.
    """
    found = []
    for number in sorted(_list_numbers(catalogue), reverse=True)[:most]:
        key = f"health/{number:05d}.json"
        try:
            night = catalogue.store.read(key, partial(_parse_night, catalogue.store.locate(key)))
        except DamagedFile as error:
            on_damaged(str(error))
            continue
        if night is not None:  # else somebody has just deleted it
            found.append(night)
    return found


def _parse_night(where: str, data: bytes) -> Night:
    try:
        night = _FORM.validate_json(data)
        times = [datetime.fromisoformat(time) for time in (night.ended, night.newest_good) if time]
        problem = "" if all(time.tzinfo for time in times) else "a time in it has no zone"
    except ValidationError as error:
        night, problem = None, error.errors(include_url=False)[0]["msg"]
    except ValueError as error:
        night, problem = None, str(error)
    if problem or night is None:
        raise DamagedFile(
            f"{where}: is damaged ({problem}). It only says how a night went: nights are noted and compared "
            "without it. Restore it, or delete it"
        )
    return night


def _list_numbers(catalogue: Catalogue) -> list[int]:
    found = (_NIGHT.fullmatch(entry.key) for entry in catalogue.store.list("health"))
    return [int(match[1]) for match in found if match]


def find_drift(night: Night, earlier: Sequence[Night]) -> list[Drift]:
    """How tonight's acceptance rate and cost compare with those of the nights before; nothing where too few
    nights say something.

    Args:
        night: tonight. Of one in which nothing but known failures were tried again it says nothing.
        earlier: nights before it.
    """
    if night.known:
        return []
    return [*_compare_acceptance(night, earlier), *_compare_cost(night, earlier)]


def _compare_acceptance(night: Night, earlier: Sequence[Night]) -> Iterator[Drift]:
    told = [other for other in earlier if other.committed and not other.known]
    if night.acceptance is None or len(told) < _LEAST:
        return
    mean = sum(other.ok for other in told) / sum(other.committed for other in told)
    by_chance = math.sqrt(mean * (1 - mean) / night.committed)
    spread = statistics.pstdev(other.ok / other.committed for other in told)
    limit = max(3 * by_chance + 0.5 / night.committed, 3 * spread)  # half a record: counts are whole
    yield Drift("acceptance rate", night.acceptance, mean, limit)


def _compare_cost(night: Night, earlier: Sequence[Night]) -> Iterator[Drift]:
    costs = [other.cost_each for other in earlier if other.cost_each]
    if not night.cost_each or len(costs) < _LEAST:
        return
    yield Drift(
        "cost of an accepted image", night.cost_each, statistics.fmean(costs), 3 * statistics.pstdev(costs)
    )


def dump_night(night: Night, drift: Sequence[Drift]) -> dict[str, Any]:
    """A night as JSON data, for alerts and `--json`."""
    return asdict(night) | {"drift": [asdict(figure) | {"out": figure.out} for figure in drift]}
