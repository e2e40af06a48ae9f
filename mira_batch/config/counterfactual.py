"""The configuration of counterfactual: which step of a trajectory ruined it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mira_batch.config.base import Location, Strict
from mira_batch.config.edit import BulkEditConfig, InputConfig
from mira_batch.config.evaluate import ControlsConfig, EvaluateConfig
from mira_batch.config.models import JudgeConfig
from mira_batch.config.prices import PricesConfig
from mira_batch.config.shared import RunLimits, StorageConfig, WorkersConfig

COUNTERFACTUAL_VERSION = 1
"""Raised when this package's code would try something else of the same trajectories."""


class CounterfactualOutput(Strict):
    """Where it all goes."""

    uri: Location
    """A directory of its own: the runs, their scores and `steps.parquet`."""


class CounterfactualConfig(Strict):
    """Go back to the states of a run's trajectories, leave steps out or let the policy name others, and have
    the ends judged: what each step was worth, and which one ruined it."""

    job: Literal["counterfactual"] = "counterfactual"
    """Which job it is."""
    run: Location
    """The directory of the run whose trajectories are looked at, with several rollouts of a record or one.
    Policy, editor, judge in the loop and limits of steps are as there. Its step images must have been kept
    without loss."""
    judge: JudgeConfig
    """Who scores the ends, by the evaluate job."""
    output: CounterfactualOutput
    """Where it all goes."""
    records: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Which: record ids, or of a run with several rollouts also `sku-1#rollout-2`. None draws `sample`."""
    sample: int = Field(default=100, ge=1)
    """So many trajectories, drawn by the digest of their names: the same ones each time. All, where there are
    fewer."""
    max_steps: int = Field(default=16, ge=1, le=1000)
    """Trajectories with more steps are left out, and counted."""
    continuations: int = Field(default=4, ge=3, le=1024)
    """How often the policy goes on from each state. Its mean score is the state's value. Fewer than 3 say
    nothing of how sure that is; each more makes small drops show."""
    drops: int = Field(default=1, ge=0, le=1024)
    """How often the trajectory is made again without a step, its other edits laid down. 0: never."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the intervals of advantages, for all steps of a trajectory together."""
    min_drop: float = Field(default=0.05, ge=0, le=1)
    """A step is said to have ruined a trajectory only where the value fell by at least this."""
    limits: RunLimits = RunLimits()
    """What bounds each of its runs as a whole."""
    judge_seconds: float = Field(default=300.0, gt=0)
    """Longest a call of `judge` may take."""
    workers: WorkersConfig = WorkersConfig()
    """The actor pool."""
    prices: PricesConfig = PricesConfig()
    """What the machine costs."""
    backend: Literal["ray", "inline"] = "ray"
    """ray: on this machine or a cluster; inline: in this process."""
    storage: StorageConfig = StorageConfig()
    """How object stores are reached."""

    @model_validator(mode="after")
    def _chooses_once(self) -> CounterfactualConfig:
        if self.records is not None and "sample" in self.model_fields_set:
            raise ValueError("sample: has no effect with records, which are all taken; leave one of them out")
        self.judge_job(self.output.uri, self.output.uri)
        return self

    @model_validator(mode="after")
    def _has_its_own_place(self) -> CounterfactualConfig:
        run, output = (f"{uri.rstrip('/')}/" for uri in (self.run, self.output.uri))
        if run.startswith(output) or output.startswith(run):
            raise ValueError(
                f"output.uri: {self.output.uri} and the run, {self.run}, lie in each other; name a directory "
                "of its own"
            )
        return self

    def edit_job(self, base: BulkEditConfig, source: InputConfig, output: str, number: int) -> BulkEditConfig:
        """A run from states of the trajectories.

        Args:
            base: config of the run that they are of.
            source: the states.
            output: directory of the run's directory, `run`.
            number: trajectories of each state.
        """
        bounds = {name: getattr(self.limits, name) for name in RunLimits.model_fields}
        return BulkEditConfig.model_validate(
            {
                "run_id": "run",
                "input": source,
                "output": {"uri": output, "fidelity": False, "format": "png", "step_images": "drop"},
                "policy": base.policy,
                "editor": base.editor,
                "judge": base.judge,
                "limits": base.limits.model_copy(update=bounds),
                "rollouts": number,
                **self._shared(),
            }
        )

    def judge_job(self, run: str, output: str) -> EvaluateConfig:
        """The evaluation of such a run.

        Args:
            run: its directory.
            output: directory of the evaluation's directory, `run`.
        """
        bounds = {name: getattr(self.limits, name) for name in RunLimits.model_fields}
        return EvaluateConfig.model_validate(
            {
                "run_id": "run",
                "input": {"manifest": run},
                "judge": self.judge,
                "output": {"uri": output},
                "controls": ControlsConfig(repeats=0, canaries=0),
                "limits": bounds | {"judge_seconds": self.judge_seconds},
                **self._shared(),
            }
        )

    def _shared(self) -> dict[str, Any]:
        names = ("workers", "prices", "backend", "storage")
        return {name: getattr(self, name) for name in names}

    def trying(self) -> dict[str, Any]:
        """Everything that decides what is tried and what comes of it, as plain JSON data."""
        names = ("records", "sample", "max_steps", "continuations", "drops", "confidence", "min_drop")
        return {
            "version": COUNTERFACTUAL_VERSION,
            "run": self.run.rstrip("/"),
            "judge": self.judge.pixels(),
            **self.model_dump(mode="json", include=set(names)),
        }
