"""From a config to the run of its job: the one place that knows which jobs there are."""

from __future__ import annotations

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.config.inspect import InspectConfig
from mira_batch.config.shared import JobConfig
from mira_batch.core.receipts import Progress, RunSummary
from mira_batch.core.stop_request import StopRequest
from mira_batch.runtime import run as runner
from mira_batch.runtime.job import Job


def make_job(config: JobConfig) -> Job:
    """The job that a config is of. Where its policy's adapter is the one that is promoted at a place, it is
    looked up there."""
    match config:
        case BulkEditConfig():
            from mira_batch.edit.job import EditJob
            from mira_batch.edit.pin import pin_adapter

            return EditJob(pin_adapter(config))
        case EvaluateConfig():
            from mira_batch.evaluate.job import EvaluateJob

            return EvaluateJob(config)
        case InspectConfig():
            from mira_batch.inspect.job import InspectJob

            return InspectJob(config)
        case _:
            raise TypeError(f"no job has a config of type {type(config).__name__}")


def run(
    config: JobConfig,
    progress: Progress | None = None,
    stop: StopRequest | None = None,
    takeover: bool = False,
    profile: bool = False,
) -> RunSummary:
    """Run the job that `config` is of to its end, going on from wherever an earlier call stopped.

    Arguments, result and errors are those of `mira_batch.runtime.run.run`, which also takes a job of your
    own.
    """
    return runner.run(make_job(config), progress, stop, takeover, profile)
