"""Reads what a job reads, for a plan: on any worker, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from mira_batch.core.errors import JobError, job_boundary
from mira_batch.runtime.job import Configured, Job, ReadsPixels
from mira_batch.storage import schema
from mira_batch.storage.source import Source
from mira_batch.storage.stores import CONNECTIONS

PIXELS = pa.schema([("number", pa.int64()), ("pixels", pa.string())])
"""The digest of an image's pixels, by the number of its row; null where it can't be read."""
W = TypeVar("W", bound=Configured)
ReadPart = Callable[[W, Any], Iterator[pa.Table]]
"""Does a part of some work, on any worker: given the work, it reads a split of what a job reads, say."""
_WORK_ID = pc.MatchSubstringOptions("^[0-9a-f]{32}$")


def needs_backend(source: Source, splits: Sequence[Any]) -> bool:
    """Whether these splits are scanned on the job's backend, which must have started by then.

    What makes less than two splits is read here in less time than Ray takes to start its tasks.
    """
    return sum(split.size for split in splits) >= 2 * source.split_bytes


def scan_split(job: Job, split: Any) -> Iterator[pa.Table]:
    """`job.scan`, whose faults are named.

    Raises:
        ManifestError: the split can't be read to its end.
        JobError: the job raised something else, or gave a table of another schema or a work_id that is none.
    """
    fields = schema.scan_schema(job.plan_schema)
    where = f"job {job.config.job}: scan"
    with job_boundary(f"{where} of {split!r}"):
        for table in job.scan(split):
            if not table.schema.equals(fields):
                raise JobError(f"{where} gave a table of another schema than scan_schema(plan_schema)")
            works = table.filter(table["reason"].is_null())["work_id"]
            valid = pc.call_function("match_substring_regex", [works], _WORK_ID).to_pylist()
            if valid.count(True) < len(works):
                raise JobError(f"{where} gave a work_id that is not 32 hex digits; see core.identity.work_id")
            yield table


def digest_pixels(job: Job, part: pa.Table) -> Iterator[pa.Table]:
    """The pixel digests of the images of scanned rows (schema `PIXELS`). Runs on any worker.

    Args:
        job: the job; of one that can't tell there are none.
        part: the rows, with their numbers.
    """
    if isinstance(job, ReadsPixels):
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            pixels = list(pool.map(job.find_pixel_digest, part.to_pylist()))
        yield pa.table([part["number"], pixels], schema=PIXELS)
