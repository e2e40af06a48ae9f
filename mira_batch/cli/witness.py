"""A small process that has the last word where the driver can't, and ends what it left running.

That is when it is killed, or when Ray ends it: its core leaves at once, from C++, when its raylet or its
object store is gone. The raylet's own processes would stay for ever then.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
from contextlib import suppress

from mira_batch.core.processes import kill_marked, mark_descendants

_WORDS = (
    "error: this process ended without a word: it was killed (out of memory?), or {} ended it{}; "
    "what is done is kept, and the same command goes on\n"
)
_CLEARING = 10.0
"""Most seconds to spend on what was left running."""
_BY_RAY = _WORDS.format("Ray", " because its raylet or GCS died")
_BY_MODEL = _WORDS.format("a model", "")


class Witness:
    """Forked at the start, when there are no threads and little memory; ended by `dismiss`."""

    def __init__(self, stderr: int) -> None:
        """Begin to watch over this process.

        Args:
            stderr: descriptor on which to have the last word.
        """
        read, self._write = _open_pipe()  # this end stays open as long as this process lives
        self._mark = secrets.token_hex(8)
        mark_descendants(self._mark)
        # The child never hears a signal: a Ctrl-C goes to all processes of a terminal.
        hearing = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._pid = os.fork()
        if not self._pid:
            _wait_and_say(read, stderr, self._mark)
        signal.pthread_sigmask(signal.SIG_SETMASK, hearing)
        os.close(read)

    def tell_inline(self) -> None:
        """Models run in this process, and Ray doesn't."""
        with suppress(OSError):  # the witness may have been killed
            os.write(self._write, b"i")

    def dismiss(self) -> None:
        """There is nothing to say: this process ends in order."""
        with suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)

    def end_orphans(self) -> None:
        """Kill what this process started and is nobody's child any more, since those between have died."""
        kill_marked(self._mark, _CLEARING)


def _open_pipe() -> list[int]:
    """A pipe beside the standard streams, whose numbers are free where they were closed."""
    ends = os.pipe()
    own = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends]
    for end in ends:
        os.close(end)
    return own


def _wait_and_say(read: int, stderr: int, mark: str) -> None:
    """The witness's whole life: nothing comes through the pipe but a byte from `tell_inline`, and its end."""
    try:
        os.dup2(stderr, 2)
        os.dup2(read, 0)
        os.closerange(3, 256)
        os.close(1)  # who reads it must see its end
        words = _BY_RAY
        while os.read(0, 1):
            words = _BY_MODEL
        with suppress(OSError):  # whoever read it may be gone too
            os.write(2, words.encode())
        kill_marked(mark, _CLEARING)
    finally:
        os._exit(0)
