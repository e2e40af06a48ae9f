"""The command line: `main` runs it and hears signals from its first moment on.

Exit codes: 0 done; 1 the run is not whole (verify), ended early, or has no record that is ok; 2 something for
the user to put right; 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

from mira_batch.cli.interrupts import Interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: of a call from within a program, which handles signals itself again afterwards; left out,
            this is the program: its arguments are the process's own.
    """
    interrupts = Interrupts(program=arguments is None)
    interrupts.listen()
    try:
        from mira_batch.cli.commands import run_command  # takes seconds, in which signals must be heard

        return interrupts.finish(run_command(arguments, interrupts))
    finally:
        interrupts.close(restore=arguments is not None)
