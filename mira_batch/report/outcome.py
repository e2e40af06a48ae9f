"""What there is to show of a run that a command has just made.

What shows a run of one job is imported when such a run is shown: most commands show none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.evaluate import EvaluateConfig
from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.receipts import RunSummary
from mira_batch.core.text import show_text
from mira_batch.report.progress import summary_table
from mira_batch.storage.run.layout import PROFILE


def look_at_results(settings: JobConfig, summary: RunSummary) -> tuple[dict[str, Any], str]:
    """Of an edit the location of its report, of an inspection what its facts add up to, of an evaluation what
    its scores or its pairs say. Of a run without records of its own there is nothing.

    Args:
        settings: the job's config.
        summary: what its run did.

    Returns:
        `report`, `facts`, `evaluation` or `preferences` by name, and in words why there is none: that doesn't
        make a good run fail.
    """
    if not summary.planned:
        return {}, ""
    try:
        if isinstance(settings, BulkEditConfig):
            from mira_batch.report.write import write_report

            return {"report": write_report(settings, summary).page}, ""
        if not summary.committed:
            return {}, ""
        if isinstance(settings, EvaluateConfig):
            from mira_batch.evaluate.preferences import summarise_pairs
            from mira_batch.evaluate.scores import read_scores
            from mira_batch.evaluate.summary import summarise

            scores = read_scores(summary.run, settings.storage)
            if scores.against is not None:
                return {"preferences": summarise_pairs(scores)}, ""
            return {"evaluation": summarise(scores)}, ""
        from mira_batch.report.facts import summarise_facts

        return {"facts": summarise_facts(summary.run, settings.storage)}, ""
    except StoreError as error:
        return {}, str(error)


def describe_unread(summary: RunSummary) -> str:
    """That result files of a run are damaged, and what to do.

    Args:
        summary: what the run did.
    """
    return (
        f"{summary.unread:,} of {summary.committed:,} records are in result files that are damaged; "
        "`mira-batch verify` names them and says what to do"
    )


def describe_none_ok(summary: RunSummary) -> str:
    """How the records of a run ended of which none is ok: "2 of 2 records (editor_failed 2)".

    Args:
        summary: what the run did.
    """
    counts = [*sorted(summary.stops.items()), *sorted(summary.errors.items())]
    ends = ", ".join(f"{name} {count:,}" for name, count in counts)
    found = f"{summary.committed:,} of {summary.committed:,} records"
    if summary.unfinished:
        found = f"none of {summary.committed:,} records is ok: {summary.unfinished:,} unfinished and "
        found += f"{summary.failed:,} failed"
    return f"{found} ({ends})" if ends else found


def print_outcome(console: Console, summary: RunSummary, more: Mapping[str, Any], profile: bool) -> None:
    """Print it for people.

    Args:
        console: where to.
        summary: what the run did.
        more: what `look_at_results` found.
        profile: whether to show where the time went.
    """
    console.print()
    console.print(summary_table(summary, more.get("report", "")))
    if "facts" in more:
        from mira_batch.report.facts import facts_table

        console.print()
        console.print(facts_table(more["facts"]))
    if "evaluation" in more:
        from mira_batch.report.judged import describe_evaluation

        console.print()
        for part in describe_evaluation(more["evaluation"]):
            console.print(part)
    if "preferences" in more:
        from mira_batch.report.preferred import describe_preferences

        console.print()
        for part in describe_preferences(more["preferences"]):
            console.print(part)
    if profile:
        from mira_batch.report.time_breakdown import breakdown_table

        console.print()
        console.print(breakdown_table(summary))
        where = show_text(f"{summary.run}/{PROFILE}")
        console.print(f"moment by moment: {where} (open it in ui.perfetto.dev)", markup=False)
