"""One judging from its images to its row."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.pairs import PairRequest
from mira_batch.core.ports import Judgement, JudgeRequest, Timed
from mira_batch.core.receipts import Tally
from mira_batch.core.types import ErrorKind, Failure, Status
from mira_batch.core.usage import Usage
from mira_batch.evaluate.controls import REPEAT, SAME
from mira_batch.evaluate.images import Shown, ShownImages
from mira_batch.models.clients import ModelClients
from mira_batch.runtime.job import OnCall, PlanRow, RecordPostponed, RecordResult, RecordRunner, WorkerContext
from mira_batch.storage import schema
from mira_batch.storage.manifest import PlannedRecord
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.run.steprows import dump_judgement, make_usage_row

_JUDGE = "judge"
_EQUAL = Judgement(0.5, "both have the same pixels: the judge was not asked")


class EvaluateRunner(RecordRunner):
    """Judges many images at once: fetches both, and asks the judge."""

    def __init__(self, config: EvaluateConfig, context: WorkerContext, models: ModelClients) -> None:
        """
        Args:
            config: the job's.
            context: where it runs.
            models: the judge.
        """
        self._context = context
        self._models = models
        self._images = ShownImages(config, context.readers, context.stop)

    @property
    def identities(self) -> Mapping[str, str | None]:
        """Who judges."""
        return {_JUDGE: self._models.identities[_JUDGE]}

    @property
    def usage(self) -> Usage:
        """What all calls of the judge took."""
        return self._models.usage

    @property
    def out_of_memory(self) -> int:
        """How many of them ran out of memory."""
        return self._models.out_of_memory

    @property
    def requests_together(self) -> int:
        """The most requests that calls of all models take at the same time."""
        return self._models.requests_together

    def listen(self, on_call: OnCall) -> None:
        """Have each call told of."""
        self._models.listen(on_call)

    async def run(self, row: PlanRow, steps: ShardLog) -> RecordResult:
        """Judge one image, or which of two is better. A judge that fails fails the judging, and gives no
        score."""
        record, about = PlannedRecord.from_row(row.columns), json.loads(row.columns["metadata"])
        if about.get("error_kind"):
            failure = Failure(ErrorKind(about["error_kind"]), about["error_message"])
            return self._end(record, about, None, failure, Usage())
        self._context.activity.move(record.record_id, "reading")
        started = time.perf_counter()
        try:
            shown, retries = await self._images.open(record, about)
        except RecordError as error:
            usage = Usage.of(io=time.perf_counter() - started, retries=error.retries)
            return self._end(record, about, None, error.failure, usage)
        usage = Usage.of(io=time.perf_counter() - started, retries=retries)
        about |= {"source_digest": shown.original.digest, "result_digest": shown.candidate.digest}
        if shown.against is not None:
            about["against_digest"] = shown.against.digest
            if about["against_digest"] == about["result_digest"] and about["judged"] != SAME:
                return self._end(record, about, _EQUAL, None, usage)
        if self._context.stop.asked:
            raise RecordPostponed
        self._context.activity.move(record.record_id, "judging")
        try:
            request = _make_request(record, about, shown)
            answer: Timed[Judgement] = await self._models[_JUDGE].submit(request, (row.shard,))
        except RecordError as error:
            return self._end(record, about, None, error.failure, usage + Usage.paid(_JUDGE, error.cost))
        return self._end(record, about, answer.value, None, usage + answer.usage)

    async def fail(self, row: PlanRow, steps: ShardLog, failure: Failure) -> RecordResult:
        """The row of a judging that killed its worker."""
        about = json.loads(row.columns["metadata"])
        return self._end(PlannedRecord.from_row(row.columns), about, None, failure, Usage())

    async def close(self) -> None:
        """End the judge, and close the files of embedded images."""
        await self._models.close()
        await self._images.close()

    def _end(
        self,
        record: PlannedRecord,
        about: Mapping[str, Any],
        judgement: Judgement | None,
        failure: Failure | None,
        usage: Usage,
    ) -> RecordResult:
        row = {name: about.get(name) for name in schema.SCORES.names} | {
            "record_id": record.record_id,
            "work_id": record.work_id,
            "status": Status.failed if failure else Status.ok,
            "error_kind": failure.kind if failure else None,
            "error_message": failure.message if failure else None,
            "instruction": record.instruction,
            "models": dict(self.identities),
            **make_usage_row(usage),
            "score": None if judgement is None else judgement.score,
            **dump_judgement(judgement),
        }
        errors = {str(failure.kind): 1} if failure else {}
        return RecordResult(row, Tally(records=1, ok=int(failure is None), errors=errors, usage=usage))


def _make_request(
    record: PlannedRecord, about: Mapping[str, Any], shown: Shown
) -> JudgeRequest | PairRequest:
    asked = record.instruction
    # Drawn with the same seeds a judge would only say the same again.
    again = int(about["judged"] == REPEAT)
    if shown.against is not None:
        return PairRequest(about["of"], asked, shown.original, shown.against, shown.candidate, again)
    metadata = json.loads(about["metadata"] or "{}")
    return JudgeRequest(about["of"], asked, shown.original, shown.candidate, asked, metadata, again)
