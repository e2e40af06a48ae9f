"""What evaluations of pairs say, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from mira_batch.core.figures import show_dollars
from mira_batch.core.text import show_text
from mira_batch.evaluate.controls import SAME
from mira_batch.evaluate.preferences import Preferences
from mira_batch.evaluate.statistics import Interval

_PAIR_CANARIES = {
    "original": "the original against the result",
    "black": "a black image against the result",
    SAME: "the same image twice",
}


def describe_preferences(found: Preferences) -> Iterator[Text | Table]:
    """An evaluation of pairs, part by part."""
    yield Text(show_text(f"A  {found.a}"))
    yield Text(show_text(f"B  {found.b}"))
    counts = f"{found.compared:,} of {found.records:,} records compared"
    for number, words in (
        (found.no_result, "without a result in A or B"),
        (found.judge_failed, "judge failed"),
    ):
        counts += f", {number:,} {words}" if number else ""
    if found.errors:
        counts += f" ({', '.join(f'{kind} {n:,}' for kind, n in sorted(found.errors.items()))})"
    left = [(found.only_a, "in A alone"), (found.only_b, "in B alone")]
    yield Text(counts + _list_left_out([*left, (found.asked_otherwise, "asked for otherwise")]))
    yield Text(show_text(f"judge {found.judge} · {found.protocol}"), style="dim")
    yield Text()
    yield from describe_pairwise(found)
    if found.groups:
        yield Text()
        yield _tabulate_preferences(found)
    yield Text()
    if found.repeated:
        kappa = "" if found.kappa is None else f", κ {found.kappa:.2f}"
        yield Text(f"self-agreement: {found.repeated_alike} of {found.repeated} judged twice alike{kappa}")
    else:
        yield Text("self-agreement: unknown; no pair was judged twice")
    for canary in found.canaries:
        words = f"canary, {_PAIR_CANARIES[canary.kind]}: {canary.wrong} of {canary.judged} "
        words += "not a tie in both orders" if canary.kind == SAME else "without preferring the result"
        words += f", {canary.failed} not judged" if canary.failed else ""
        yield Text(words, style="yellow" if canary.wrong else "")
    cost = f" and {show_dollars(found.cost)}" if found.cost else ""
    yield Text(f"judging {found.judge_seconds:,.1f} s{cost}", style="dim")


def describe_pairwise(found: Preferences) -> Iterator[Text]:
    """Who is preferred, and what both orders tell of the judge."""
    preference = found.preference
    if preference is None:
        yield Text("no pair was compared: nothing can be said of which is preferred", style="bold")
        return
    verdicts = preference.verdicts
    same = f", {found.equal:,} of them of equal pixels" if found.equal else ""
    yield Text(
        f"B preferred in {_show_share(preference.share, preference.interval)} of {preference.pairs:,} pairs "
        f"from {preference.originals:,} originals, a tie being half: B {verdicts.win:,} · tie "
        f"{verdicts.tie:,}{same} · A {verdicts.loss:,}",
        style="bold" if preference.favours else "",
    )
    if preference.note:
        yield Text(show_text(f"no interval: {preference.note}"))
    orders = preference.orders
    if orders is None:
        return
    yield Text(
        f"orders disagree in {_show_share(orders.share, orders.disagreement)} of {orders.pairs:,} pairs, "
        f"which are ties: {orders.reversed:,} go by the place, of {orders.half:,} one order is a tie"
    )
    what = f"what is shown first is preferred in {_show_share(orders.first_place, orders.first_interval)}"
    if orders.prefers:
        yield Text(
            f"warning: the judge prefers a place: {what}. Both orders keep that out of the verdicts, but "
            "such a judge tells less apart than it seems to",
            style="yellow",
        )
    else:
        yield Text(f"{what}: no preference of a place is shown")


def _tabulate_preferences(found: Preferences) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("by group")
    for name in ("n", "B preferred", "95 % interval", "B / tie / A", "orders disagree", "first shown"):
        table.add_column(name, justify="right")
    for group, preference in found.groups.items():
        verdicts, orders = preference.verdicts, preference.orders
        shares = (None, None) if orders is None else (orders.share, orders.first_place)
        table.add_row(
            show_text(group),
            f"{preference.pairs:,}",
            Text(f"{100 * preference.share:.1f} %", style="bold" if preference.favours else ""),
            "–" if preference.interval is None else show_shares(preference.interval),
            f"{verdicts.win:,} / {verdicts.tie:,} / {verdicts.loss:,}",
            *("–" if share is None else f"{100 * share:.1f} %" for share in shares),
        )
    return table


def _show_share(share: float, interval: Interval | None) -> str:
    return f"{100 * share:.1f} %" + ("" if interval is None else f" ({show_shares(interval)})")


def _list_left_out(counts: list[tuple[int, str]]) -> str:
    aside = ", ".join(f"{number:,} {words}" for number, words in counts if number)
    return f"; left out: {aside}" if aside else ""


def show_shares(interval: Interval) -> str:
    """An interval of shares, in percent."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
