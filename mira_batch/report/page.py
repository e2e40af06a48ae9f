"""How the report looks: one HTML page without scripts, fonts or files of its own.

Owns the markup, the style and the data they show; what that data is found from is `contact_sheet.py`'s
business. Record ids, instructions, thoughts and messages are untrusted: markup is only ever made by
`tag`, which escapes all text, and the page's policy forbids scripts and every request besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from statistics import geometric_mean
from typing import Any

from mira_batch.core.receipts import RunSummary
from mira_batch.report.style import STYLE


@dataclass(frozen=True, slots=True)
class Picture:
    """A thumbnail, ready to be shown."""

    uri: str
    """Data URI."""
    width: int
    height: int
    transparent: bool


@dataclass(frozen=True, slots=True)
class Still:
    """One place of a film strip: a picture, the words why there is none, or steps without pictures."""

    label: str
    picture: Picture | str = ""
    caption: str = ""
    thought: str = ""
    score: float | None = None
    accepted: bool = True
    result: bool = False
    first: int = 1
    """Number of the first of `words`."""
    words: tuple[str, ...] = ()
    """Edits of steps that are not pictured."""


@dataclass(frozen=True, slots=True)
class Card:
    """One record of the contact sheet."""

    record_id: str
    instruction: str
    failed: bool
    outcome: str
    """Stop reason, or error kind."""
    message: str
    steps: int
    seconds: float
    size: tuple[int, int] | None
    models: Mapping[str, str | None]
    final_thought: str
    strip: tuple[Still, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """All that the page shows."""

    summary: RunSummary
    pace: float | None
    """Images per minute of the last call; None when it edited none."""
    manifest: str
    models: Mapping[str, str]
    version: str
    written: datetime
    cards: Sequence[Card]
    rejects: Sequence[Mapping[str, Any]]
    rejected: int


class Html(str):
    """Markup, as opposed to text."""


_VOID = {"meta", "img"}
_WORDS = 1_200
"""Characters shown of one text: instructions may have 10,000 and a model's thoughts any number."""
_LISTED = 8


def tag(element: str, /, *content: str | None, **attributes: object) -> Html:
    """An element. Text is escaped, `Html` is not; `class_` is the attribute class, a_b is a-b; content and
    attributes that are None are left out."""
    named = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if element in _VOID:
        return Html(f"<{element}{named}>")
    return Html(f"<{element}{named}>{_joined(content)}</{element}>")


def _joined(content: Iterable[str | None]) -> Html:
    return Html("".join(c if isinstance(c, Html) else escape(c) for c in content if c is not None))


def render(page: Page) -> str:
    """The page as HTML."""
    summary = page.summary
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; img-src data:; style-src 'unsafe-inline'",
        ),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{summary.run_id} · mira_batch"),
        tag("style", Html(STYLE)),
    )
    results = f"mira_batch {page.version} · results: {summary.results}/*.parquet"
    body = tag("body", _header(page), tag("main", *_sections(page)), tag("footer", results))
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _header(page: Page) -> Html:
    summary = page.summary
    whole = summary.committed >= summary.planned
    state = "complete" if whole else f"{summary.committed:,} of {summary.planned:,} records so far"
    facts = {"manifest": page.manifest, **page.models, "written": f"{page.written:%Y-%m-%d %H:%M} UTC"}
    listed = [tag("div", tag("dt", name), tag("dd", tag("bdi", value))) for name, value in facts.items()]
    return tag(
        "header",
        tag("p", "mira_batch ", tag("span", "run report"), class_="brand"),
        tag("h1", tag("bdi", summary.run_id), _badge(state, "ok" if whole else "open")),
        tag("dl", *listed, class_="facts"),
        _figures(page),
    )


def _figures(page: Page) -> Html:
    summary = page.summary
    records = summary.ok + summary.failed
    figures = [
        ("records", f"{summary.committed:,}", f"of {summary.planned:,}", ""),
        ("ok", f"{summary.ok:,}", "", ""),
        ("failed", f"{summary.failed:,}", "", "bad" if summary.failed else ""),
        ("edits", f"{summary.steps:,}", "", ""),
        ("edits per record", f"{summary.steps / records:.1f}" if records else "–", "", ""),
        ("rejected rows", f"{page.rejected:,}", "", "warn" if page.rejected else ""),
        ("last call" if summary.already else "wall time", *_clock(summary.wall), ""),
        ("images per minute", "–" if page.pace is None else f"{page.pace:,.0f}", "", ""),
        *([_cost(summary)] if summary.cost or summary.gpu_cost else []),
    ]
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", value, " ", tag("small", unit)), class_=kind)
            for name, value, unit, kind in figures
        ),
        class_="figures",
    )


def _cost(summary: RunSummary) -> tuple[str, str, str, str]:
    each = summary.cost_per_accepted
    accepted = "" if each is None else f"${each:,.4f} an accepted image"
    return "cost", f"${summary.gpu_cost + summary.cost:,.2f}", accepted, ""


def _clock(seconds: float) -> tuple[str, str]:
    """A time and its unit."""
    if seconds < 120:
        return f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}", "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return (f"{hours}:{left:02d}", "h") if hours else (f"{minutes}:{rest:02d}", "min")


