"""What the configs of trainings by iterations of batch jobs share: runs, judges, and who learns."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mira_batch.config.base import Strict
from mira_batch.config.edit import InputConfig, LimitsConfig
from mira_batch.config.evaluate import ControlsConfig, EvaluateConfig
from mira_batch.config.models import JudgeConfig
from mira_batch.config.prices import PricesConfig
from mira_batch.config.shared import StorageConfig, WorkersConfig
from mira_batch.config.train import TrainOutput, TrainWorkersConfig
from mira_batch.core.identity import content_hash


class RunsConfig(Strict):
    """The edit job of an iteration."""

    input: InputConfig
    """The manifest of the records to train on."""
    limits: LimitsConfig = LimitsConfig()
    """What bounds each rollout and each run. What is of a whole run (`deadline`, `max_cost`,
    `max_failed_fraction`) is of each run that makes rollouts, by itself: a deadline of 8h begins anew with
    each. Evaluations and updates have none, and the training has `iterations`."""
    workers: WorkersConfig = WorkersConfig()
    """The actor pool."""
    prices: PricesConfig = PricesConfig()
    """What the machine costs."""


class JudgedConfig(Strict):
    """What something is worth."""

    judge: JudgeConfig | None = None
    """Who scores results, by the evaluate job."""
    max_left_out: float = Field(default=0.5, ge=0, le=1)
    """The training stops when a larger share of an iteration's rollouts has no reward, or of a validation's
    records no score, since the judge, the editor or a worker failed."""


class SentinelConfig(Strict):
    """A second judge that is not learned from. It scores the same results."""

    judge: JudgeConfig
    """Who that is: another model than that of the reward."""
    patience: int = Field(default=3, ge=1)
    """The training stops when over so many iterations in a row the training judge's score rose each time and
    the sentinel's fell."""


class HeldOutConfig(Strict):
    """Runs on held-out records: before the first iteration, after every so many, and after the last. The
    adapter with the best score is what the training gives."""

    input: InputConfig
    """The manifest of the held-out records."""
    every: int = Field(default=10, ge=1)
    """Iterations between runs."""
    patience: int | None = Field(default=None, ge=1, exclude_if=lambda number: number is None)
    """The training stops when so many runs in a row scored less than the best before them. None: it makes
    all its iterations."""


class IterationsConfig(Strict):
    """What all trainings by iterations share."""

    edit: RunsConfig
    """How what is learned from is made."""
    rewards: JudgedConfig
    """What it is worth."""
    output: TrainOutput
    """Where it goes."""
    iterations: int = Field(default=100, ge=1, le=100_000)
    """How many: each is a run, rewards and an update. Until all are done it may be changed."""
    records: int = Field(default=64, ge=1)
    """Records of an iteration, drawn anew until all have had their turn."""
    rollouts: int = Field(default=8, ge=2, le=1024)
    """What a group is: so many tries at the same question."""
    sentinel: SentinelConfig | None = None
    """A second judge that watches the first."""
    validation: HeldOutConfig | None = None
    """Runs on held-out records."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the order of records and of what is learned from, of new weights, and of an editor's noise."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Number format of the update's arithmetic. float32 on a CPU gives the same bytes after any
    interruption."""
    gradient_checkpointing: bool = True
    """Compute activations a second time rather than keep them."""
    workers: TrainWorkersConfig = TrainWorkersConfig()
    """Who updates."""
    backend: Literal["ray", "inline"] = "ray"
    """Of all phases. ray: on this machine or a cluster; inline: in this process."""
    storage: StorageConfig = StorageConfig()
    """How object stores are reached."""

    @model_validator(mode="after")
    def _runs_in_order(self) -> Self:
        if self.edit.input.branches is not None:
            raise ValueError("edit.input.branches: a training begins from the images; unset it")
        if self.validation is not None and self.validation.input.branches is not None:
            raise ValueError("validation.input.branches: a validation begins from the images; unset it")
        if self.validation is not None and self.validation.input.manifest == self.edit.input.manifest:
            raise ValueError(
                "validation.input.manifest: is what is trained on; give records that are held out"
            )
        if self.backend == "inline" and self.workers.num > 1:
            raise ValueError("workers.num: inline is one worker; take backend: ray for more")
        if self.sentinel is not None and self.sentinel.judge == self.rewards.judge:
            raise ValueError("sentinel.judge: is that of the reward; a second one is wanted")
        return self

    def judges(self) -> list[JudgeConfig]:
        """All that the evaluate job asks."""
        found = [self.rewards.judge, self.sentinel.judge if self.sentinel else None]
        return [judge for judge in found if judge is not None]

    def judge_job(self, judge: JudgeConfig, run: str, output: str, canaries: int = 0) -> EvaluateConfig:
        """The evaluation of a run.

        Args:
            judge: who is asked.
            run: directory of the run.
            output: directory of the evaluation's directory, `run`.
            canaries: results for which images are shown that must not do.
        """
        return EvaluateConfig.model_validate(
            {
                "run_id": "run",
                "input": {"manifest": run},
                "judge": judge,
                "output": {"uri": output},
                "controls": ControlsConfig(repeats=0, canaries=canaries),
                "limits": {"judge_seconds": self.edit.limits.seconds_of("judge_seconds")},
                **self.share_settings(),
            }
        )

    def identify_validation(self) -> str:
        """A digest of what validations are of and who judges them: only scores that share it can be held
        against each other."""
        assert self.validation is not None
        validation = self.validation.model_dump(mode="json", exclude={"every", "patience"})
        judges = [judge.pixels() for judge in self.judges()]
        return content_hash(json.dumps([validation, judges, self.seed], sort_keys=True))

    def identify_input(self) -> dict[str, Any]:
        """How the rows of the manifest are read, as far as that decides which records they are. Bounds of
        images don't: they may be raised for those that failed by them."""
        return self.edit.input.model_dump(mode="json", include={"columns", "encoding"})

    def share_settings(self) -> dict[str, Any]:
        """What the jobs of an iteration have in common."""
        edit = self.edit
        return {
            "workers": edit.workers,
            "prices": edit.prices,
            "backend": self.backend,
            "storage": self.storage,
        }

    @abstractmethod
    def learning(self) -> dict[str, Any]:
        """Everything that decides what is learned, as plain JSON data."""

    @staticmethod
    def keep_decisive(learning: Mapping[str, Any]) -> dict[str, Any]:
        """The same without what is noted in it and decides nothing.

        Args:
            learning: of `learning`, now or as a training has noted it.
        """
        return dict(learning)
