"""What there is to show of a run that a command has just made."""

from __future__ import annotations

from typing import Any

from mira_batch.config.edit import BulkEditConfig
from mira_batch.config.shared import JobConfig
from mira_batch.core.errors import StoreError
from mira_batch.core.receipts import RunSummary
from mira_batch.report.facts import summarise_facts
from mira_batch.report.write import write_report


def look_at_results(settings: JobConfig, summary: RunSummary) -> tuple[dict[str, Any], str]:
    """Of an edit the location of its report, of an inspection what its facts add up to.

    Args:
        settings: the job's config.
        summary: what its run did.

    Returns:
        `report` or `facts` by name, and in words why there is none: that doesn't make a good run fail.
    """
    try:
        if isinstance(settings, BulkEditConfig):
            return {"report": write_report(settings, summary)}, ""
        return {"facts": summarise_facts(summary.run, settings.storage)} if summary.committed else {}, ""
    except StoreError as error:
        return {}, str(error)
