"""What `mira-batch validate` does: everything that can be checked before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mira_batch.config.base import is_remote
from mira_batch.config.shared import JobConfig, SelectConfig
from mira_batch.core.errors import ConfigError, MiraError, job_boundary
from mira_batch.runtime.job import Job
from mira_batch.storage.catalogue.where import parse_where
from mira_batch.storage.stores import check_create_only, open_store


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    what: str
    ok: bool
    detail: str
    """What was found, or what is wrong and how to mend it."""


def validate(job: Job) -> Iterator[Finding]:
    """Check the job, the store and the workers; a check that fails doesn't stop the next."""
    select = job.config.select
    return run_checks(
        [
            *job.checks(),
            *([("select", lambda: _check_select(select))] if select is not None else []),
            ("output", lambda: _check_store(job.config)),
            ("workers", lambda: _describe_workers(job.config)),
        ]
    )


def run_checks(checks: Sequence[tuple[str, Callable[[], str]]]) -> Iterator[Finding]:
    """Each check's finding: what it returns, or what it raises."""
    for what, check in checks:
        try:
            with job_boundary("the check failed"):
                detail = check()
        except MiraError as error:
            yield Finding(what, False, str(error))
        else:
            yield Finding(what, True, detail)


def check_output(uri: str) -> None:
    """Refuse an output that can't be written, or that Ray would delete: below its temporary copy of a job's
    working directory.

    Raises:
        ConfigError: naming the path.
    """
    if "/working_dir_files/_ray_pkg_" in uri:
        raise ConfigError(
            f"output.uri: {uri} lies in the temporary copy of the working directory that Ray "
            "deletes after the job; give an absolute path that every node sees, or an object store"
        )
    if uri.startswith(("http://", "https://")):
        raise ConfigError(
            f"output.uri: {uri}: a web server takes no runs; give a path, or an object store such as s3://"
        )


def _check_select(select: SelectConfig) -> str:
    parse_where(select.where)
    return f"select.where: {select.where}"


def _check_store(config: JobConfig) -> str:
    check_output(config.output.uri)
    check_create_only(open_store(config.output.uri, config.storage))
    return f"{config.output.uri}: can be written; of sixteen racing creates exactly one won"


def _describe_workers(config: JobConfig) -> str:
    workers = config.workers
    local = not is_remote(config.output.uri)
    note = "; on several nodes all must see the output directory" if local and workers.most > 1 else ""
    return f"{workers.min} to {workers.most}, {workers.cpus:g} CPU and {workers.gpus:g} GPU each{note}"