def _sections(page: Page) -> Iterator[Html]:
    summary = page.summary
    stops = _counts("Why records stopped", summary.stops, "No record has ended well yet.", "counts")
    errors = _counts("What failed", summary.errors, "Nothing failed.", "counts bad")
    yield tag("div", _time(summary.tally.usage.seconds), stops, errors, class_="panels")
    for title, failed, total in (("Failed", True, summary.failed), ("Contact sheet", False, summary.ok)):
        if cards := [_card(card) for card in page.cards if card.failed is failed]:
            note = f"{len(cards):,} of {total:,} records" + (", spread evenly" if len(cards) < total else "")
            yield tag("section", tag("h2", title, " ", tag("small", note)), *cards)
    if not summary.committed:
        yield tag("p", "No results yet: they appear once the first shard is committed.", class_="quiet")
    if page.rejects:
        yield _rejects(page)


def _time(seconds: Mapping[str, float]) -> Html:
    total = sum(seconds.values())
    used = {name: value / total for name, value in seconds.items() if value}
    bar = [tag("i", class_=name, style=f"flex-grow:{share:.4f}") for name, share in used.items()]
    legend = [
        tag("li", tag("i", class_=name), name, tag("b", f"{100 * share:.0f} %"))
        for name, share in used.items()
    ]
    note = "Summed over records that ran side by side." if used else "No time was spent yet."
    return tag(
        "section",
        tag("h2", "Where the time went"),
        tag("div", *bar, class_="bar", aria_hidden="true"),
        tag("ul", *legend, class_="legend"),
        tag("p", note, class_="quiet"),
    )


def _counts(title: str, counts: Mapping[str, int], none: str, kind: str) -> Html:
    most = max(counts.values(), default=1)
    rows = [
        tag("li", _plain(name), tag("b", f"{count:,}"), tag("i", style=f"width:{100 * count / most:.1f}%"))
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    body = tag("ul", *rows, class_=kind) if rows else tag("p", none, class_="quiet")
    return tag("section", tag("h2", title), body)


def _card(card: Card) -> Html:
    facts = [f"{card.steps:,} edit" + "s" * (card.steps != 1)]
    facts += [f"{card.size[0]:,} × {card.size[1]:,} px"] if card.size else []
    facts += [" ".join(_clock(card.seconds))] if card.seconds >= 0.05 else []
    ratios = [s.picture.width / s.picture.height for s in card.strip if isinstance(s.picture, Picture)]
    # All places of a strip have one shape: the pictures' own, or between them where edits change it.
    ratio = min(max(geometric_mean(ratios or [1.5]), 0.8), 1.6)
    strip = [_still(still, ratio) for still in card.strip]
    ended = tag("p", "ended by ", tag("b", _plain(card.outcome)), class_="quiet")
    if card.failed:
        ended = None
        strip.append(
            tag("li", tag("b", _plain(card.outcome)), tag("p", _clip(card.message)), class_="message")
        )
    about = tag(
        "div",
        tag(
            "h3",
            tag("bdi", _clip(card.record_id)),
            _badge(*(("failed", "bad") if card.failed else ("ok", "ok"))),
        ),
        tag("p", _clip(card.instruction), dir="auto"),
        ended,
        tag("p", " · ".join(facts), class_="quiet"),
        _thought("last thought", card.final_thought),
        class_="about",
    )
    return tag(
        "article",
        about,
        tag("ol", *strip, class_="strip" + " long" * (len(strip) > 4), style=f"--ratio:{ratio:.3f}"),
    )


def _still(still: Still, ratio: float) -> Html:
    score = None if still.score is None else tag("span", f" score {still.score:.2f}", class_="quiet")
    undone = None if still.accepted else tag("span", " rolled back", class_="quiet")
    return tag(
        "li",
        tag("div", *_view(still, ratio), class_="words" if still.words else "view"),
        tag("p", tag("b", still.label), score, undone),
        tag("p", _clip(still.caption), class_="caption", dir="auto") if still.caption else None,
        _thought("thought", still.thought),
        class_="still" + " result" * still.result + " undone" * (not still.accepted),
    )


def _view(still: Still, ratio: float) -> Iterator[Html]:
    picture = still.picture
    if still.words:
        listed = [tag("li", _clip(text), dir="auto") for text in still.words[:_LISTED]]
        yield tag("ol", *listed, start=still.first)
        if more := len(still.words) - len(listed):
            yield tag("p", f"and {more:,} more", class_="quiet")
    elif isinstance(picture, str):
        yield tag("p", f"Image {picture}", class_="quiet")
    else:
        fit = "wide" if picture.width >= ratio * picture.height else "tall"
        yield tag(
            "img",
            src=picture.uri,
            alt=f"{still.label}: {_clip(still.caption)}" if still.caption else still.label,
            width=picture.width,
            height=picture.height,
            class_=fit + " transparent" * picture.transparent,
        )


def _rejects(page: Page) -> Html:
    names = ("where", "record_id", "field", "reason")
    rows = [tag("tr", *(tag("td", tag("bdi", _clip(row[n] or "–"))) for n in names)) for row in page.rejects]
    head = tag("thead", tag("tr", *(tag("th", _plain(name), scope="col") for name in names)))
    note = tag("small", f"{len(page.rejects):,} of {page.rejected:,}")
    table = tag("table", head, tag("tbody", *rows))
    return tag("section", tag("h2", "Rejected manifest rows ", note), tag("div", table, class_="table"))


def _badge(text: str, kind: str) -> Html:
    return tag("span", text, class_=f"badge {kind}")


def _thought(title: str, text: str) -> Html | None:
    return tag("details", tag("summary", title), tag("p", _clip(text), dir="auto")) if text else None


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _clip(text: str) -> str:
    return text if len(text) <= _WORDS else f"{text[:_WORDS]} …"
