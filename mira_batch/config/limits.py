"""What bounds each record of a bulk edit, and the whole run."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from mira_batch.config.shared import RunLimits
from mira_batch.core.pixels import MOST_PIXELS


class LimitsConfig(RunLimits):
    """What bounds each record and the whole run."""

    max_steps: int = Field(default=8, ge=1, le=1000)
    """Most edits of a record. After the last the policy is asked once more: says it STOP, the record is ok;
    wants it a further edit, the record ends `unfinished`, with `max_steps` as its reason."""
    new_steps: int | None = Field(default=None, ge=1, le=1000, exclude_if=lambda number: number is None)
    """With `input.branches`, in place of `max_steps`: most edits of a record after the state that it began
    from. After the last it ends `unfinished`, with `new_steps` as its reason; the policy is asked no more."""
    malformed_retries: int = Field(default=2, ge=0, le=10)
    """How often the policy is asked again after a malformed answer, before the record fails."""
    no_progress: int | None = Field(default=2, ge=1, le=1000, exclude_if=lambda number: number == 2)
    """A record ends `unfinished`, with `no_progress` as its reason, when so many edits in a row left the
    image as it was. 1 forgives no lost edit; None never ends a record for that."""
    policy_seconds: float = Field(default=300.0, gt=0)
    """Longest a call of the policy may take. After that it counts as hung: the worker process leaves, and the
    record that hangs when it runs alone fails with `step_timeout`. A call of an endpoint is cancelled
    instead, and made again if `timeout_seconds` is shorter than this."""
    edit_seconds: float = Field(default=900.0, gt=0)
    """Longest a call of the editor may take, a whole batch included."""
    judge_seconds: float | None = Field(default=None, gt=0)
    """Longest a call of the judge may take; None takes `policy_seconds`."""
    max_result_pixels: int = Field(default=MOST_PIXELS, ge=1, le=MOST_PIXELS)
    """An editor's image with more pixels fails its record, before it is looked at any further."""
    max_seconds_per_record: float | None = Field(default=None, gt=0)
    """No further step of a record is begun once its steps took so long, waiting for the models included; it
    then ends `unfinished`, with `time_limit` and the image it has; the policy is not asked whether that was
    all. None sets no limit."""

    OPERATIONAL: ClassVar[frozenset[str]] = RunLimits.OPERATIONAL | {
        "policy_seconds",
        "edit_seconds",
        "judge_seconds",
        "max_result_pixels",
    }

    @model_validator(mode="after")
    def _ends_before_the_last_step(self) -> LimitsConfig:
        idle = self.no_progress
        if idle is not None and idle > max(self.max_steps, 2):
            raise ValueError(
                f"no_progress is {idle}, and max_steps, which ends a record before, is {self.max_steps}; "
                "lower it, or set null, which never ends one for that"
            )
        return self

    @property
    def longest_call(self) -> float:
        """The largest limit of a model's calls, in seconds."""
        return max(map(self.seconds_of, ("policy_seconds", "edit_seconds", "judge_seconds")))

    def seconds_of(self, field: str) -> float:
        """The limit of a model's calls; `policy_seconds` where that field is None."""
        seconds = getattr(self, field)
        return self.policy_seconds if seconds is None else seconds
