"""Looks at a run from outside, as long as its driver is at work on it."""

from __future__ import annotations

import time

from rich.live import Live

from mira_batch.cli.app import err
from mira_batch.core.text import show_text
from mira_batch.report.progress import describe_live, live_table
from mira_batch.runtime.lease import read_claim
from mira_batch.runtime.live import EVERY, read_live
from mira_batch.storage.stores import Store

_LINE_SECONDS = 10.0
_SILENT = 12 * EVERY
"""Seconds without a new state after which the driver counts as gone."""


def watch_run(store: Store) -> None:
    """Show what a run is doing until its claim is gone, or nothing new was heard of it for a minute. By what
    changes, not by clocks.

    Args:
        store: the run's directory.

    Raises:
        StoreError: the store can't be used.
    """
    heard, last, line = time.monotonic(), "", 0.0
    with Live(console=err, refresh_per_second=4, transient=True) as screen:
        while read_claim(store) is not None:
            state, now = read_live(store), time.monotonic()
            if state is not None and state.at != last:
                heard, last = now, state.at
                screen.update(live_table(state))
                if not err.is_terminal and now - line >= _LINE_SECONDS:
                    line = now
                    err.print(show_text(describe_live(state)), markup=False)
            if now - heard > _SILENT:
                err.print(f"nothing was heard of the run for {now - heard:,.0f} s; its driver may be gone")
                return
            time.sleep(EVERY / 5)
