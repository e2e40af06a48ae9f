"""`python -m benchmarks [topic …]`: measure, print the tables, write results.json and the document.

Without topics it measures those of the main table. Others have tables of their own (`ALONE`), each written
when it is run alone. A run of some other topics only prints: figures are comparable only within one run. So
does one with QUICK=1 in the environment, but for results.json.

`python -m benchmarks learn` is another kind of measurement, of what a policy learns: see `benchmarks/learn`.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import (
    acceptance,
    catalogue,
    driver,
    efficiency,
    endpoints,
    fidelity,
    formation,
    judging,
    memory,
    overhead,
    planning,
    proposals,
    report,
    resume,
    scale,
    store,
)
from benchmarks.acceptance_chart import draw
from benchmarks.figure import Bench, Figure
from benchmarks.peers import contest, pillow_contest, served, torch_contest
from mira_batch.core.errors import UserError

MAIN: dict[str, tuple[Callable[[Bench], Figure | list[Figure]], ...]] = {
    "planning": planning.FIGURES,
    "memory": memory.FIGURES,
    "efficiency": efficiency.FIGURES,
    "peers": contest.FIGURES,
    "overhead": overhead.FIGURES,
    "resume": resume.FIGURES,
    "store": store.FIGURES,
}
"""Topics of the main table."""
ALONE: dict[str, tuple[Callable[[Bench], Figure | list[Figure]], ...]] = {
    "batches": formation.FIGURES,
    "workers": efficiency.WORKERS_FIGURES,
    "judging": judging.FIGURES,
    "endpoints": endpoints.FIGURES,
    "peers-served": served.FIGURES,
    "peers-torch": torch_contest.FIGURES,
    "peers-pillow": pillow_contest.FIGURES,
    "proposals": proposals.FIGURES,
    "fidelity": fidelity.FIGURES,
    "driver": driver.FIGURES,
    "catalogue": catalogue.FIGURES,
    "scale": scale.FIGURES,
    "acceptance": acceptance.FIGURES,
}
"""Topics with a table of their own, which is written when such a topic is run alone."""
TOPICS = MAIN | ALONE


def main(arguments: list[str]) -> int:
    if arguments == ["learn"]:
        return _learn()
    if unknown := set(arguments) - set(TOPICS):
        print(f"no such topic: {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # what is measured in a child is ended with it
    console = Console(width=None if sys.stdout.isatty() else 160)
    chosen = arguments or list(MAIN)
    before, started = report.machine(), time.monotonic()
    figures, failed = list[Figure](), list[str]()
    with tempfile.TemporaryDirectory(prefix="mira-batch-bench-") as scratch:
        bench = Bench(Path(scratch), quick=_is_set("QUICK"))
        for measure in (measure for topic in chosen for measure in TOPICS[topic]):
            try:
                with console.status(measure.__name__.replace("_", " ")):
                    found = measure(bench)
            except Exception:  # the others are measured all the same: a run takes ten minutes
                console.print_exception()
                failed.append(measure.__name__)
                continue
            found = [found] if isinstance(found, Figure) else found
            figures += found
            for figure in found:
                if figure.cell is None:
                    console.print(report.line(figure))
    took = round(time.monotonic() - started)
    machine = before | {
        "load_average_after": report.load_average(),
        "quick": bench.quick,
        "seconds": took,
    }
    for table in report.tables(figures, machine):
        console.print(table)
    if chart := draw(figures, acceptance.MAIN):
        console.print(chart, highlight=False)
    if failed:
        print(f"failed, so that nothing is written: {', '.join(failed)}", file=sys.stderr)
        return 1
    if not arguments:
        report.write_results(figures, machine)
    if (not arguments or (len(arguments) == 1 and arguments[0] in ALONE)) and not bench.quick:
        report.write_document(figures, machine, arguments[0] if arguments else "bench", chart)
    return 0


def _learn() -> int:
    """What is learned in the synthetic world, by the settings in the environment: QUICK, SEEDS and OUT."""
    quick = _is_set("QUICK")
    folder = Path(os.environ.get("OUT") or ("out/learn-quick" if quick else "out/learn"))
    try:
        seeds = int(os.environ.get("SEEDS") or 1)
        if seeds < 1:
            raise ValueError
    except ValueError:
        print(f"SEEDS is {os.environ['SEEDS']!r}; it is a number of seeds, 1 or more", file=sys.stderr)
        return 2
    from benchmarks.learn.command import main as learn
    from benchmarks.learn.page import PAGE, print_table

    began = time.monotonic()

    def note(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        print(f"{minutes:3d}:{seconds:02d} {text}", file=sys.stderr, flush=True)

    try:
        found = learn(quick, seeds, folder, note)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(print_table(found)))
    print(f"report: {folder.resolve() / PAGE}")
    return 0


def _is_set(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
