"""`python -m tests.bench [topic …]`: measure, print the table, write results.json and the document.

A run of some topics only prints, because figures are comparable only within one run; so does one with
QUICK=1 in the environment, except for results.json.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from tests.bench import efficiency, memory, overhead, planning, report, resume
from tests.bench.figure import Bench, Figure

TOPICS: dict[str, tuple[Callable[[Bench], Figure], ...]] = {
    "planning": planning.FIGURES,
    "memory": memory.FIGURES,
    "efficiency": efficiency.FIGURES,
    "overhead": overhead.FIGURES,
    "resume": resume.FIGURES,
}


def main(arguments: list[str]) -> int:
    if unknown := set(arguments) - set(TOPICS):
        print(f"no such topic: {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}", file=sys.stderr)
        return 2
    console = Console()
    chosen = arguments or list(TOPICS)
    before = report.machine()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="mira-batch-bench-") as scratch:
        bench = Bench(Path(scratch), quick=os.environ.get("QUICK", "") not in ("", "0"))
        for measure in (measure for topic in chosen for measure in TOPICS[topic]):
            with console.status(measure.__name__.replace("_", " ")):
                figures.append(measure(bench))
            console.print(report.line(figures[-1]))
    machine = before | {"load_average_after": report.load_average(), "quick": bench.quick}
    console.print(report.table(figures, machine))
    if not arguments:
        report.write_results(figures, machine)
        if not bench.quick:
            report.write_document(figures, machine)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
