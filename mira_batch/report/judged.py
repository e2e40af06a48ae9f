"""What evaluations and comparisons say, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from mira_batch.core.figures import show_dollars
from mira_batch.core.text import show_text
from mira_batch.evaluate.calibrate import Calibration
from mira_batch.evaluate.compare import Comparison, Failures, Line, show_signed
from mira_batch.evaluate.scores import OVERALL
from mira_batch.evaluate.statistics import Interval
from mira_batch.evaluate.summary import Canary, Evaluation
from mira_batch.report.preferred import describe_pairwise, show_shares

_MOST_LINKED = 3
_CANARIES = {
    "original": "the original as it was",
    "black": "a black image",
    "other": "another record's result",
    "nonsense": "an instruction without sense",
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
        if note := found.means[OVERALL].note:
            yield Text(show_text(f"no interval: {note}"))
    if found.groups:
        yield Text()
        yield _tabulate_groups(found)
    if found.ungrouped:
        words = f"in no group, since their metadata have no {found.group_key!r}: {found.ungrouped:,} judged"
        yield Text(show_text(words))
    yield Text()
    yield Text(describe_agreement(found))
    for canary in found.canaries:
        yield Text(describe_canary(canary), style="yellow" if canary.as_good else "")
    effort = [] if found.steps is None else [f"{found.steps:.1f} edits a record"]
    effort += [f"edits cost {show_dollars(found.edit_cost)}"] if found.edit_cost else []
    effort += [f"judging {found.judge_seconds:,.1f} s"]
    effort += [f"and {show_dollars(found.cost)}"] if found.cost else []
    yield Text(" · ".join(effort), style="dim")


def describe_canary(canary: Canary) -> str:
    """What the judge said of images that must not do, in a line."""
    words = f"canary, {_CANARIES[canary.kind]}: "
    if canary.mean is not None:
        words += f"mean {canary.mean:.2f}, {canary.as_good} of {canary.compared} as good as the result itself"
    if canary.failed:
        words += f"{', ' if canary.mean is not None else ''}{canary.failed} not scored"
    return words


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
        values = (f"{means[name].value:.3f}" if name in means else "–" for name in axes)
        cells = f"{overall.records:,}", f"{overall.value:.3f}", _show_interval(overall.interval)
        table.add_row(show_text(group), *cells, *values)
    return table


def _show_name(name: str) -> str:
    return show_text(name.replace("_", " "))


def _show_interval(interval: Interval | None) -> str:
    return "–" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def describe_agreement(found: Evaluation) -> str:
    """How far the judge agrees with itself, in a line."""
    if found.agreement is None:
        return show_text(f"self-agreement: unknown; {found.agreement_note}")
    agreed = found.agreement
    return (
        f"self-agreement ({agreed.items} judged {agreed.repeats} times): ICC {agreed.icc:.2f} "
        f"({_show_interval(agreed.interval)}) · median |Δ| {agreed.median_difference:.3f} · "
        f"95 % within {agreed.p95_difference:.3f}"
    )


def describe_left_out(found: Comparison) -> str:
    """Which records of either are in no figure, in words; empty where all are."""
    left = [(found.only_a, "in A alone"), (found.only_b, "in B alone")]
    left += [(found.asked_otherwise, "asked for otherwise")]
    return ", ".join(f"{number:,} {words}" for number, words in left if number)


def describe_comparison(
    found: Comparison, links: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Text | Table]:
    """A comparison, part by part; its verdict last.

    Args:
        found: the comparison.
        links: of records their addresses in both runs' reports, empty where there is none.
    """
    yield Text(show_text(f"A  {found.a}"))
    yield Text(show_text(f"B  {found.b}"))
    originals = found.scores[0].originals if found.scores else 0
    counts = (
        f"{found.paired:,} records of both, {found.scored:,} scored in both, from {originals:,} originals"
    )
    aside = describe_left_out(found)
    yield Text(counts + (f"; left out: {aside}" if aside else ""))
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
            what = "no interval" if line.interval is None else "the smallest difference that shows is unknown"
            yield Text(show_text(f"{what}: {line.note}"))
    yield from _list_worst(found, links or {})
    if found.pairwise is not None:
        yield Text()
        yield from describe_pairwise(found.pairwise)
        yield Text(show_text(f"by {found.pairwise.judge}"), style="dim")
    yield Text(show_text(f"verdict: {found.verdict}"), style="bold")


def _list_worst(found: Comparison, links: Mapping[str, Sequence[str]]) -> Iterator[Text]:
    """The records that B did worst on, and where those of them are to be seen that are in a report."""
    if not found.worst:
        return
    worst = ", ".join(f"{each.record_id} {each.a:.2f} → {each.b:.2f}" for each in found.worst)
    yield Text(show_text(f"worst regressions: {worst}"))
    seen = [each.record_id for each in found.worst if any(links.get(each.record_id, ()))]
    for record in seen[:_MOST_LINKED]:
        for side, link in zip("AB", links[record], strict=True):
            if link:
                yield Text(show_text(f"  {record} in {side}: {link}"), overflow="fold")
    words = "--json has all addresses, and " if seen else "none is in the report of its run; "
    yield Text(f"  {words}--report FILE.html shows them", style="dim")


def _tabulate_lines(found: Comparison) -> Table:
    table = _tabulate([(line.name, line) for line in (*found.scores, *found.shown_effort)], "")
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
            "–" if line.p is None else show_p(line.p),
            wins,
        )
    return table


def _add_failures(table: Table, name: str, failures: Failures, paired: int) -> None:
    difference = (failures.b - failures.a) / paired
    shares = (f"{100 * count / paired:.1f} %" for count in (failures.a, failures.b))
    table.add_row(
        name, f"{paired:,}", *shares, f"{show_signed(100 * difference)} %", "", show_p(failures.test.p), ""
    )


def show_p(p: float) -> str:
    """A p-value with three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def describe_calibration(found: Calibration) -> Iterator[str]:
    """What people's decisions say of a judge, a line each."""
    yield f"judge {found.judge}"
    yield (
        f"{found.decided:,} of {found.results:,} scored results decided: {found.approved:,} approved, "
        f"{found.decided - found.approved:,} rejected"
        + (f"; {found.unscored:,} more have no score" if found.unscored else "")
    )
    bad = f"at most {100 * found.most_bad:g} % of what is accepted is bad, with 95 % confidence"
    accepted, agreed, rate = found.acceptance, found.agreement, found.pass_rate
    if accepted is None:
        yield f"no threshold: {found.acceptance_note}"
    elif accepted.threshold is None:
        yield f"no threshold: from no score on can it be said that {bad}"
    else:  # the threshold is to be used, so no digit of it is left out
        yield f"accept from {accepted.threshold} on: {100 * accepted.share:.0f} % of all results, and {bad}"
    if agreed is None:
        yield f"agreement: unknown; {found.agreement_note}"
    else:
        kappa = "" if agreed.kappa is None else f", κ {agreed.kappa:.2f}"
        yield (
            f"agreement there: {100 * agreed.rate:.0f} % ({show_shares(agreed.interval)}){kappa}; a good "
            f"result scores above a bad one in {100 * agreed.ranking:.0f} % of pairs"
        )
    if rate is None:
        yield f"pass rate: unknown; {found.pass_rate_note}"
    else:
        yield (
            f"good of all results: {100 * rate.value:.1f} % ({show_shares(rate.interval)}); by the "
            f"decisions alone {show_shares(rate.decided_alone)}"
        )
    yield "all of this holds if the decided results were drawn at random, without a look at the scores"
