"""The files of a training by rollouts. Each is created once; the last of a phase says that it is whole.

<output>/grpo.json                              what it learns from and how
         iterations/<k>/records.*, columns.json  the iteration's manifest
                        rollouts/run/            the run of the edit job
                        states.*, proposals/run/  of credit step: states of these, and the run from them
                        scores/run/              the evaluation by the judge of the reward
                        sentinel/run/            that by the sentinel
                        rewards.parquet          a row for each rollout: reward, advantage, or why it has none
                        rewards.json             counts: rewards are whole
                        adapter/, optimizer.pt   what the update made
                        update.json              figures: the update is whole
                        iteration.json           all figures: the iteration is done
         validation/<n>/                         run and scores after n iterations, and validation.json
         metrics.jsonl                           the figures of all iterations and validations so far
         adapter/, README.md, result.json        the best adapter, its card; all is there
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mira_batch.config.grpo import GrpoConfig
from mira_batch.train.advantages import Advantages
from mira_batch.train.grpo.rewards import Reward, Rollout
from mira_batch.train.iterations import IterationFiles

SETTINGS = "grpo.json"
REWARDS = pa.schema(
    [
        ("record_id", pa.string()),
        ("rollout", pa.int32()),
        ("shard", pa.int32()),  # where its row is in results/ of rollouts/run, of credit step proposals/run
        ("row", pa.int32()),
        ("group", pa.string()),  # digest of its question: image and instruction
        ("status", pa.string()),
        ("edits", pa.int32()),
        ("answers", pa.int32()),
        ("malformed", pa.int32()),
        ("score", pa.float64()),  # of the judge of the reward; null where it judged no result
        ("reward", pa.float64()),  # null: it has none
        ("left_out", pa.string()),  # why it has none
        ("advantage", pa.float64()),  # null: it teaches nothing
    ]
)
"""A row of `rewards.parquet`."""


class Iteration(IterationFiles):
    """The files of an iteration."""

    def locate_learned(self, config: GrpoConfig) -> str:
        """Directory of the run whose rows are rewarded and learned from."""
        return self.locate_run("proposals" if config.credit == "step" else "rollouts")

    def find_policy(self, first: str | None) -> str | None:
        """The adapter that makes the rollouts: of the iteration before.

        Args:
            first: that of the first iteration; None: it has none.
        """
        if not self.number:
            return first
        return self.store.locate(f"{Iteration(self.store, self.number - 1).folder}/adapter")

    def put_rewards(
        self, rollouts: Sequence[Rollout], rewards: Sequence[Reward], advantages: Advantages
    ) -> None:
        """Put `rewards.parquet`; what a killed call left of it goes."""
        rows = [
            {
                "record_id": rollout.record_id,
                "rollout": rollout.rollout,
                "shard": rollout.shard,
                "row": rollout.row,
                "group": rollout.group,
                "status": rollout.status,
                "edits": rollout.edits,
                "answers": len(rollout.kinds),
                "malformed": rollout.kinds.count("malformed"),
                "score": reward.score,
                "reward": reward.value,
                "left_out": reward.left_out,
                "advantage": advantage,
            }
            for rollout, reward, advantage in zip(rollouts, rewards, advantages.values, strict=True)
        ]
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, REWARDS), sink)
        self.put_anew("rewards.parquet", sink.getvalue())

    def put_update(self, adapter: Path, optimizer: bytes, figures: Mapping[str, Any]) -> None:
        """Put what an update made. What a killed one left goes first: nobody has used it.

        Args:
            adapter: its directory on this machine.
            optimizer: its state.
            figures: of `update.json`.
        """
        left = [entry.key for entry in self.store.list(f"{self.folder}/adapter")]
        self.store.delete(left)
        for file in sorted(adapter.iterdir()):
            self.put_anew(f"adapter/{file.name}", file.read_bytes())
        self.put_anew("optimizer.pt", optimizer)
        self.put("update", figures)


def read_advantages(files: Iteration) -> dict[tuple[int, int], float]:
    """The advantage of each rollout that teaches something, by shard and row.

    Raises:
        StoreError: the rewards are gone.
    """
    data = files.read_bytes("rewards.parquet")
    rows = pq.read_table(io.BytesIO(data), columns=["shard", "row", "advantage"]).to_pylist()
    return {(row["shard"], row["row"]): row["advantage"] for row in rows if row["advantage"] is not None}
