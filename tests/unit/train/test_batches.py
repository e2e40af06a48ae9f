"""Batches of samples of about one length: a step keeps its samples, and a worker those it was dealt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mira_batch.config.models.local import PromptConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.config.train import SftConfig
from mira_batch.train import batches
from mira_batch.train.batches import StepBatches
from mira_batch.train.encoding import SampleEncoder
from mira_batch.train.samples import SampleReader, find_samples
from tests.support.models.tiny import policy_of
from tests.support.runs.trainings import settings_of
from tests.support.samples import write_samples

BATCH, TURNS, WORKERS, STEPS = 2, 3, 2, 3


@pytest.fixture(scope="module")
def encoder(tiny_models: Path) -> SampleEncoder:
    policy = policy_of(tiny_models / "qwen2.5-vl")
    return SampleEncoder(policy.processor, policy.model, PromptConfig())


def test_a_step_has_its_samples_and_a_batch_those_of_one_length(
    encoder: SampleEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_samples(tmp_path / "data")
    workers = {"backend": "ray", "workers": {"num": WORKERS}}
    config = SftConfig.model_validate(
        settings_of(tmp_path, data, tmp_path / "out", batch=BATCH, accumulate=TURNS, **workers)
    )
    reader = SampleReader(find_samples(str(data), "train", StorageConfig()), StorageConfig(), window=8)
    order = np.random.default_rng(0).permutation(40)[: BATCH * TURNS * WORKERS * STEPS]

    def list_rows(places: Any) -> list[bytes]:
        """What tells rows apart, without their filling."""
        rows = (encoder.encode_sample(sample) for sample in reader.read([int(place) for place in places]))
        return [row["input_ids"].numpy().tobytes() for row in rows]

    for rank in range(WORKERS):
        monkeypatch.setattr(batches, "name_rank", lambda rank=rank: rank)
        made, filling = StepBatches(config, encoder, reader, order), 0
        for step in range(STEPS):
            dealt = [
                [
                    number
                    for number in range(len(order))
                    if number // BATCH == (step * TURNS + turn) * WORKERS + rank
                ]
                for turn in range(TURNS)
            ]
            found, longest = list[bytes](), list[int]()
            for numbers in dealt:  # as transformers deals them
                batch = made.collate([{"number": number} for number in numbers])
                kept = batch["attention_mask"].bool()
                found += [
                    ids[mask].numpy().tobytes() for ids, mask in zip(batch["input_ids"], kept, strict=True)
                ]
                longest.append(batch["input_ids"].shape[1])
                filling += int((~kept).sum())
            assert sorted(found) == sorted(list_rows(order[sum(dealt, [])]))
            assert longest == sorted(longest, reverse=True)
        assert filling < sum(count_filling(encoder, reader, order, rank))


def count_filling(encoder: SampleEncoder, reader: SampleReader, order: np.ndarray, rank: int) -> list[int]:
    """Tokens of filling in each batch, were they as the order has them."""
    own = order.reshape(-1, WORKERS, BATCH)[:, rank]
    found = []
    for places in own:
        lengths = [
            encoder.encode_sample(sample)["input_ids"].shape[1] for sample in reader.read(places.tolist())
        ]
        found.append(max(lengths) * len(lengths) - sum(lengths))
    return found


def test_a_batch_of_another_worker_is_no_batch(encoder: SampleEncoder, tmp_path: Path) -> None:
    data = write_samples(tmp_path / "data")
    workers = {"backend": "ray", "workers": {"num": WORKERS}}
    config = SftConfig.model_validate(settings_of(tmp_path, data, tmp_path / "out", **workers))
    reader = SampleReader(find_samples(str(data), "train", StorageConfig()), StorageConfig(), window=8)
    with pytest.raises(AssertionError, match="worker 0 was dealt a batch of worker 1"):
        StepBatches(config, encoder, reader, np.arange(8)).collate([{"number": 2}])
