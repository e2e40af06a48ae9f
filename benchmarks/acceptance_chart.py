"""Quality against editor calls, as text."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figure import Figure


def draw(figures: Sequence[Figure], table: str, width: int = 60) -> str:
    """Quality against editor calls, as text: a line for each strategy, a mark where it stands.

    Args:
        figures: those of this topic; of others nothing is drawn.
        table: the one that has a row for each strategy.
        width: characters of the axis.
    """
    cells: dict[str, dict[str, float]] = {}
    for figure in figures:
        if figure.cell is not None and figure.cell.table == table:
            cells.setdefault(figure.cell.row, {})[figure.cell.column] = figure.value
    if not cells:
        return ""
    low = min(row["from"] for row in cells.values())
    high = max(row["to"] for row in cells.values())

    def place(value: float) -> int:
        return round((value - low) / (high - low) * (width - 1))

    lines = [f"{'':18}{'all edits hold, with its 95 % interval':{width}}  editor calls"]
    for name, row in sorted(cells.items(), key=lambda item: item[1]["editor calls"]):
        marks = [" "] * width
        marks[place(row["from"]) : place(row["to"]) + 1] = "-" * (place(row["to"]) - place(row["from"]) + 1)
        marks[place(row["all edits hold"])] = "o"
        lines.append(f"{name:18}{''.join(marks)}  {row['editor calls']:.2f}")
    lines.append(f"{'':18}{f'{low:.3f}':{width - 5}}{high:.3f}")
    return "\n".join(line.rstrip() for line in lines)
