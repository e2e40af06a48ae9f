"""Every error of the package, and the one place where foreign ones are classified.

    MiraError
    ├── UserError            the user can fix it; the CLI prints it plainly and exits with 2
    │   ├── ConfigError      a config field is wrong
    │   ├── ManifestError    the manifest can't be read at all, or lacks a column
    │   ├── DataSetError     a published data set is not laid out as its owners lay it out
    │   ├── StoreError       the object store refused: credentials, bucket, permission
    │   ├── EndpointError    a served model can't be reached, or refuses every call
    │   └── RunConflict      the run is another configuration's, or another driver runs it
    ├── RunStopped           the run ended early and in order; it can be resumed
    ├── ClusterLost          Ray died under the run; it can be resumed
    ├── JobError             a job's own code is wrong; the message names the job and the record
    ├── RecordError          this record fails and becomes a row; its neighbours go on
    └── EngineDead           the process can't go on (sticky GPU error); it must leave

A bad record is data; a dead engine raises. Model and image code may raise what it likes: it is turned
into one of the above once, at a `boundary()`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mira_batch.core.text import MOST_MESSAGE, clean_text, hide_passwords
from mira_batch.core.types import ErrorKind, Failure, RunEnd

if TYPE_CHECKING:
    from mira_batch.core.receipts import RunSummary

_log = logging.getLogger(__name__)


class MiraError(Exception):
    """Base of all errors raised on purpose."""


class UserError(MiraError):
    """Something the user can put right. The message names the place and the fix."""


class ConfigError(UserError):
    """A configuration field is missing, unknown or out of range."""


class ManifestError(UserError):
    """The manifest as a whole can't be used."""


class DataSetError(UserError):
    """A data set is not as its owners publish it. The message names the place and the fix."""


class StoreError(UserError):
    """The object store can't be used as configured."""


class EndpointError(UserError):
    """A served model can't be reached, or refuses every call: key, quota, name of the model."""


class RunConflict(UserError):
    """A run directory was made by a different configuration, or another driver is at work on it."""


class RunStopped(MiraError):
    """The run ended early and in order. What was done is kept, and the same command goes on."""

    def __init__(self, end: RunEnd, message: str, summary: RunSummary) -> None:
        super().__init__(message)
        self.end = end
        self.summary = summary


class ClusterLost(MiraError):
    """A process of Ray's that nothing goes on without died under the run. What was done is kept, and the same
    command goes on. This process must end: Ray would soon end it, without a word."""


class JobError(MiraError):
    """A job's own code raised or returned what it must not. The run ends, and can be resumed when the job is
    mended."""


class RecordError(MiraError):
    """One record fails; the message goes into its row, without the passwords of URLs that it quotes.

    `cost` are US dollars that an endpoint charged for what failed.
    """

    def __init__(self, kind: ErrorKind, message: str, cost: float = 0.0) -> None:
        super().__init__(hide_passwords(message))
        self.kind = kind
        self.cost = cost
        self.retries = 0
        """Passing faults that were waited out before it failed."""

    @property
    def failure(self) -> Failure:
        """The same as it stands in the record's row."""
        return Failure(self.kind, clean_text(str(self), MOST_MESSAGE))

    def __reduce__(self) -> tuple[type, tuple[ErrorKind, str, float]]:
        return type(self), (self.kind, str(self), self.cost)


class EngineDead(MiraError):
    """The model's process is unusable: a sticky CUDA error, or a call that hangs.

    `kind` is set where the record that was running is to blame; `suspicion` where it would be, had the
    process been a fresh one.
    """

    def __init__(
        self, message: str, kind: ErrorKind | None = None, *, suspicion: ErrorKind | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.suspicion = suspicion


@contextmanager
def boundary(kind: ErrorKind) -> Iterator[None]:
    """Classify whatever foreign code raises inside as a `RecordError` of this kind.

    Errors of our own and cancellation pass through unchanged. Running out of memory is the process's fault:
    it becomes `EngineDead`.
    """
    try:
        yield
    except BaseException as error:
        _pass_ours(error)
        raise RecordError(kind, describe(error)) from error


@contextmanager
def job_boundary(where: str) -> Iterator[None]:
    """Classify whatever a job's own code raises inside as a `JobError`; the traceback goes to the log.

    Errors of our own, cancellation and running out of memory are as in `boundary`.

    Args:
        where: which job, and what it was at: the beginning of the message.
    """
    try:
        yield
    except BaseException as error:
        _pass_ours(error)
        _log.exception("%s", where)
        raise JobError(f"{where}: {describe(error)}") from error


def _pass_ours(error: BaseException) -> None:
    """Raise what a boundary lets through. SystemExit is not among it: it would end the thread that it was
    raised in, and leave all that wait for it waiting."""
    from asyncio import CancelledError  # a tenth of the time in which `mira-batch --help` starts

    if isinstance(error, MiraError | CancelledError | GeneratorExit) or is_interrupt(error):
        raise error
    if isinstance(error, MemoryError):
        raise EngineDead(f"memory ran out in this process: {describe(error)}") from error


def is_interrupt(error: BaseException) -> bool:
    """Whether an error is the user's Ctrl-C, which Python raises in the main thread alone. One that foreign
    code raises by itself in another is a fault like any other."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def describe(error: BaseException) -> str:
    """'ValueError: text', cleaned and bounded; the name alone where there is no text, or none to be had."""
    name = type(error).__name__
    text = read_message(error)
    if text is None:
        return clean_text(f"{name} (its text can't be had: its __str__ raises)", MOST_MESSAGE)
    return clean_text(f"{name}: {text}" if text else name, MOST_MESSAGE)


def read_message(error: BaseException) -> str | None:
    """The text of an error, as it is; None where its `__str__`, which is foreign code as well, raises.

    Args:
        error: of any origin.
    """
    try:
        return str(error).strip()
    except BaseException as raised:
        if is_interrupt(raised):
            raise
        return None
