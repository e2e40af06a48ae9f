"""What each model's part in the cost of a run is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mira_batch.core.receipts import RunSummary

ROLES = ("policy", "editor", "judge")


def split_cost(summary: RunSummary) -> Mapping[str, float] | None:
    """US dollars of a run by the role of the model that they went into. They add up to all that the run cost.

        of a role = what its endpoints charged
                  + what the GPUs cost * seconds of its calls in the workers / those of all roles

    So a GPU's time without any call (loading, waiting, images) is borne by all in the same proportion, and so
    are calls that gave no answer. Models that work on a GPU at the same time share its price.

    Args:
        summary: of a run of the edit job, or of a part of it.

    Returns:
        Dollars by role, of those that were called. None where it can't be told: there were no calls in the
        workers yet, or an earlier release noted the charges without their roles.
    """
    charges = summary.tally.usage.charges
    if not math.isclose(sum(charges.values()), summary.cost, rel_tol=1e-6, abs_tol=1e-12):
        return None
    spent = summary.total.breakdown
    local = {role: max(0.0, spent[role] - spent[f"{role}_served"]) for role in ROLES}
    busy = sum(local.values())
    if summary.gpu_cost and not busy:
        return None
    share = summary.gpu_cost / busy if busy else 0.0
    called = [role for role in ROLES if spent[role] or role in charges]
    return {role: charges.get(role, 0.0) + share * local[role] for role in called}
