"""Batches of a training by demonstrations: samples of about one length together, so that little is filling.

Samples change places with those of the same step and worker alone. So what a step learns from is what the
order says, and its gradient is the same sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mira_batch.config.train import SftConfig
from mira_batch.train.encoding import SampleEncoder
from mira_batch.train.samples import SampleReader
from mira_batch.train.workers import name_rank

if TYPE_CHECKING:
    from torch import Tensor


class StepBatches:
    """Makes the batches of this worker, in turn."""

    def __init__(
        self, config: SftConfig, encoder: SampleEncoder, reader: SampleReader, order: np.ndarray
    ) -> None:
        """
        Args:
            config: of the training.
            encoder: of its model.
            reader: of the samples.
            order: places of samples in the order in which they are learned from, in whole steps; (samples,).
        """
        self._encoder, self._reader = encoder, reader
        # (steps, turns, workers, batch): the trainer deals batches out to the workers one by one.
        self._order = order.reshape(-1, config.accumulate, config.workers.num, config.batch)
        self._step = -1
        self._rows: list[tuple[str, Mapping[str, Tensor]]] = []

    def collate(self, asked: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        """A batch in place of that which the order has there.

        Args:
            asked: the numbers of its samples in the order, as `number`.

        Raises:
            ConfigError: a sample can't be encoded or read.
        """
        step, turn, rank, _ = np.unravel_index(asked[0]["number"], self._order.shape)
        assert rank == name_rank(), f"worker {name_rank()} was dealt a batch of worker {rank}"
        if step != self._step:
            self._step, self._rows = int(step), self._encode(self._order[step, :, rank].ravel())
        size = self._order.shape[-1]
        names, rows = zip(*self._rows[turn * size : (turn + 1) * size], strict=True)
        return self._encoder.collate(rows, names)

    def _encode(self, places: np.ndarray) -> list[tuple[str, Mapping[str, Tensor]]]:
        """The samples of a step, the longest first: what doesn't fit shows itself at once."""
        samples = self._reader.read(places.tolist())
        rows = [(f"sample {sample['sample_id']}", self._encoder.encode_sample(sample)) for sample in samples]
        return sorted(rows, key=lambda row: -row[1]["input_ids"].shape[1])
