"""Runs one command of the command line to its end."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from mira_batch.cli.app import complain, murmur, out, print_json
from mira_batch.cli.interrupts import INTERRUPTED, Interrupts
from mira_batch.cli.program import program
from mira_batch.core.errors import MiraError, RunStopped, UserError, describe
from mira_batch.core.types import RunEnd
from mira_batch.report.streams import divert_prints, keep_streams, open_answer


def run_command(arguments: Sequence[str] | None, interrupts: Interrupts) -> int:
    """Run one command to its end; returns the exit code.

    Args:
        arguments: the command's. None takes those of this process, whose standard output then is the answer
            to its end: also what libraries print when it exits goes to standard error.
        interrupts: hears signals.
    """
    if arguments is None:
        return _answer(sys.argv[1:], interrupts)
    with keep_streams():
        return _answer(list(arguments), interrupts)


def _answer(arguments: list[str], interrupts: Interrupts) -> int:
    out.file = answer = open_answer()
    interrupts.owes_json = lambda: "--json" in arguments and not answer.used
    code, error = _call(arguments, interrupts)
    if error is not None and interrupts.owes_json():
        with suppress(UserError):  # standard output is lost as well
            print_json({"error": str(error) if isinstance(error, MiraError) else describe(error)})
    with suppress(UserError, OSError):  # that it was lost is told by now
        answer.close()
    divert_prints(murmur)  # also after help, which is shown before that
    return code


def _call(arguments: list[str], interrupts: Interrupts) -> tuple[int, Exception | None]:
    """The exit code, and what went wrong."""
    try:
        program(args=arguments, obj=interrupts)
    except RunStopped as early:  # before there was anything to show
        complain(f"[yellow]{early.end}:[/]", str(early))
        return INTERRUPTED if early.end is RunEnd.interrupted else 1, early
    except MiraError as error:
        complain("[red bold]error:[/]", str(error))
        if interrupts.heard:  # and Ray died as well: one line is enough
            return INTERRUPTED, error
        return 2 if isinstance(error, UserError) else 1, error
    except SystemExit as done:  # how the framework ends, also after bad usage
        code = int(done.code or 0)
        return code, UserError("bad usage; standard error says what is wrong") if code == 2 else None
    except Exception as error:
        traceback.print_exc(file=murmur)
        return 1, error
    return 0, None
