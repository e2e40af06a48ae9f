"""The pairs that an editor is taught by: which there are, and their images.

They are found and read as the evaluate job finds and reads what it judges: results of a run, of all runs
of an output, or a manifest of pairs.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.core.errors import ConfigError, RecordError
from mira_batch.core.identity import content_hash
from mira_batch.core.stop_request import StopRequest
from mira_batch.core.types import Status
from mira_batch.evaluate.images import Shown, ShownImages
from mira_batch.evaluate.scan import scan
from mira_batch.evaluate.source import find_source
from mira_batch.storage.catalogue.decided import read_verdicts_of_runs
from mira_batch.storage.catalogue.standing import find_kind
from mira_batch.storage.manifest import PlannedRecord
from mira_batch.storage.run.decisions import APPROVE
from mira_batch.storage.stores import open_store

_READERS = 8
"""Images that are fetched at once."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An edit to learn from, without its images."""

    record: PlannedRecord
    """Its image is what should come of the edit."""
    about: Mapping[str, Any]
    """What its plan says of it: where the source image is, and which run made the result."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs, and what is none."""

    pairs: tuple[Pair, ...]
    left_out: Mapping[str, int]
    """Rows that are no pair, by reason."""
    digest: str
    """Of what the pairs are made of, in their order: tells this snapshot of data from others."""


def find_pairs(config: EditorSftConfig) -> Pairs:
    """The pairs that `data` names.

    Args:
        config: of the training.

    Raises:
        ConfigError: there are none, or a setting makes no sense for them.
        ManifestError, StoreError: they can't be read.
    """
    data = config.data
    results = find_kind(data.manifest, config.storage) is not None
    for name in ("where", "statuses", "approved_only"):
        if not results and name in data.model_fields_set and getattr(data, name) is not False:
            raise ConfigError(
                f"data.{name}: is for results of runs, and {data.manifest} is a manifest of pairs"
            )
    job = _write_job(config, results)
    rows = [
        row
        for split in find_source(job).split()
        for table in scan(split, job, "editor-sft")
        for row in table.to_pylist()
    ]
    left: Counter[str] = Counter()
    pairs: list[Pair] = []
    for row in rows:
        if row["reason"] is not None:
            left[f"{row['field']} {row['reason']}"] += 1
            continue
        about = json.loads(row["metadata"])
        if about.get("result_status") == Status.failed:
            left["the edit failed"] += 1
            continue
        pairs.append(Pair(PlannedRecord.from_row(row), about))
    if data.approved_only:
        approved = _choose_approved(pairs, config)
        left["not approved"] = len(pairs) - len(approved)
        pairs = approved
    if not pairs:
        reasons = "; ".join(f"{count:,}: {reason}" for reason, count in left.most_common(3))
        raise ConfigError(
            f"data.manifest: {data.manifest} has no pair to learn from ({reasons or 'no rows'})"
        )
    digest = content_hash(*(pair.record.work_id for pair in pairs))
    return Pairs(tuple(pairs), {name: count for name, count in left.items() if count}, digest)


class PairImages:
    """Opens the images of pairs, as a context."""

    def __init__(self, config: EditorSftConfig) -> None:
        """
        Args:
            config: of the training.
        """
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="pairs")
        self._images = ShownImages(_write_job(config, False), self._readers, StopRequest())
        self._loop = asyncio.Runner()

    def __enter__(self) -> PairImages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._images.close())
        self._loop.close()
        self._readers.shutdown()

    def open(self, pairs: Sequence[Pair]) -> list[Shown | RecordError]:
        """The images of some pairs, or why one's can't be had.

        Args:
            pairs: not too many, since all are in memory at once.

        Raises:
            StoreError: a store could not be reached, also after retries.
        """
        return self._loop.run(self._open(pairs))

    async def _open(self, pairs: Sequence[Pair]) -> list[Shown | RecordError]:
        async def open_one(pair: Pair) -> Shown | RecordError:
            try:
                shown, _ = await self._images.open(pair.record, pair.about)
            except RecordError as error:
                return error
            return shown

        return await asyncio.gather(*(open_one(pair) for pair in pairs))


def _choose_approved(pairs: Sequence[Pair], config: EditorSftConfig) -> list[Pair]:
    runs = sorted({pair.about["place"] for pair in pairs})
    verdicts = read_verdicts_of_runs(open_store(run, config.storage, make=False) for run in runs)
    return [
        pair for pair in pairs if verdicts.get((pair.about["of"], pair.about["result_digest"])) == APPROVE
    ]


def _write_job(config: EditorSftConfig, results: bool) -> EvaluateConfig:
    """An evaluation of the same pairs, which finds and opens them; its judge is never asked."""
    return EvaluateConfig.model_validate(
        {
            "input": config.data.take_apart(results),
            "judge": {"type": "rules"},
            "output": {"uri": config.output.uri},
            "controls": {"repeats": 0, "canaries": 0},
            "storage": config.storage,
        }
    )
