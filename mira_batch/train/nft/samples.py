"""What the runs of an iteration wrote down of its samples: rows, scores, and facts beside the instruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from mira_batch.config.shared import StorageConfig
from mira_batch.core.types import ErrorKind, Status
from mira_batch.inspect.facts import measure_sharpness
from mira_batch.storage import schema
from mira_batch.storage.images import OWN_RESULTS, decode
from mira_batch.storage.run.history import read_result_file, shard_in
from mira_batch.storage.run.results import result_files, tell_unfinished
from mira_batch.train.advantages import name_group
from mira_batch.train.grpo.rewards import Reward, Scored

_COLUMNS = ("record_id", "instruction", "status", "stop_reason", "error_kind", "num_steps", "source_digest",
            "rollout", "image", "fidelity")  # fmt: skip
_SKETCH = (32, 32)
"""Size that samples are held against each other at, in pixels."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A row of a run of single edits."""

    shard: int
    row: int
    """Its number in the shard's file."""
    record_id: str
    rollout: int
    group: str
    """The name of its image and instruction: see `advantages.name_group`."""
    fault: str | None
    """Why there is no edited image."""
    fidelity: Mapping[str, float | None]
    """Facts of the result against its source (docs/fidelity.md); empty where there are none."""
    sketch: NDArray[np.float32] | None
    """(32, 32, 3) the result in [0, 1]; None where there is none."""
    sharpness: float | None
    """Variance of the Laplacian of the result, as the inspect job measures it."""


def read_samples(run: str, storage: StorageConfig) -> list[Sample]:
    """All samples of a run, in the order of their rows.

    Args:
        run: its directory.
        storage: how it is reached.

    Raises:
        StoreError: a file is damaged.
    """
    fs, files = result_files(run, storage)
    wanted = [schema.RESULTS.field(name) for name in _COLUMNS]
    return [
        _make_sample(row, shard_in(file), number)
        for file in files
        for number, row in enumerate(read_result_file(fs, run, file, wanted, _read, storage).to_pylist())
    ]


def reward_sample(sample: Sample, scored: Scored | None) -> Reward:
    """The reward of a sample: the judge's score, or why it has none.

    Args:
        sample: of the run.
        scored: what the judge said of it; None: it has no row in the evaluation.
    """
    if sample.fault is not None:
        return Reward(None, None, sample.fault)
    if scored is None or scored.score is None:
        return Reward(None, None, (scored and scored.error_kind) or ErrorKind.judge_failed)
    return Reward(scored.score, scored.score, None)


def reward_samples(samples: Sequence[Sample], said: Mapping[tuple[str, int], Scored]) -> list[Reward]:
    """What a judge said of each sample that was edited: an image that no edit was made of counts for nothing.

    Args:
        samples: of a run.
        said: of them, by record and rollout.
    """
    return [reward_sample(each, said.get((each.record_id, each.rollout))) for each in samples]


def list_scores(samples: Sequence[Sample], said: Mapping[tuple[str, int], Scored]) -> list[float]:
    """The scores alone, of those that have one. Arguments as `reward_samples` takes them."""
    return [reward.value for reward in reward_samples(samples, said) if reward.value is not None]


def describe_rewards(rewards: Sequence[Reward]) -> dict[str, Any]:
    """Counts and means of an iteration's rewards. Samples are those with a reward and those left out.

    Args:
        rewards: of each sample.
    """
    values = [reward.value for reward in rewards if reward.value is not None]
    left_out: dict[str, int] = {}
    for reward in rewards:
        if reward.left_out is not None:
            left_out[str(reward.left_out)] = left_out.get(str(reward.left_out), 0) + 1
    return {
        "samples": len(rewards),
        "rewarded": len(values),
        "left_out": dict(sorted(left_out.items())),
        "score_mean": fmean(values) if values else None,
        "score_spread": pstdev(values) if values else None,
    }


def _read(parquet: pq.ParquetFile) -> pa.Table:
    return tell_unfinished(parquet.read(columns=list(_COLUMNS), use_threads=False))


def _make_sample(row: Mapping[str, Any], shard: int, number: int) -> Sample:
    fault = None
    if row["status"] == Status.failed:
        fault = row["error_kind"] or "unknown"
    elif not row["num_steps"]:
        fault = row["stop_reason"]  # a limit ended it before its edit
    data = None if fault else (row["image"] or {}).get("bytes")
    image = None if data is None else decode(data, row["record_id"], OWN_RESULTS)
    return Sample(
        shard,
        number,
        row["record_id"],
        row["rollout"] or 0,
        name_group(row["source_digest"] or "", row["instruction"]),
        fault,
        {} if fault else row["fidelity"] or {},
        None if image is None else _sketch(image),
        None if image is None else measure_sharpness(image.convert("L")),
    )


def _sketch(image: Image.Image) -> NDArray[np.float32]:
    small = image.convert("RGB").resize(_SKETCH, Image.Resampling.BOX)
    return (np.asarray(small, dtype=np.float32) / 255).astype(np.float32)
