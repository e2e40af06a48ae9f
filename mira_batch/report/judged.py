"""What evaluations and comparisons say, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from mira_batch.core.figures import show_dollars
from mira_batch.core.text import show_text
from mira_batch.evaluate.calibrate import Calibration
from mira_batch.evaluate.compare import Comparison, Failures, Line, show_signed
from mira_batch.evaluate.controls import SAME
from mira_batch.evaluate.preferences import Preferences
from mira_batch.evaluate.scores import OVERALL
from mira_batch.evaluate.statistics import Interval
from mira_batch.evaluate.summary import Evaluation

_CANARIES = {
    "original": "the original as it was",
    "black": "a black image",
    "other": "another record's result",
    "nonsense": "an instruction without sense",
}
_PAIR_CANARIES = {
    "original": "the original against the result",
    "black": "a black image against the result",
    SAME: "the same image twice",
}


def describe_evaluation(found: Evaluation) -> Iterator[Text | Table]:
    """An evaluation, part by part."""
    counts = f"{found.judged:,} of {found.records:,} records judged"
    for number, words in ((found.no_result, "without a result"), (found.judge_failed, "judge failed")):
        counts += f", {number:,} {words}" if number else ""
    if found.errors:
        counts += f" ({', '.join(f'{kind} {n:,}' for kind, n in sorted(found.errors.items()))})"
    yield Text(counts)
    yield Text(show_text(f"judge {found.judge} · {found.protocol}"), style="dim")
    if found.means:
        yield Text()
        yield _tabulate_means(found)
    if found.groups:
        yield Text()
        yield _tabulate_groups(found)
    yield Text()
    yield Text(_describe_agreement(found))
    for canary in found.canaries:
        words = f"canary, {_CANARIES[canary.kind]}: "
        if canary.mean is not None:
            words += (
                f"mean {canary.mean:.2f}, {canary.as_good} of {canary.judged} as good as the result itself"
            )
        if canary.failed:
            words += f"{', ' if canary.mean is not None else ''}{canary.failed} not scored"
        yield Text(words, style="yellow" if canary.as_good else "")
    effort = [] if found.steps is None else [f"{found.steps:.1f} edits a record"]
    effort += [f"edits cost {show_dollars(found.edit_cost)}"] if found.edit_cost else []
    effort += [f"judging {found.judge_seconds:,.1f} s"]
    effort += [f"and {show_dollars(found.cost)}"] if found.cost else []
    yield Text(" · ".join(effort), style="dim")


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
    yield from _describe_pairwise(found)
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


def _describe_pairwise(found: Preferences) -> Iterator[Text]:
    """Who is preferred, and what both orders tell of the judge."""
    preference, orders = found.preference, found.orders
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
    for name in ("n", "B preferred", "95 % interval", "B / tie / A"):
        table.add_column(name, justify="right")
    for group, preference in found.groups.items():
        verdicts = preference.verdicts
        table.add_row(
            show_text(group),
            f"{preference.pairs:,}",
            Text(f"{100 * preference.share:.1f} %", style="bold" if preference.favours else ""),
            "–" if preference.interval is None else _show_shares(preference.interval),
            f"{verdicts.win:,} / {verdicts.tie:,} / {verdicts.loss:,}",
        )
    return table


def _show_share(share: float, interval: Interval | None) -> str:
    return f"{100 * share:.1f} %" + ("" if interval is None else f" ({_show_shares(interval)})")


def _list_left_out(counts: list[tuple[int, str]]) -> str:
    aside = ", ".join(f"{number:,} {words}" for number, words in counts if number)
    return f"; left out: {aside}" if aside else ""


def _tabulate_means(found: Evaluation) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("")
    for name in ("scale", "n", "mean", "95 % interval"):
        table.add_column(name, justify="right")
    for name, mean in found.means.items():
        low, high = found.scales[name]
        cells = (
            f"{low:g} to {high:g}",
            f"{mean.records:,}",
            f"{mean.value:.3f}",
            _show_interval(mean.interval),
        )
        table.add_row(_show_name(name), *cells)
    return table


def _tabulate_groups(found: Evaluation) -> Table:
    """The overall score with its interval, and the means of the axes."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("by group")
    axes = [name for name in found.means if name != OVERALL]
    for name in ("n", OVERALL, "95 % interval", *axes):
        table.add_column(_show_name(name), justify="right")
    for group, means in found.groups.items():
        overall = means[OVERALL]
        values = (f"{means[name].value:.3f}" if means[name].records else "–" for name in axes)
        cells = f"{overall.records:,}", f"{overall.value:.3f}", _show_interval(overall.interval)
        table.add_row(show_text(group), *cells, *values)
    return table


def _show_name(name: str) -> str:
    return show_text(name.replace("_", " "))


