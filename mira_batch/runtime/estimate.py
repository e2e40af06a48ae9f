"""What a plan will take, by the receipts of earlier runs of the same models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import ConfigError, StoreError
from mira_batch.core.receipts import Estimate, Range
from mira_batch.runtime.ledger import sum_receipts
from mira_batch.runtime.plan import Known
from mira_batch.storage.run.committed import find_committed_shards
from mira_batch.storage.run.layout import RunSpec, hash_form, read_run
from mira_batch.storage.stores import open_store

_RUNS = 10
"""Runs that are looked at, the newest first."""
_LEAST = 20
"""Records by which a run says something, where others say more."""
ASSUMED = ("edits", "edit_seconds", "edit_dollars")


@dataclass(frozen=True, slots=True)
class _Rates:
    """What a run took for each of its records."""

    records: int
    edits: float
    seconds: float
    """Of a worker."""
    gpu_seconds: float
    cost: float
    """US dollars that endpoints charged."""

    def scale(self, edits: float) -> _Rates:
        """What it would have been by so many edits for each record."""
        by = edits / self.edits
        return _Rates(self.records, edits, self.seconds * by, self.gpu_seconds * by, self.cost * by)


def estimate(
    config: JobConfig, spec: RunSpec, records: int, known: Known, assumed: Mapping[str, float]
) -> Estimate:
    """What so many records are expected to take: between what they took in the cheapest and in the dearest of
    the newest runs of the same models.

    Args:
        config: the job's.
        spec: the run to be.
        records: how many it runs.
        known: the catalogue, which knows the earlier runs.
        assumed: figures that are taken instead, by name: `edits` of a record, `edit_seconds` of a worker and
            `edit_dollars` of an endpoint for each.

    Raises:
        ConfigError: an assumption has no such name.
        StoreError: the store can't be used.
    """
    if unknown := [name for name in assumed if name not in ASSUMED]:
        raise ConfigError(f"--assume {unknown[0]}: there are {', '.join(ASSUMED)}")
    rates = _find_rates(spec, known)
    if "edits" in assumed:
        rates = [rate.scale(assumed["edits"]) for rate in rates if rate.edits]
    edits = _span(rate.edits for rate in rates)
    seconds = _span(rate.seconds for rate in rates)
    gpu_seconds = _span(rate.gpu_seconds for rate in rates)
    cost = _span(rate.cost for rate in rates)
    if "edits" in assumed:
        edits = Range(assumed["edits"], assumed["edits"])
    if "edit_seconds" in assumed:
        seconds = edits * assumed["edit_seconds"] if edits else None
        gpu_seconds = seconds * config.workers.gpus if seconds else None
        cost = cost or (None if config.charges else Range(0.0, 0.0))
    if not config.workers.gpus:  # which cost nothing, however long it takes
        gpu_seconds = Range(0.0, 0.0)
    if "edit_dollars" in assumed:
        cost = edits * assumed["edit_dollars"] if edits else None
    priced = gpu_seconds is not None and (config.prices.gpu_hour > 0 or gpu_seconds.high == 0)
    dollars = None
    if priced and cost is not None and gpu_seconds is not None:
        dollars = gpu_seconds * (config.prices.gpu_hour / 3600) + cost
    hours = None if seconds is None else seconds * (records / 3600)
    workers = 1 if config.backend == "inline" else config.workers.most
    return Estimate(
        len(rates),
        None if edits is None else edits * records,
        hours,
        None if dollars is None else dollars * records,
        None if hours is None else hours * (1 / workers),
        workers,
    )


def _span(values: Iterable[float]) -> Range | None:
    found = list(values)
    return Range(min(found), max(found)) if found else None


def _find_rates(spec: RunSpec, known: Known) -> list[_Rates]:
    models, found = _name_models(spec.settings), list[_Rates]()
    for name, _ in sorted(known.snapshot.runs.items(), key=lambda run: run[1].plan, reverse=True):
        if len(found) == _RUNS:
            break
        store = open_store(f"{spec.output}/{name}", spec.storage, make=False)
        try:
            if _name_models(read_run(store)["settings"]) != models:
                continue
            total = sum_receipts(store, find_committed_shards(store))
        except StoreError:  # a run that is damaged teaches nothing
            continue
        records, spent = total.tally.records, total.breakdown
        if records and spent["worker"]:
            figures = (total.tally.steps, spent["worker"], spent["gpu"], total.tally.usage.cost)
            found.append(_Rates(records, *(figure / records for figure in figures)))
    enough = [rate for rate in found if rate.records >= _LEAST]
    return enough or found


def _name_models(settings: Mapping[str, Any]) -> Any:
    """What of a run's settings decides how long a record takes: its models; all, where a job names none."""
    pixels = settings.get("pixels")
    if not isinstance(pixels, dict):
        return hash_form(settings)
    return {role: pixels.get(role) for role in ("policy", "editor", "judge")}
