"""The second half of a chain: an editor that draws learns to edit, by pairs and then by its own samples.

Each stage is a job of the package, as in `chain.py`. What a Kontext brings along before anybody teaches it is
made once, for all seeds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq

from benchmarks.learn.editor_ways import read_edits
from benchmarks.learn.edits import count_agreed, draw_pairs, make_task, read_requests, read_truth
from benchmarks.learn.sizes import EditorSize
from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.editor_nft import EditorNftConfig
from mira_batch.config.editor_sft import EditorSftConfig
from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.launch import run
from mira_batch.report.write import Form, write_report
from mira_batch.train.world.editor_model import WORDS
from mira_batch.train.world.judge_model import Verdict
from mira_batch.train.world.manifest import write_manifest
from mira_batch.train.world.scenes import CELL, SMALL
from mira_batch.train.world.tasks import Split

PIPELINE = "diffusers.FluxKontextPipeline"
TRUTH = {"type": "custom", "factory": "mira_batch.train.world:make_judge", "options": {"nearest": "small"}}
SAMPLED, MEASURED = 6, 12
"""Steps of denoising: of samples that are learned from, and of what is measured."""
_TEST_SEED = 1


@dataclass(frozen=True)
class Editors:
    """One seed's."""

    folder: Path
    """Absolute."""
    base: Path
    """Of what is the same for all seeds."""
    size: EditorSize
    seed: int
    note: Callable[[str], None]

    def pretrain(self) -> dict[str, Any]:
        """What a Kontext brings along, unless another seed has made it."""
        from mira_batch.train.world.editor_pretrain import pretrain_editor

        if self.base.exists():
            return {}
        found = pretrain_editor(
            self.base, steps=self.size.pretrain_steps, vae_steps=self.size.vae_steps, note=self.note
        )
        return {
            "steps": found.steps,
            "drawn": found.drawn,
            "loss": found.loss,
            "success": found.score.success,
        }

    def write_tasks(self) -> dict[str, Any]:
        """Manifests of atomic edits: pairs, rollouts, for choosing, and for the table."""
        size = self.size
        wanted: tuple[tuple[str, Split, int, int], ...] = (
            ("pairs", "train", size.pairs, 2 * self.seed),
            ("rollouts", "train", size.training_tasks, 2 * self.seed + 1),
            ("val", "val", size.validation_tasks, self.seed),
            ("test", "test", size.test_tasks, _TEST_SEED),
        )
        return {
            name: write_manifest(self._manifest(name), map(make_task, draw_pairs(split, count, seed)))
            for name, split, count, seed in wanted
        }

    def teach(self) -> dict[str, Any]:
        """By pairs, all weights of the transformer. They are results of the world's exact editor, which loses
        some: an editor that learns from them fails at random, as own samples can mend."""
        from mira_batch.train.editor.run import train

        size, lossy = self.size, {"type": "custom", "factory": "mira_batch.train.world:make_editor"}
        pairs = self._edit("pairs", "pairs", lossy | {"options": {"failures": size.lost}})
        config = EditorSftConfig.model_validate(
            {
                "editor": _describe(self.base),
                "data": {"manifest": pairs, "split": {"val_fraction": 0.05}},
                "output": {"uri": str(self.folder / "sft")},
                "tuning": {"type": "full"},
                "times": {"mean": 0.5},
                "optimizer": {"learning_rate": size.sft_rate, "beta2": 0.98},
                "max_steps": size.sft_steps,
                "batch": 32,
                "validation": {"every": max(1, size.sft_steps // 4)},
                "checkpoints": {"every": max(1, size.sft_steps // 4)},
                "log_every": max(1, size.sft_steps // 20),
                "seed": self.seed,
                **_SHARED,
            }
        )
        return train(config, self.note)["figures"]

    def improve(self, name: str, judge: dict[str, Any], filtered: bool = True) -> dict[str, Any]:
        """By its own samples.

        Args:
            name: of what comes of it.
            judge: whose score is the reward, as the evaluate job takes it.
            filtered: whether groups that are alike or solved are left out.
        """
        from mira_batch.train.nft.run import train

        size = self.size
        config = EditorNftConfig.model_validate(
            {
                "editor": _describe(self.folder / "sft" / "model"),
                "edit": {
                    "input": {"manifest": str(self._manifest("rollouts"))},
                    "sampler": {"steps": SAMPLED, "max_batch": 64, "devices": ["cpu"]},
                    "workers": {"records_in_flight": 128, "shard_size": 512},
                },
                "rewards": {"judge": judge},
                "filter": {} if filtered else {"least_spread": None, "solved_above": None},
                "loss": {"clip": size.nft_clip, "beta": size.nft_beta},
                "times": {"mean": 0.5},
                "output": {"uri": str(self.folder / name)},
                "iterations": size.iterations,
                "records": size.records,
                "rollouts": size.rollouts,
                "epochs": size.nft_epochs,
                "minibatch": 64,
                "batch": 64,
                "optimizer": {"learning_rate": size.nft_rate},
                "validation": {
                    "input": {"manifest": str(self._manifest("val"))},
                    "every": max(1, size.iterations // 4),
                    "steps": MEASURED,
                },
                "seed": self.seed,
                **_SHARED,
            }
        )
        found = train(config, self.note)
        return {key: found[key] for key in ("iteration", "iterations") if key in found}

    def teach_judge(self, base: Path) -> dict[str, Any]:
        """A model that looks learns to judge, by what the truth says of samples of the taught editor.

        Args:
            base: the model that it begins with, of the policy's half.
        """
        from mira_batch.train.world.judge_model import PROMPT, draw_verdicts, teach_judge

        size, prompts = self.size, self.folder / "score_logit.py"
        prompts.write_text(PROMPT)
        sampled = self.find_editor("sft") | {"steps": SAMPLED}
        run_of = self._edit("judged/train", "rollouts", sampled, size.verdicts)
        truth = read_truth(run_of, self._judge("judged/train-truth", run_of, TRUTH))
        requests = read_requests(run_of, self._manifest("rollouts"))
        verdicts = [Verdict(requests[name], score) for name, score in truth.items()]
        drawn = draw_pairs("train", len(verdicts), 2 * self.seed + 2)
        verdicts += draw_verdicts(drawn, self.seed)
        place, told = self.folder / "judge", self.folder / "judge.json"
        if not told.exists():  # one that an earlier call has taught is measured as it is
            shutil.rmtree(place, ignore_errors=True)
            loss = teach_judge(
                place, base, prompts, verdicts, self.seed, steps=size.judge_steps, note=self.note
            )
            told.write_text(json.dumps({"loss": loss}))
        run_of = self._edit("judged/test", "test", sampled, 4)
        truth = read_truth(run_of, self._judge("judged/test-truth", run_of, TRUTH))
        said = read_truth(run_of, self._judge("judged/test-said", run_of, self.find_judge()))
        pairs, agreed = count_agreed(truth, said)
        return {
            "verdicts": len(verdicts),
            "right": fmean(verdict.score for verdict in verdicts),
            **json.loads(told.read_text()),
            "pairs": pairs,
            "agreement": agreed / pairs if pairs else None,
        }

    def find_judge(self) -> dict[str, Any]:
        """The judge that was taught."""
        from mira_batch.train.world.judge_model import describe_judge

        return describe_judge(self.folder / "judge", self.folder / "score_logit.py")

    def measure(self, name: str) -> dict[str, Any]:
        """An editor on held-out scenes, one edit each: the run, its evaluation by the truth, its report.

        Args:
            name: of the editor, as `find_editor` takes it.
        """
        editor = self.find_editor(name)
        return self._measure(name, self._edit_job(f"ways/{name}", self._manifest("test"), _ONCE, editor))

    def loop(self, name: str, editor: str, policy: dict[str, Any], tasks: Path) -> dict[str, Any]:
        """The same of a policy and an editor together, on instructions of several clauses.

        Args:
            name: of both.
            editor: as `find_editor` takes it.
            policy: as an edit job takes it.
            tasks: the manifest.
        """
        return self._measure(
            name, self._edit_job(f"ways/{name}", tasks, policy, self.find_editor(editor), limits=_LOOP)
        )

    def _measure(self, name: str, config: BulkEditConfig) -> dict[str, Any]:
        summary = run(config)
        judged = self._judge(f"scores/{name}", summary.run, TRUTH)
        write_report(config, summary, Form(most=24, anew=True, scores=(judged,)))
        found = read_edits(summary.run, judged, pq.read_metadata(config.input.manifest).num_rows)
        return {"tasks": len(found["solved"]), "success": fmean(found["solved"].values())}

    def _edit(self, place: str, tasks: str, editor: dict[str, Any], rollouts: int = 1) -> str:
        """A run of single edits: its directory."""
        return run(self._edit_job(place, self._manifest(tasks), _ONCE, editor, rollouts=rollouts)).run

    def _edit_job(
        self, place: str, tasks: Path, policy: dict[str, Any], editor: dict[str, Any], **more: Any
    ) -> BulkEditConfig:
        return BulkEditConfig.model_validate(
            {
                "run_id": "run",
                "seed": self.seed,
                "input": {"manifest": str(tasks)},
                "output": {"uri": str(self.folder / place), "format": "png", "fidelity": False},
                "policy": policy,
                "editor": editor,
                "workers": {"records_in_flight": 128, "shard_size": 512},
                "backend": "inline",
                **more,
            }
        )

    def _judge(self, place: str, run_of: str, judge: dict[str, Any]) -> str:
        """An evaluation of a run: its directory."""
        return run(
            EvaluateConfig.model_validate(
                {
                    "run_id": "run",
                    "input": {"manifest": run_of},
                    "judge": judge,
                    "output": {"uri": str(self.folder / place)},
                    "backend": "inline",
                }
            )
        ).run

    def find_editor(self, name: str) -> dict[str, Any]:
        """The editor of a stage, as an edit job takes it: `base`, `sft`, or the name of an improvement."""
        found = _describe(self.base if name == "base" else self.folder / "sft" / "model")
        options = {"max_sequence_length": found.pop("max_sequence_length")}
        loras = [] if name in ("base", "sft") else [{"weights": str(self.folder / name / "lora")}]
        return {
            "type": "diffusers",
            **found,
            "steps": MEASURED,
            "options": options,
            "devices": ["cpu"],
            "max_batch": 64,
            "loras": loras,
        }

    def _manifest(self, name: str) -> Path:
        return self.folder / "tasks" / f"{name}.parquet"


def _describe(weights: Path) -> dict[str, Any]:
    return {
        "pipeline": PIPELINE,
        "weights": str(weights),
        "dtype": "float32",
        "area": (SMALL.size * CELL) ** 2,
        "max_sequence_length": WORDS,
    }


_ONCE = {"type": "passthrough"}
_LOOP: dict[str, Any] = {"max_steps": 8, "no_progress": None}
_SHARED: dict[str, Any] = {"precision": "float32", "gradient_checkpointing": False, "backend": "inline"}