def _show_interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def _describe_agreement(found: Evaluation) -> str:
    if found.agreement is None:
        return show_text(f"self-agreement: unknown; {found.agreement_note}")
    agreed = found.agreement
    return (
        f"self-agreement ({agreed.items} judged {agreed.repeats} times): ICC {agreed.icc:.2f} "
        f"({_show_interval(agreed.interval)}) · median |Δ| {agreed.median_difference:.3f} · "
        f"95 % within {agreed.p95_difference:.3f}"
    )


def describe_comparison(found: Comparison) -> Iterator[Text | Table]:
    """A comparison, part by part; its verdict last."""
    left = [(found.only_a, "in A alone"), (found.only_b, "in B alone")]
    left += [(found.asked_otherwise, "asked for otherwise")]
    yield Text(show_text(f"A  {found.a}"))
    yield Text(show_text(f"B  {found.b}"))
    originals = found.scores[0].originals if found.scores else 0
    counts = (
        f"{found.paired:,} records of both, {found.scored:,} scored in both, from {originals:,} originals"
    )
    yield Text(counts + _list_left_out(left))
    yield Text()
    yield _tabulate_lines(found)
    if found.groups:
        yield Text()
        yield _tabulate(list(found.groups.items()), "overall, by group")
    seen = [line for line in found.scores if line.smallest is not None]
    if seen:
        sizes = ", ".join(f"{line.smallest:.3f} of {line.name.replace('_', ' ')}" for line in seen)
        yield Text(show_text(f"the smallest difference that these records show four times of five: {sizes}"))
    for line in found.scores[:1]:
        if line.note:
            yield Text(show_text(f"no interval: {line.note}"))
    if found.pairwise is not None:
        yield Text()
        yield from _describe_pairwise(found.pairwise)
        yield Text(show_text(f"by {found.pairwise.judge}"), style="dim")
    if found.worst:
        worst = ", ".join(f"{each.record_id} {each.a:.2f} → {each.b:.2f}" for each in found.worst)
        yield Text(show_text(f"worst regressions: {worst}"))
    yield Text(show_text(f"verdict: {found.verdict}"), style="bold")


def _tabulate_lines(found: Comparison) -> Table:
    table = _tabulate([(line.name, line) for line in (*found.scores, *found.effort)], "")
    for name, failures in (("no result", found.no_result), ("judge failed", found.judge_failed)):
        if failures.a or failures.b:
            _add_failures(table, name, failures, found.paired)
    return table


def _tabulate(lines: list[tuple[str, Line]], title: str) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column(title)
    for name in ("n", "A", "B", "B less A", "95 % interval", "p", "win / tie / loss"):
        table.add_column(name, justify="right")
    for name, line in lines:
        wins = f"{line.wins.win:,} / {line.wins.tie:,} / {line.wins.loss:,}"
        interval = "–"
        if line.interval is not None:
            interval = f"{show_signed(line.interval.low)} to {show_signed(line.interval.high)}"
        table.add_row(
            _show_name(name),
            f"{line.records:,}",
            f"{line.a:.3f}",
            f"{line.b:.3f}",
            Text(show_signed(line.difference), style="bold" if line.is_sure else ""),
            interval,
            "–" if line.p is None else _show_p(line.p),
            wins,
        )
    return table


def _add_failures(table: Table, name: str, failures: Failures, paired: int) -> None:
    difference = (failures.b - failures.a) / paired
    shares = (f"{100 * count / paired:.1f} %" for count in (failures.a, failures.b))
    table.add_row(
        name, f"{paired:,}", *shares, f"{show_signed(100 * difference)} %", "", _show_p(failures.test.p), ""
    )


def _show_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def describe_calibration(found: Calibration) -> Iterator[str]:
    """What people's decisions say of a judge, a line each."""
    yield f"judge {found.judge}"
    yield (
        f"{found.decided:,} of {found.results:,} scored results decided: {found.approved:,} approved, "
        f"{found.decided - found.approved:,} rejected"
        + (f"; {found.unscored:,} more have no score" if found.unscored else "")
    )
    accepted, agreed = found.acceptance, found.agreement
    bad = f"at most {100 * accepted.most_bad:g} % of what is accepted is bad, with 95 % confidence"
    if accepted.threshold is None:
        yield f"no threshold: from no score on can it be said that {bad}"
    else:
        share = f"{100 * accepted.share:.0f} % of all results"
        yield f"accept from {accepted.threshold:.3f} on: {share}, and {bad}"
    kappa = "" if agreed.kappa is None else f", κ {agreed.kappa:.2f}"
    yield (
        f"agreement there: {100 * agreed.rate:.0f} % ({_show_shares(agreed.interval)}){kappa}; a good result "
        f"scores above a bad one in {100 * agreed.ranking:.0f} % of pairs"
    )
    if found.pass_rate is None:
        yield f"pass rate: unknown; {found.pass_rate_note}"
        return
    rate = found.pass_rate
    yield (
        f"good of all results: {100 * rate.value:.1f} % ({_show_shares(rate.interval)}); by the decisions "
        f"alone {_show_shares(rate.decided_alone)}"
    )
    yield "all of this holds if the decided results were drawn at random, without a look at the scores"


def _show_shares(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
