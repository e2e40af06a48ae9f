"""Inspect as a job of the runner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from mira_batch.config.inspect import InspectConfig
from mira_batch.config.shared import ManifestConfig
from mira_batch.core.errors import ManifestError, RecordError
from mira_batch.core.identity import fingerprint
from mira_batch.core.receipts import Tally
from mira_batch.core.types import Failure, Status
from mira_batch.core.usage import Usage
from mira_batch.inspect.facts import measure_pixels, read_header
from mira_batch.runtime.job import PlanRow, RecordResult, RecordRunner, WorkerContext
from mira_batch.storage import schema
from mira_batch.storage.manifest import (
    ManifestImages,
    PlannedRecord,
    find_manifest,
    make_manifest_checks,
    scan_split,
)
from mira_batch.storage.run.layout import RUN
from mira_batch.storage.run.steplog import ShardLog
from mira_batch.storage.run.verify import RowCheck
from mira_batch.storage.source import Source
from mira_batch.storage.stores import Store, file_exists, read_errors, shorten_error


class InspectJob:
    """Writes a row of facts of every image of a manifest, or of the results of a run."""

    plan_schema: pa.Schema = schema.PLAN
    result_schema: pa.Schema = schema.FACTS

    def __init__(self, config: InspectConfig) -> None:
        self.config = config
        self._fingerprint = fingerprint(config.facts())

    def fingerprint_fields(self) -> Mapping[str, Any]:
        """The version of the facts, and the bounds by which images are refused."""
        return self.config.facts()

    def settings(self) -> Mapping[str, Any]:
        """What is looked at, up to which size, and the facts."""
        return {
            "job": self.config.job,
            "input": self.config.input.model_dump(mode="json"),
            "facts": self.config.facts(),
        }

    def check(self) -> None:
        """Nothing can be wrong beforehand."""

    def checks(self) -> list[tuple[str, Callable[[], str]]]:
        """Manifest and images."""
        try:
            source = self._find_input()
        except ManifestError as error:
            return [("manifest", partial(_raise, error))]
        return make_manifest_checks(source, self.config.storage, self.config.output.uri)

    def find_source(self) -> Source:
        """The manifest; of a run its result files, which have a manifest's columns."""
        found = find_manifest(self._find_input(), self.config.storage, self.config.output.uri)
        return replace(found, location=self.config.input.manifest)

    def scan(self, split: Any) -> Iterator[pa.Table]:
        """Validated rows of a part of the manifest, with a work_id each."""
        return scan_split(split, self.config.input, self.config.storage, self._fingerprint)

    def _find_input(self) -> ManifestConfig:
        source = self.config.input
        try:
            is_run = file_exists(f"{source.manifest}/{RUN}", self.config.storage)
        except read_errors() as error:
            raise ManifestError(
                f"{source.manifest}: can't be looked at; check the path and the credentials "
                f"({shorten_error(error)})"
            ) from error
        return source.model_copy(update={"manifest": f"{source.manifest}/results"}) if is_run else source

    async def open(self, context: WorkerContext) -> InspectRunner:
        """There is no model to load."""
        config = self.config
        images = ManifestImages(
            config.input, config.storage, self._fingerprint, context.readers, context.stop
        )
        return InspectRunner(config, context, images)

    def check_row(self, store: Store, row: Mapping[str, Any]) -> RowCheck:
        """An image that could be decoded has all facts of its pixels, another one says why not."""
        lacks = [name for name in ("width", "pixel_digest", "sharpness") if row[name] is None]
        if row["status"] == Status.ok and lacks:
            return RowCheck(problems=[f"{row['record_id']!r}: status is ok, but {', '.join(lacks)} is null"])
        if row["status"] == Status.failed and row["error_kind"] is None:
            return RowCheck(problems=[f"{row['record_id']!r}: status is failed, but no error_kind says why"])
        return RowCheck()


class InspectRunner(RecordRunner):
    """Looks at one image at a time, in the worker's threads, for many at once."""

    def __init__(self, config: InspectConfig, context: WorkerContext, images: ManifestImages) -> None:
        self._config = config
        self._context = context
        self._images = images

    async def run(self, row: PlanRow, steps: ShardLog) -> RecordResult:
        """Fetch the image and write down its facts. One that can't be decoded keeps those of its file."""
        started = time.perf_counter()
        record = PlannedRecord.from_row(row.columns)
        self._context.activity.move(record.record_id, "reading")
        facts: dict[str, Any] = {}
        failure: Failure | None = None
        try:
            look = partial(self._look, facts, record.source)
            _, retries = await self._images.read(record, look)
        except RecordError as error:
            failure, retries = error.failure, error.retries
        return _end(record, facts, failure, Usage.of(io=time.perf_counter() - started, retries=retries))

    async def fail(self, row: PlanRow, steps: ShardLog, failure: Failure) -> RecordResult:
        """The row of an image that killed its worker."""
        return _end(PlannedRecord.from_row(row.columns), {}, failure, Usage())

    async def close(self) -> None:
        """Close the file of embedded images."""
        await asyncio.to_thread(self._images.close)

    def _look(self, facts: dict[str, Any], name: str, data: bytes) -> None:
        """Note the facts of an image; those of its file also where its pixels can't be had.

        Raises:
            RecordError: they can't.
        """
        facts.clear()
        facts |= read_header(data, self._config.input.max_pixels)
        facts |= measure_pixels(data, name, self._config.input)


def _raise(error: Exception) -> str:
    raise error


def _end(
    record: PlannedRecord, facts: Mapping[str, Any], failure: Failure | None, usage: Usage
) -> RecordResult:
    """The row of an image, and the same as counts."""
    row = {name: facts.get(name) for name in schema.FACTS.names} | {
        "record_id": record.record_id,
        "work_id": record.work_id,
        "status": Status.failed if failure else Status.ok,
        "error_kind": failure.kind if failure else None,
        "error_message": failure.message if failure else None,
        "source": record.source,
        "seconds": usage["io"],
    }
    errors = {str(failure.kind): 1} if failure else {}
    return RecordResult(row, Tally(records=1, ok=int(failure is None), errors=errors, usage=usage))
