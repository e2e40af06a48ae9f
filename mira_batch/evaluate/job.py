"""Evaluate as a job of the runner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.core.identity import fingerprint
from mira_batch.core.types import Status, Weights
from mira_batch.evaluate.record import EvaluateRunner
from mira_batch.evaluate.scan import scan
from mira_batch.evaluate.source import find_source
from mira_batch.models.checks import check_model, describe_sharing
from mira_batch.models.loader import load_models, load_pair_judge
from mira_batch.runtime.job import WorkerContext
from mira_batch.storage import schema
from mira_batch.storage.run.verify import RowCheck
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store
from mira_batch.storage.weights import describe_weights, fetch_weights, name_weights


class EvaluateJob:
    """Judges each result of a run, of a catalogue, or of a manifest of pairs."""

    plan_schema: pa.Schema = schema.PLAN
    result_schema: pa.Schema = schema.SCORES

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config
        self._fingerprint = fingerprint(config.scores())

    def fingerprint_fields(self) -> Mapping[str, Any]:
        """The judge, and the version of what it is asked."""
        return self.config.scores()

    def settings(self) -> Mapping[str, Any]:
        """What is judged, by whom, and what is asked beside it."""
        include = {"group", "sample", "controls"}
        return {
            "job": self.config.job,
            "input": self.config.input.model_dump(mode="json"),
            "scores": self.config.scores(),
        } | self.config.model_dump(mode="json", include=include)

    def check(self) -> None:
        """Refuse a judge that can't be built."""
        check_model(self.config.judge)

    def checks(self) -> list[tuple[str, Callable[[], str]]]:
        """What is judged, and the judge with its weights."""
        places = dict.fromkeys(self.config.judge.weight_locations())

        def describe_source() -> str:
            splits = self.find_source().split()
            parts = f"{len(splits):,} part{'s' * (len(splits) != 1)} of {self.config.input.manifest}"
            against = self.config.input.against
            return parts if against is None else f"{parts}, against {against}"

        return [
            ("what is judged", describe_source),
            ("judge", lambda: check_model(self.config.judge)),
            *([("weights", lambda: self._describe_weights(places))] if places else []),
        ]

    def _describe_weights(self, places: Iterable[str]) -> str:
        engines = {f"judge{below}": engine for below, engine in self.config.judge.engines().items()}
        found = [describe_weights(place, self.config.storage) for place in places]
        return "; ".join([*found, *describe_sharing(engines, name_weights)])

    def find_source(self) -> Source:
        """Results or pairs."""
        return find_source(self.config)

    def scan(self, split: Any) -> Iterator[pa.Table]:
        """A row for each judging of a part of them."""
        return scan(split, self.config, self._fingerprint)

    async def open(self, context: WorkerContext) -> EvaluateRunner:
        """Load the judge."""
        config, limit = self.config, self.config.limits.judge_seconds

        def fetch(place: str) -> Weights:
            return fetch_weights(place, config.storage)

        if config.input.against is None:
            models = await load_models({"judge": (config.judge, limit)}, fetch)
        else:
            models = load_pair_judge(config.judge, limit, fetch)
        return EvaluateRunner(config, context, models)

    def check_row(self, store: Store, row: Mapping[str, Any]) -> RowCheck:
        """A judging that is ok has a score in [0, 1]; one that failed has none, and says why."""
        name, score = repr(row["record_id"]), row["score"]
        if row["status"] == Status.ok and (score is None or not 0 <= score <= 1):
            return RowCheck(problems=[f"{name}: status is ok, but its score is {score}"])
        if row["status"] == Status.failed and (score is not None or row["error_kind"] is None):
            return RowCheck(problems=[f"{name}: status is failed, but it has a score or no error_kind"])
        return RowCheck()
