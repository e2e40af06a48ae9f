"""How far a construct is, and what came of it, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mira_batch.report.counting import CountProgress


class StageProgress(CountProgress):
    """How many parts of a stage are done. A context manager."""

    def tell(self, stage: str, done: int, total: int) -> None:
        """So many parts of so many of a stage are done."""
        self.show(stage, done, total, f"{stage}: {done:,} of {total:,} parts")


def describe_stages(found: Mapping[str, Any], uri: str) -> Iterator[str]:
    """What came of a construct, a line for each stage, and for all that one dropped.

    Args:
        found: the markers by stage, as `construct.run.construct` gives them.
        uri: the output.
    """
    for stage, marker in found.items():
        if stage == "card":
            continue
        counts = {name: n for name, n in marker["counts"].items() if "|" not in name}
        kept = {name: n for name, n in counts.items() if not name.startswith(("dropped.", "lost.", "left."))}
        gone = {name: n for name, n in counts.items() if name not in kept}
        yield f"{stage}: " + (", ".join(f"{_say(name)} {n:,}" for name, n in kept.items()) or "nothing to do")
        if gone:
            yield "  without " + ", ".join(f"{_say(name.split('.', 1)[1])} {n:,}" for name, n in gone.items())
    if (card := found.get("card")) is not None:
        counts = card["counts"]
        if not card["samples"]:
            yield "no samples were made: the lines above say what was dropped, and why"
        for name in ("split", "kind", "origin") if card["samples"] else ():
            yield f"{name}: " + ", ".join(f"{key} {n:,}" for key, n in counts[name].items())
        if card["licences"]:
            yield f"strictest licence of a source: {card['licences'][0]['licence']}"
    yield f"in {uri}"


def _say(name: str) -> str:
    return name.replace("_", " ")
