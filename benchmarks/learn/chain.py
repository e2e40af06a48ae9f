"""The stages of a chain, each by a job of the package: what they are asked to do, and where results lie.

Each job goes on by itself where an earlier call stopped. All of it runs in this process, on the CPU, in
float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.learn.sizes import Size
from benchmarks.learn.ways import PAIRS, POOR, Way
from mira_batch import read_outputs, read_trajectories
from mira_batch.config.construct import ConstructConfig
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.config.grpo import GrpoConfig
from mira_batch.config.shared import StorageConfig
from mira_batch.config.train import SftConfig
from mira_batch.construct.run import construct
from mira_batch.launch import run
from mira_batch.report.write import Form, write_report
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.tasks import Split, generate_tasks

WORLD = "mira_batch.train.world"
SHORT = {"form": "short"}
_MISTAKES = 0.2
"""How often the expert of the demonstrations names a wrong edit, to put it right. They are carried out by the
editor that loses more, too: to look is learned from what went wrong."""
_HELD_OUT = 8
"""Images of demonstrations that are held out for validation at least, about."""
_ANSWER = 96
"""Longest answer, in tokens; the longest right ones have some 70."""
_BRANCH = pa.struct(
    [("work_id", pa.string()), ("steps", pa.int32()), ("edits", pa.list_(pa.string())), ("stop", pa.bool_())]
)
_TEST_SEED = 1
"""The tasks that are reported on are the same for every seed. Those of seed 0 have shown what a chain lacked,
and are no longer held out."""


@dataclass(frozen=True)
class Chain:
    """One seed's."""

    folder: Path
    """Absolute."""
    size: Size
    seed: int
    note: Callable[[str], None]

    def pretrain(self) -> dict[str, Any]:
        """The base model."""
        from mira_batch.train.world.pretrain import pretrain_base

        found = pretrain_base(self.folder / "base", self.seed, steps=self.size.pretrain_steps, note=self.note)
        captions = found.captions
        return {
            "steps": found.steps,
            "loss": found.loss,
            "objects": captions.objects,
            "neighbours": captions.neighbours,
        }

    def write_tasks(self) -> dict[str, Any]:
        """Manifests: of demonstrations, of rollouts, for choosing, and for the table."""
        size = self.size
        wanted: tuple[tuple[str, Split, int, int], ...] = (
            ("demonstrations", "train", size.demonstrations, 3 * self.seed),
            ("plain", "train", size.plain_demonstrations, 3 * self.seed + 1),
            ("rollouts", "train", size.training_tasks, 3 * self.seed + 2),
            ("val", "val", size.validation_tasks, self.seed),
            ("test", "test", size.test_tasks, _TEST_SEED),
        )
        return {
            name: write_manifest(self.find_manifest(name), generate_tasks(split, count, seed))
            for name, split, count, seed in wanted
        }

    def demonstrate(self, name: str) -> dict[str, Any]:
        """What the expert shows on the tasks of that name, cut into samples."""
        lossy = name == "demonstrations"
        expert = _custom("make_expert", mistakes=_MISTAKES if lossy else 0.0)
        config = self._edit_job(f"shown/{name}", name, expert, POOR if lossy else 0.0, in_flight=128)
        summary = run(config)
        held_out = max(0.05, _HELD_OUT / summary.committed)
        made = construct(
            ConstructConfig.model_validate(
                {
                    "output": {"uri": str(self.folder / "samples" / name)},
                    "sources": [{"type": "runs", "uri": summary.run, "name": name, "licence": "CC0-1.0"}],
                    "split": {"val_fraction": held_out},
                }
            )
        )
        counts = made["samples"]["counts"]
        dropped = sum(count for key, count in counts.items() if key.startswith("dropped."))
        return {"records": summary.committed, "samples": counts["samples"], "dropped": dropped}

    def teach(self, name: str) -> dict[str, Any]:
        """The base model, by demonstrations: `sft`, by those in which edits are lost and made again; `plain`,
        by those in which none is."""
        from mira_batch.train.run import train

        size, lossy = self.size, name == "sft"
        steps = size.sft_steps if lossy else size.plain_steps
        given: dict[str, Any] = {
            "model": self.find_model(None),
            "data": {"uri": str(self.folder / "samples" / ("demonstrations" if lossy else "plain"))},
            "output": {"uri": str(self.folder / name)},
            "tuning": {"type": "full"},
            "optimizer": {"learning_rate": size.sft_rate, "beta2": 0.98},
            "max_steps": steps,
            "batch": size.batch,
            "validation": {"every": max(1, steps // 5), "samples": 256},
            "checkpoints": {"every": max(1, min(100, steps // 2))},
            "log_every": max(1, min(20, steps // 4)),
            "seed": self.seed,
            **_SHARED,
        }
        return train(SftConfig.model_validate(given), self.note)["figures"]

    def reinforce(self) -> dict[str, Any]:
        """GRPO, against the editor that loses more."""
        from mira_batch.train.grpo.run import train

        size = self.size
        config = GrpoConfig.model_validate(
            {
                "model": self.find_model("plain") | {"dtype": "float32"},
                "edit": {
                    "input": {"manifest": str(self.find_manifest("rollouts"))},
                    "editor": _custom("make_editor", failures=POOR),
                    "policy": {"max_tokens": _ANSWER, "max_batch": 64, "devices": ["cpu"]},
                    "limits": self._limits(),
                    "workers": {"records_in_flight": 128},
                },
                "rewards": {"judge": _custom("make_judge"), "malformed_penalty": 0.1},
                "output": {"uri": str(self.folder / "grpo")},
                "iterations": size.iterations,
                "records": size.records,
                "rollouts": size.rollouts,
                "epochs": 2,
                "minibatch": 64,
                "batch": 32,
                "loss": {"negative_weight": size.grpo_negative_weight},
                "optimizer": {"learning_rate": size.grpo_rate, "beta2": 0.98},
                "validation": {
                    "input": {"manifest": str(self.find_manifest("val"))},
                    "every": max(1, size.iterations // 3),
                },
                "seed": self.seed,
                **_SHARED,
            }
        )
        found = train(config, self.note)
        return {name: found[name] for name in ("iteration", "iterations") if name in found}

    def measure(self, way: Way) -> dict[str, Any]:
        """One way on the held-out tasks: the run, its evaluation, and its report."""
        if way.looks == "ahead":
            config = self._plan_ahead(way)
        else:
            config = self._edit_job(f"ways/{way.name}", "test", self._policy(way), way.failures, in_flight=64)
        summary = run(config)
        judged = run(
            EvaluateConfig.model_validate(
                {
                    "run_id": "run",
                    "input": {"manifest": summary.run},
                    "judge": _custom("make_judge"),
                    "output": {"uri": str(self.folder / "scores" / way.name)},
                    "backend": "inline",
                }
            )
        )
        write_report(config, summary, Form(most=24, anew=True, scores=(judged.run,)))
        return {"records": summary.committed}

    def _plan_ahead(self, way: Way) -> BulkEditConfig:
        """Have the policy name its edits where none is lost, and write them down: the job that carries them
        out, whatever comes of each."""
        imagined = self._edit_job(f"ways/{way.name}-ahead", "test", self._policy(way), 0.0, in_flight=64)
        planned = run(imagined).run
        edits: dict[str, list[str]] = {}
        for row in read_trajectories(planned, images=False).sort_by("index").to_pylist():
            edits.setdefault(row["record_id"], []).append(row["instruction"])
        works = read_outputs(planned, columns=["record_id", "work_id"]).to_pylist()
        branches = {
            row["record_id"]: {
                "work_id": row["work_id"],
                "steps": 0,
                "edits": edits.get(row["record_id"], []),
                "stop": True,
            }
            for row in works
        }
        tasks = pq.read_table(self.find_manifest("test"))
        column = pa.array([branches[name] for name in tasks["record_id"].to_pylist()], _BRANCH)
        pq.write_table(tasks.append_column("branch", column), self.find_manifest("planned"))
        config = self._edit_job(
            f"ways/{way.name}", "planned", {"type": "passthrough"}, way.failures, in_flight=64
        )
        return config.model_copy(update={"input": config.input.model_copy(update={"branches": planned})})

    def compare(self) -> dict[str, Any]:
        """Pages on which ways are held against each other, record by record."""
        from mira_batch.evaluate.compare import compare
        from mira_batch.evaluate.scores import read_scores
        from mira_batch.report.comparison import write_comparison

        storage, verdicts = StorageConfig(), {}
        for name, (a, b) in PAIRS.items():
            both = [read_scores(str(self.folder / "scores" / way / "run"), storage) for way in (a, b)]
            found = compare(both[0], both[1])
            write_comparison(f"{self.folder}/compared/{name}.html", found, both[0], both[1], (), storage)
            verdicts[name] = found.verdict
        return verdicts

    def find_model(self, stage: str | None) -> dict[str, Any]:
        """Weights, and the adapter, of the policy that a stage made; None: of the base."""
        folders = {None: "base", "sft": "sft/model", "plain": "plain/model", "grpo": "plain/model"}
        found: dict[str, Any] = {"weights": str(self.folder / folders[stage])}
        if stage == "grpo":
            found["adapter"] = str(self.folder / "grpo/adapter")
        return found

    def describe_policy(self, stage: str) -> dict[str, Any]:
        """The policy that a stage made, as an edit job takes it.

        Args:
            stage: as `find_model` takes it.
        """
        found = self.find_model(stage)
        return {
            "type": "qwen_vl",
            "weights": found["weights"],
            "adapter": {"weights": found["adapter"]} if "adapter" in found else None,
            "dtype": "float32",
            "devices": ["cpu"],
            "prompt": SHORT,
            "sampling": {"max_tokens": _ANSWER},
            "max_batch": 64,
        }

    def _policy(self, way: Way) -> dict[str, Any]:
        if way.policy == "expert":
            return _custom("make_expert")
        if way.policy == "none":
            return {"type": "passthrough"}
        policy = self.describe_policy(way.policy)
        if way.looks != "at blank":
            return policy
        return {
            "type": "custom",
            "factory": "benchmarks.learn.looks:make_blind",
            "options": {"policy": policy},
        }

    def _edit_job(
        self, place: str, tasks: str, policy: dict[str, Any], failures: float, in_flight: int
    ) -> BulkEditConfig:
        return BulkEditConfig.model_validate(
            {
                "run_id": "run",
                "seed": self.seed,
                "input": {"manifest": str(self.find_manifest(tasks))},
                "output": {"uri": str(self.folder / place), "fidelity": False, "format": "png"},
                "policy": policy,
                "editor": _custom("make_editor", failures=failures),
                "limits": self._limits(),
                "workers": {"records_in_flight": in_flight, "shard_size": 512},
                "backend": "inline",
            }
        )

    def _limits(self) -> dict[str, Any]:
        # A policy that tries again after two lost edits is right, where the editor loses a third of them.
        return {"max_steps": self.size.max_steps, "no_progress": None}

    def find_manifest(self, name: str) -> Path:
        """Where the tasks of that name are."""
        return self.folder / "tasks" / f"{name}.parquet"


_SHARED: dict[str, Any] = {
    "prompt": SHORT,
    "precision": "float32",
    "gradient_checkpointing": False,
    "backend": "inline",
}


def _custom(factory: str, **options: Any) -> dict[str, Any]:
    return {"type": "custom", "factory": f"{WORLD}:{factory}", "options": options}
