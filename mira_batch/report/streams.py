"""Standard output and standard error, as the command line writes to them.

Standard output is a command's answer and nothing else: what models and libraries print while it is at work
goes to standard error. A reader that goes away (`| head`) or a character that the terminal's encoding has not
is no reason to end a run; an answer that could not be written is an error.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from mira_batch.core.errors import UserError


class _Stream(io.TextIOWrapper):
    """A text file on a descriptor of its own, above those of the standard streams. What its encoding lacks is
    written as an escape."""

    def __init__(self, descriptor: int, encoding: str | None, closed: bool) -> None:
        """
        Args:
            descriptor: a standard one.
            encoding: of the terminal, if it is known.
            closed: it is closed before the process ends, and with it its descriptor.
        """
        _fill_closed()
        own = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
        file = io.BufferedWriter(io.FileIO(own, "w", closefd=closed))
        super().__init__(file, encoding=encoding or "utf-8", errors="backslashreplace", line_buffering=True)
        self._gone = False

    def write(self, text: str) -> int:
        with self._guard():
            if not self._gone:
                super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._guard():
            if not self._gone:
                super().flush()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._gone = True
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """It can't be written to any more."""


class Murmur(_Stream):
    """Standard error: progress and notes, which nobody need read."""

    def __init__(self) -> None:
        super().__init__(2, getattr(sys.stderr, "encoding", None), closed=False)


class Answer(_Stream):
    """Standard output: the answer of a command."""

    used = False
    """Whether anything was written."""

    def __init__(self) -> None:
        super().__init__(1, getattr(sys.stdout, "encoding", None), closed=True)

    def write(self, text: str) -> int:
        self.used = True
        return super().write(text)

    def _lose(self, error: OSError) -> None:
        if error.errno != errno.EPIPE:  # a reader that has seen enough
            raise UserError(
                f"standard output can't be written to: {error.strerror}; what the command did is kept"
            ) from error


def open_answer() -> Answer:
    """Make standard output an `Answer`, also for what is printed before a command's work (help, usage)."""
    sys.stdout = answer = Answer()
    return answer


def divert_prints(murmur: TextIO) -> None:
    """Send what is printed to standard output from now on, by Python code or past it, to standard error.

    An `Answer` opened before stays what it is.

    Args:
        murmur: standard error; what models write to it fails no record, whoever reads it.
    """
    os.dup2(2, 1)
    sys.stdout = sys.stderr = murmur


@contextmanager
def keep_streams() -> Iterator[None]:
    """Undo the above at the end, for a caller that goes on in this process."""
    _fill_closed()
    earlier, kept = (sys.stdout, sys.stderr), os.dup(1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        sys.stdout, sys.stderr = earlier


def _fill_closed() -> None:
    """Open what of the standard descriptors was closed before this process began (`>&-`), to nowhere: another
    file would get its number, and whatever is printed."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one


def is_terminal(descriptor: int) -> bool:
    """Whether a descriptor is a terminal; a closed one is none."""
    with suppress(OSError):
        return os.isatty(descriptor)
    return False
