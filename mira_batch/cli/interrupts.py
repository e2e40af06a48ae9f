"""What SIGINT (Ctrl-C), SIGTERM (a job stopped, a spot node reclaimed) and SIGHUP (its terminal is gone) do,
from first moment to last.

While nothing is begun, the process leaves at once. A run that has begun unwinds, or is asked to end in order
where it says so (`StopRequest.heeded`). A second signal always leaves at once. Each way says one line, leaves
no process behind and gives exit code 130.

Only small modules are imported here: what is imported before the handlers stand can't be interrupted well.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import _exit  # the inline backend keeps models from calling it by its name
from typing import TYPE_CHECKING, Any, NoReturn

from mira_batch.cli.witness import Witness
from mira_batch.core.processes import find_children, kill_with_descendants

if TYPE_CHECKING:
    from mira_batch.core.stop_request import StopRequest

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
_WORDS = "interrupted; nothing is lost. Run the same command again to go on."


class Interrupts:
    """The signals of this process, from `listen` on."""

    def __init__(self, program: bool) -> None:
        """Nothing is handled before `listen`.

        Args:
            program: this process runs the command and nothing else, so that its end is worth a word.
        """
        self._program = program
        self.heard = ""
        """Name of the first signal; empty while there was none."""
        self._stop: StopRequest | None = None
        self._code: int | None = None
        # Of its own: stderr is hushed for a moment while Ray starts, and stdout leads to it during a command.
        self._stdout, self._stderr = _open_again(1), _open_again(2)
        self.owes_json: Callable[[], bool] = lambda: program and "--json" in sys.argv
        """Whether standard output still waits for the JSON of an answer or of an error."""
        self._witness: Witness | None = None
        self._earlier: dict[int, Any] = {}

    def listen(self) -> None:
        """From now on signals are handled here, if this is the main thread."""
        with suppress(ValueError):
            for number in SIGNALS:
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # nohup: it is to outlive its terminal
                self._earlier[number] = signal.signal(number, self._hear)
        if self._program:
            atexit.register(self._end)
        if self._program and self._stderr is not None:
            with suppress(OSError):  # no process more may be started; others will say so
                self._witness = Witness(self._stderr)

    def close(self, restore: bool) -> None:
        """The command is over; with `restore` signals go back to who handled them before."""
        if self._witness is not None:
            self._witness.dismiss()
        if restore:
            for number, handler in self._earlier.items():
                signal.signal(number, handler)
            for descriptor in (self._stdout, self._stderr):
                if descriptor is not None:
                    os.close(descriptor)

    @contextmanager
    def run(self, inline: bool) -> Iterator[StopRequest]:
        """Inside, the first signal asks for a run's end, or interrupts what can't be asked.

        Args:
            inline: models run in this process, without Ray.
        """
        from mira_batch.core.stop_request import StopRequest

        self._stop = StopRequest()
        if inline and self._witness is not None:
            self._witness.tell_inline()
        try:
            yield self._stop
        except KeyboardInterrupt:
            self.leave(INTERRUPTED, _WORDS)
        finally:
            self._stop = None

    def finish(self, code: int) -> int:
        """The exit code of a command that ended with `code`, having said itself that it was interrupted if
        that is 130.

        From now on all is done and said, and a signal only makes the process leave sooner. A program that
        failed does so by itself.
        """
        _flush()
        if self.heard:
            self.leave(INTERRUPTED, "" if code == INTERRUPTED else _WORDS)
        self._code = code
        if code and self._program:
            self.leave(code)
        return code

    def leave(self, code: int, words: str = "") -> NoReturn:
        """End this process and those it started, now, without the interpreter's own end: threads that are at
        work would keep that waiting, or crash in it.

        Args:
            code: the exit code.
            words: a line to say first.
        """
        for number in SIGNALS:
            with suppress(ValueError):
                signal.signal(number, signal.SIG_IGN)
        if words and self._stderr is not None:
            with suppress(OSError):
                # A terminal may show a half line of progress, and no cursor.
                line = f"\r\x1b[K\x1b[?25h{words}\n" if os.isatty(self._stderr) else f"{words}\n"
                os.write(self._stderr, line.encode())
        if words and self._stdout is not None and self.owes_json():
            with suppress(OSError):
                os.write(self._stdout, (json.dumps({"error": words}, indent=2) + "\n").encode())
        # Ray's threads have a word when its processes are gone, in Python and past it.
        threading.excepthook = lambda _: None
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        if self._witness is not None:
            self._witness.dismiss()
        kill_with_descendants(find_children(os.getpid()))
        if self._witness is not None:
            self._witness.end_orphans()
        _exit(code)

    def _end(self) -> None:
        """The last that the program does, called after all others that wait for the interpreter's end: to end
        without the rest of it, in which a thread of C++ that touches Python dies, and the process with it by
        SIGABRT. Arrow's threads let go of a Python file they have read at any time after it was read.
        """
        if self._code is not None and _flush():
            _exit(self._code)

    def _hear(self, number: int, _: object) -> None:
        if self._code is not None:
            self.leave(self._code)
        first = not self.heard
        self.heard = self.heard or signal.Signals(number).name
        stop = self._stop
        if first and stop is not None and stop.end is None:
            stop.interrupt(f"{self.heard} received")
            if stop.heeded:
                return
            raise KeyboardInterrupt
        self.leave(INTERRUPTED, _WORDS)


def _flush() -> bool:
    """Whether all that was said could be written; if not, the interpreter's own end says what is wrong."""
    whole = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            whole = False  # the other may still be written
    return whole


def _open_again(descriptor: int) -> int | None:
    """The same file under a number above those of the standard streams; None if it is closed."""
    with suppress(OSError):
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    return None
