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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from mira_batch.core.receipts import RunSummary
from mira_batch.storage.catalogue.place import Catalogue
from mira_batch.storage.catalogue.snapshot import find_newest
from mira_batch.storage.run.layout import parse_document

NIGHTS = 14
"""Earlier nights that tonight is compared with."""
_LEAST = 5
"""Nights by which there are limits."""
_NIGHT = re.compile(r"health/(\d+)\.json")


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


def note_night(catalogue: Catalogue, summary: RunSummary | None, problem: str) -> tuple[Night, list[Night]]:
    """Write down how a night went.

    Args:
        catalogue: of which.
        summary: what its run came to; None where it came to nothing.
        problem: why it failed; empty where it didn't.

    Returns:
        The night, and up to `NIGHTS` before it, the newest first.

    Raises:
        StoreError: the store can't be used, or a document of the catalogue is damaged.
    """
    earlier = read_nights(catalogue)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    last_good = next((night.newest_good for night in earlier if night.newest_good), "")
    records = find_newest(catalogue.store).records
    night = Night(now, "", records=records, newest_good=last_good, problem=problem)
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
        )
    number = max(_list_numbers(catalogue), default=0) + 1
    while not catalogue.store.create(
        f"health/{number:05d}.json", json.dumps(asdict(night), indent=2).encode()
    ):
        number += 1
    return night, earlier


def read_nights(catalogue: Catalogue, most: int = NIGHTS) -> list[Night]:
    """The last nights, the newest first.

    Raises:
        StoreError: the store can't be used, or a document is damaged.
    """
    found = []
    for number in sorted(_list_numbers(catalogue), reverse=True)[:most]:
        key = f"health/{number:05d}.json"
        where = catalogue.store.locate(key)
        document = catalogue.store.read(key, lambda data, where=where: parse_document(data, where, "ended"))
        known = {name.name for name in fields(Night)}
        found.append(Night(**{name: value for name, value in (document or {}).items() if name in known}))
    return found


def _list_numbers(catalogue: Catalogue) -> list[int]:
    found = (_NIGHT.fullmatch(entry.key) for entry in catalogue.store.list("health"))
    return [int(match[1]) for match in found if match]


def find_drift(night: Night, earlier: Sequence[Night]) -> list[Drift]:
    """How tonight's acceptance rate and cost compare with those of the nights before; nothing where too few
    nights say something.

    Args:
        night: tonight.
        earlier: nights before it.
    """
    return [*_compare_acceptance(night, earlier), *_compare_cost(night, earlier)]


def _compare_acceptance(night: Night, earlier: Sequence[Night]) -> Iterator[Drift]:
    told = [other for other in earlier if other.committed]
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
