"""Figures as they are shown: what is small is never shown as nothing."""

from __future__ import annotations

import pytest

from mira_batch.core.figures import show_dollars, show_figure


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.01, "$0.01"),
        (0.0061, "$0.01"),
        (0.0042, "$0.0042"),
        (0.00012345, "$0.00012"),
        (0.0000029, "$0.000003"),
        (0.0000001, "<$0.000001"),
    ],
)
def test_what_costs_little_does_not_look_free(amount: float, shown: str) -> None:
    assert show_dollars(amount) == shown


def test_more_decimals_are_kept_where_they_suffice() -> None:
    assert show_dollars(0.034, 4) == "$0.0340" and show_dollars(0.00002, 4) == "$0.000020"
    assert show_figure(0.004) == "0.0040" and show_figure(12) == "12.00"
