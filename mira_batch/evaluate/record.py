"""One judging from its images to its row."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.config.shared import ManifestConfig
from mira_batch.core.errors import RecordError
from mira_batch.core.identity import frame_of
from mira_batch.core.ports import Judgement, JudgeRequest, Timed
from mira_batch.core.receipts import Tally
from mira_batch.core.types import ErrorKind, Failure, Frame, Status
from mira_batch.core.usage import Usage
from mira_batch.evaluate.controls import BLACK, ORIGINAL, make_black
from mira_batch.models.loader import ModelClients
from mira_batch.runtime.job import OnCall, PlanRow, RecordPostponed, RecordResult, RecordRunner, WorkerContext
from mira_batch.storage import schema
from mira_batch.storage.images import OWN_RESULTS
from mira_batch.storage.manifest import ManifestImages, OriginalReader, PlannedRecord
from mira_batch.storage.run.originals import open_originals
from mira_batch.storage.run.steplog import ShardLog, make_usage_row
from mira_batch.storage.stores import open_store

_JUDGE = "judge"


class EvaluateRunner(RecordRunner):
    """Judges many images at once: fetches both, and asks the judge."""

    def __init__(self, config: EvaluateConfig, context: WorkerContext, models: ModelClients) -> None:
        """
        Args:
            config: the job's.
            context: where it runs.
            models: the judge.
        """
        self._config = config
        self._context = context
        self._models = models
        self._results = self._open_images(OWN_RESULTS)
        self._pairs = self._open_images(config.input)
        self._runs: dict[str, tuple[OriginalReader, ManifestImages]] = {}

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

    def listen(self, on_call: OnCall) -> None:
        """Have each call told of."""
        self._models.listen(on_call)

    async def run(self, row: PlanRow, steps: ShardLog) -> RecordResult:
        """Judge one image. A judge that fails fails the judging, and gives no score."""
        record, about = PlannedRecord.from_row(row.columns), json.loads(row.columns["metadata"])
        if about.get("result_status") == Status.failed:
            failure = Failure(ErrorKind(about["error_kind"]), f"no result: {about['error_message']}")
            return self._end(record, about, None, failure, Usage())
        self._context.activity.move(record.record_id, "reading")
        started = time.perf_counter()
        retries = 0
        try:
            original, candidate, retries = await self._open(record, about)
        except RecordError as error:
            usage = Usage.of(io=time.perf_counter() - started, retries=retries + error.retries)
            return self._end(record, about, None, error.failure, usage)
        usage = Usage.of(io=time.perf_counter() - started, retries=retries)
        about |= {"source_digest": original.digest, "result_digest": candidate.digest}
        if self._context.stop.asked:
            raise RecordPostponed
        self._context.activity.move(record.record_id, "judging")
        asked = record.instruction
        metadata = json.loads(about["metadata"] or "{}")
        request = JudgeRequest(about["of"], asked, original, candidate, asked, metadata)
        try:
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
        opened = [self._results, self._pairs, *(images for _, images in self._runs.values())]
        for images in opened:
            await asyncio.to_thread(images.close)

    async def _open(self, record: PlannedRecord, about: Mapping[str, Any]) -> tuple[Frame, Frame, int]:
        """The original, the image that is judged, and how many faults were waited out.

        Raises:
            RecordError: one can't be had, or is another one now.
        """
        place: Any = about["source"]
        images = self._pairs
        if run := about.get("place"):
            reader, images = await self._open_run(run)
            place = reader.find(about["source"])
        original, retries = await images.fetch(place, partial(images.decode, about["source"]))
        if about.get("source_digest") not in (None, original.digest):
            raise RecordError(
                ErrorKind.image_unreadable,
                f"{about['source']}: is another image now than the one that was edited",
            )
        if about["judged"] == ORIGINAL:
            return original, original, retries
        if about["judged"] == BLACK:
            return original, await asyncio.to_thread(frame_of, make_black(original.size)), retries
        results = self._results if about.get("place") else self._pairs
        read = partial(results.decode, record.source)
        candidate, more = await results.fetch(record.image, read)
        return original, candidate, retries + more

    async def _open_run(self, run: str) -> tuple[OriginalReader, ManifestImages]:
        if run not in self._runs:
            store = open_store(run, self._config.storage, make=False)
            source, reader = await asyncio.to_thread(open_originals, store, self._config.storage)
            self._runs.setdefault(run, (reader, self._open_images(source)))
        return self._runs[run]

    def _open_images(self, source: ManifestConfig) -> ManifestImages:
        context = self._context
        return ManifestImages(source, self._config.storage, "", context.readers, context.stop)

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
            **dump_judgement(judgement),
        }
        errors = {str(failure.kind): 1} if failure else {}
        return RecordResult(row, Tally(records=1, ok=int(failure is None), errors=errors, usage=usage))


def dump_judgement(judgement: Judgement | None) -> dict[str, Any]:
    """The columns of a verdict; of none they are null."""
    if judgement is None:
        return dict.fromkeys(("score", "axes", "validity", "protocol", "reason", "raw"))
    return {
        "score": judgement.score,
        "axes": [
            {"name": name, "value": axis.value, "low": axis.low, "high": axis.high}
            for name, axis in judgement.axes.items()
        ],
        "validity": [{"name": name, "value": value} for name, value in judgement.validity.items()],
        "protocol": judgement.protocol or None,
        "reason": judgement.reason or None,
        "raw": list(judgement.raw),
    }
