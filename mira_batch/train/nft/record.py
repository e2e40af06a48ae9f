"""The files of a training by an editor's own samples. Each is created once; the last of a phase says that it
is whole.

<output>/nft.json                               what it learns from and how
         iterations/<k>/draw.json                places of the iteration's records, and where the next begins
                        records.*, columns.json  its manifest
                        samples/run/             the run of the edit job
                        scores/run/              the evaluation by the judge of the reward
                        sentinel/run/            that by the sentinel
                        rewards.parquet          a row for each sample: reward, optimality, or why it has none
                        solved.json              places of all records that are solved by now
                        rewards.json             counts: rewards are whole
                        encoded/, encoded.json   latents of samples that are learned from, until the update
                        trained/, sampling/      LoRA weights that learn, and those of the policy that samples
                        lora/, optimizer.pt      their moving average, which is what is given
                        update.json              figures: the update is whole
                        iteration.json           all figures: the iteration is done
         encoded/xx/                             source and prompt of each question, encoded
         validation/<n>/                         run and scores after n iterations, and validation.json
         metrics.jsonl                           the figures of all iterations and validations so far
         lora/, README.md, result.json           the best adapter, its card; all is there
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.train.grpo.rewards import Reward
from mira_batch.train.iterations import IterationFiles
from mira_batch.train.nft.samples import Sample

SETTINGS = "nft.json"
TRAINED, SAMPLING, LORA = "trained", "sampling", "lora"
"""Folders of adapters: the one that learns, the one that samples, and the moving average."""
WEIGHTS = "pytorch_lora_weights.safetensors"
REWARDS = pa.schema(
    [
        ("record_id", pa.string()),
        ("rollout", pa.int32()),
        ("shard", pa.int32()),  # where its row is in results/ of samples/run
        ("row", pa.int32()),
        ("group", pa.string()),  # digest of image and instruction
        ("reward", pa.float64()),  # null: it has none
        ("left_out", pa.string()),  # why it has none
        ("optimality", pa.float64()),  # null: it teaches nothing
    ]
)
"""A row of `rewards.parquet`."""


class Iteration(IterationFiles):
    """The files of an iteration."""

    @property
    def before(self) -> Iteration | None:
        """Those of the iteration before; None: this is the first."""
        return Iteration(self.store, self.number - 1) if self.number else None

    def locate_adapter(self, name: str, first: str | None) -> str | None:
        """Directory of an adapter that the iteration before has left.

        Args:
            name: of its folder.
            first: that of the first iteration; None: it has none.
        """
        return first if self.before is None else self.store.locate(f"{self.before.folder}/{name}")

    def read_solved(self) -> tuple[int, ...]:
        """Places of the records that are solved after this iteration."""
        return tuple(json.loads(self.read_bytes("solved.json")))

    def put_rewards(
        self,
        samples: Sequence[Sample],
        rewards: Sequence[Reward],
        optimality: Sequence[float | None],
        solved: Sequence[int],
    ) -> None:
        """Put `rewards.parquet` and `solved.json`; what a killed call left of them goes."""
        rows = [
            {
                "record_id": sample.record_id,
                "rollout": sample.rollout,
                "shard": sample.shard,
                "row": sample.row,
                "group": sample.group,
                "reward": reward.value,
                "left_out": reward.left_out,
                "optimality": value,
            }
            for sample, reward, value in zip(samples, rewards, optimality, strict=True)
        ]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, REWARDS), sink)
        self.put_anew("rewards.parquet", sink.getvalue())
        self.put_anew("solved.json", json.dumps(list(solved)).encode())

    def read_optimality(self) -> dict[tuple[int, int], float]:
        """The optimality of each sample that is learned from, by shard and row.

        Raises:
            StoreError: the rewards are gone.
        """
        data = self.read_bytes("rewards.parquet")
        rows = pq.read_table(io.BytesIO(data), columns=["shard", "row", "optimality"]).to_pylist()
        return {
            (row["shard"], row["row"]): row["optimality"] for row in rows if row["optimality"] is not None
        }

    def put_update(self, folder: Path, optimizer: bytes, figures: Mapping[str, Any]) -> None:
        """Put what an update made. What a killed one left goes first: nobody has used it.

        Args:
            folder: of this machine, with the adapters.
            optimizer: its state.
            figures: of `update.json`.
        """
        for name in (TRAINED, SAMPLING, LORA):
            self.put_anew(f"{name}/{WEIGHTS}", (folder / name / WEIGHTS).read_bytes())
        self.put_anew("optimizer.pt", optimizer)
        self.put("update", figures)

    def delete_encoded(self) -> None:
        """Delete the latents of samples, once the update is whole."""
        self.store.delete([entry.key for entry in self.store.list(f"{self.folder}/encoded")])
