"""A night on one screen, as a person reads it in the morning."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mira_batch.catalogue.health import Drift, Night
from mira_batch.core.figures import show_dollars
from mira_batch.core.receipts import RunSummary
from mira_batch.core.text import show_text
from mira_batch.report.causes import list_causes


def describe_night(
    night: Night, earlier: Sequence[Night], drift: Sequence[Drift], summary: RunSummary | None, report: str
) -> str:
    """The night in a few lines.

    Args:
        night: tonight.
        earlier: the nights before.
        drift: how tonight compares with them.
        summary: what its run came to, where there is one.
        report: where its report is; empty where there is none.
    """
    lines = [("night", f"{night.ended}  {night.run or 'nothing to do'}  in {_clock(night.seconds)}")]
    if night.problem:
        lines.append(("FAILED", night.problem))
    if night.known:
        lines.append(("known", f"{night.known}; as a night before has told"))
    if night.committed:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(night.errors.items()))
        ends = f"{night.ok:,} ok, {night.unfinished:,} unfinished, {night.failed:,} failed"
        lines.append(
            ("records", f"{night.committed:,} of {night.planned:,}: {ends}{f' ({kinds})' if kinds else ''}")
        )
    if summary is not None and summary.causes and _is_tonights(night, earlier, summary):
        lines.append(("why", ", ".join(list_causes(summary))))
    lines.append(("catalogue", f"{night.records:,} records, {_age(night)}"))
    if night.cost:
        each = f", {show_dollars(night.cost_each, 4)} an accepted image" if night.cost_each else ""
        lines.append(("cost", f"{show_dollars(night.cost)}{each}"))
    for figure in drift:
        verdict = "OUT OF LINE" if figure.out else "in line"
        span = f"{_number(figure, figure.mean)} ± {_number(figure, figure.limit)}"
        lines.append(
            (figure.name, f"{_number(figure, figure.tonight)}, {verdict} with {len(earlier)} nights ({span})")
        )
    if report:
        lines.append(("report", report))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {show_text(text)}" for name, text in lines)


def _is_tonights(night: Night, earlier: Sequence[Night], summary: RunSummary) -> bool:
    """Whether a plan was made tonight. Where nothing has changed it is that of the newest run, which a night
    before has told. A plan with nothing to run may be tonight's too: records were lost, say."""
    if night.run or not summary.run:
        return True
    return not summary.planned and not (earlier and earlier[0].standing.run == summary.run_id)


def _number(figure: Drift, value: float) -> str:
    return f"{100 * value:.1f} %" if figure.name == "acceptance rate" else show_dollars(value, 4)


def _age(night: Night) -> str:
    if not night.newest_good:
        return "no night has made a good result yet"
    hours = (datetime.now(UTC) - datetime.fromisoformat(night.newest_good)).total_seconds() / 3600
    if hours < 1:
        return "the newest good result is of tonight"
    return f"the newest good result of a night is {hours:,.0f} hours old"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
