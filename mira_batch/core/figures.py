"""Figures as people read them: one that is small is never shown as nothing."""

from __future__ import annotations

import math

_LEAST = 6
"""Decimals of the smallest figure that is written out."""


def show_figure(value: float, decimals: int = 2) -> str:
    """A figure with commas between thousands: "1,234.50". One that would be shown as nothing, and isn't, gets
    two digits that say something, "0.0042", and below a millionth "<0.000001".

    Args:
        value: the figure.
        decimals: of one that they suffice for.
    """
    if value <= 0 or round(value, decimals):
        return f"{value:,.{decimals}f}"
    if value < 10**-_LEAST:
        return f"<{10**-_LEAST:.{_LEAST}f}"
    return f"{value:.{min(_LEAST, 1 - math.floor(math.log10(value)))}f}"


def show_dollars(amount: float, decimals: int = 2) -> str:
    """An amount of money as `show_figure` has it: what costs little must not look free.

    Args:
        amount: in US dollars.
        decimals: as of `show_figure`.
    """
    figure = show_figure(amount, decimals)
    return f"<${figure[1:]}" if figure.startswith("<") else f"${figure}"


def show_clock(seconds: float) -> str:
    """A length of time as 1:02:03, or 2:03 below an hour.

    Args:
        seconds: how long.
    """
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"
