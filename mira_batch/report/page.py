"""How the report looks: one HTML page without scripts, fonts or files of its own.

Owns the markup, the style and the data they show; what that data is found from is `contact_sheet.py`'s
business. Record ids, instructions, thoughts and messages are untrusted: markup is only ever made by
`tag`, which escapes all text, and the page's policy forbids scripts and every request besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from statistics import geometric_mean
from typing import Any

from mira_batch.core.receipts import RunSummary


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
    results = f"mira_batch {page.version} · results: {summary.results}/*.parquet"
    results = f"mira_batch {page.version} · results: {summary.results}/*.parquet"
    results = f"mira_batch {page.version} · results: {summary.results}/*.parquet"
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
    ]
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", value, " ", tag("small", unit)), class_=kind)
            for name, value, unit, kind in figures
        ),
        class_="figures",
    )


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
    yield tag("div", _time(asdict(summary.seconds)), stops, errors, class_="panels")
    for title, failed, total in (("Failed", True, summary.failed), ("Contact sheet", False, summary.ok)):
        if cards := [_card(card) for card in page.cards if card.failed is failed]:
            note = f"{len(cards):,} of {total:,} records" + (", spread evenly" if len(cards) < total else "")
            yield tag("section", tag("h2", title, " ", tag("small", note)), *cards)
    if not summary.committed:
        yield tag("p", "No results yet: they appear once the first shard is committed.", class_="quiet")
    if page.rejects:
        yield _rejects(page)


def _time(seconds: dict[str, float]) -> Html:
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


STYLE = """
:root{--bg:#f6f6f4;--card:#fff;--well:#f0f0ed;--ink:#1d1e20;--soft:#63656a;--line:#e5e5e1;--accent:#4456c7;
--ok:#17713f;--ok-bg:#e3f3e9;--bad:#b3261e;--bad-bg:#fcebe9;--warn:#8a5300;--check:#dcdcd8;
--policy:#5a6ad4;--editor:#2a9d8f;--judge:#d99a2b;--waiting:#c5c6c3;--io:#a9689a}
@media(prefers-color-scheme:dark){:root{--bg:#131417;--card:#1b1d21;--well:#24262b;--ink:#ececee;--soft:#a2a5ac;
--line:#2c2f35;--accent:#9aa8ff;--ok:#6fd79b;--ok-bg:#16301f;--bad:#ff9a90;--bad-bg:#381c1a;--warn:#e8b45c;
--check:#3a3d43;--policy:#8492f0;--editor:#3fb8a9;--judge:#e0aa45;--waiting:#4c4f55;--io:#c084b2}}
*{box-sizing:border-box;margin:0}
body{max-width:1280px;margin:0 auto;padding:40px 32px;background:var(--bg);color:var(--ink);
font:15px/1.5 Inter,system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere;
-webkit-text-size-adjust:100%}
h1,h2,h3{font-weight:600;line-height:1.25;letter-spacing:-.01em}ul,ol{list-style:none;padding:0}b{font-weight:600}
h1{font-size:30px;letter-spacing:-.02em}h1,h3{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:center}
h2{font-size:20px;margin-bottom:14px}h3{font-size:15px}
h2 small{margin-left:6px;font-size:14px;font-weight:400;letter-spacing:0;color:var(--soft)}
.quiet{font-size:13px;color:var(--soft)}.quiet b{font-weight:500;color:var(--ink)}
.brand{margin-bottom:10px;font-size:13px;font-weight:600}.brand span{color:var(--soft);font-weight:400}
.badge{padding:5px 9px;border-radius:99px;font-size:12px;font-weight:600;line-height:1;letter-spacing:0}
.badge.ok{color:var(--ok);background:var(--ok-bg)}.badge.bad{color:var(--bad);background:var(--bad-bg)}
.badge.open{color:var(--soft);background:var(--well)}
.facts{display:flex;flex-wrap:wrap;gap:4px 28px;margin:14px 0 28px;font-size:13px}
.facts div{display:flex;gap:8px}dt{font-size:13px;color:var(--soft)}
.figures,.panels>section,article,.table{border:1px solid var(--line);
border-radius:14px;background:var(--card)}
.figures{display:grid;grid-template-columns:repeat(8,auto);gap:16px 24px;padding:20px 24px}
.figures dd{font-size:28px;font-weight:600;line-height:1.2;letter-spacing:-.02em;
font-variant-numeric:tabular-nums}
.figures small{font-size:14px;font-weight:400;letter-spacing:0;color:var(--soft)}
.figures .bad dd{color:var(--bad)}.figures .warn dd{color:var(--warn)}
.panels{display:grid;grid-template-columns:2fr 1fr 1fr;gap:16px;margin-top:16px}
.panels>section{padding:20px 24px}.panels h2{font-size:15px}main>section{margin-top:44px}
.bar{display:flex;gap:2px;height:14px;border-radius:7px;overflow:hidden}.bar i{flex-basis:0;min-width:2px}
.policy{background:var(--policy)}.editor{background:var(--editor)}.judge{background:var(--judge)}
.waiting{background:var(--waiting)}.io{background:var(--io)}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;margin:12px 0 8px;font-size:14px}
.legend li{display:flex;align-items:center;gap:7px}.legend i{width:10px;height:10px;border-radius:3px}
.counts li{display:grid;grid-template-columns:1fr auto;gap:3px 12px;margin-bottom:9px;font-size:14px}
.counts i{grid-column:1/-1;min-width:4px;height:4px;border-radius:2px;background:var(--accent)}
.counts.bad i{background:var(--bad)}
article{display:grid;grid-template-columns:250px 1fr;gap:28px;padding:22px 24px;margin-bottom:14px}
.about>*+*{margin-top:8px}
.strip{display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:18px 22px;align-items:start}
.long{grid-template-columns:repeat(auto-fill,minmax(140px,1fr))}
.still{position:relative;min-width:0;font-size:13px;line-height:1.4}
.view,.words{aspect-ratio:var(--ratio);margin-bottom:8px;border-radius:8px;background:var(--well)}
.view{position:relative;display:grid;place-items:center;overflow:hidden}
.view p{padding:12px;text-align:center}
.still+.still:before{content:"";position:absolute;left:-17px;width:7px;height:7px;transform:rotate(45deg);
margin-top:calc(50%/var(--ratio) - 4px);border:solid var(--soft);border-width:1.5px 1.5px 0 0;opacity:.7}
.view img{position:absolute;inset:0;margin:auto}.wide{width:100%;height:auto}.tall{width:auto;height:100%}
.transparent{background:repeating-conic-gradient(var(--check) 0 25%,var(--card) 0 50%) 0 0/16px 16px}
.words{padding:12px}.words ol{padding-left:20px;list-style:decimal}.words li::marker{color:var(--soft)}
.result .view{outline:2px solid var(--accent);outline-offset:2px}.result b{color:var(--accent)}
.undone img{opacity:.45;filter:grayscale(1)}.undone .caption{text-decoration:line-through;color:var(--soft)}
.message{grid-column:span 2;padding:10px 14px;border-radius:8px;font-size:13px;line-height:1.45;
color:var(--bad);background:var(--bad-bg)}
details{margin-top:2px;font-size:13px;color:var(--soft)}summary{width:max-content;border-radius:4px;cursor:pointer}
summary:hover{color:var(--ink)}:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.table{overflow-x:auto}table{width:100%;border-collapse:collapse;font-size:13px}
th,td{padding:9px 16px;border-top:1px solid var(--line);min-width:90px;text-align:left;vertical-align:top}
thead th{border-top:0;font-weight:500;color:var(--soft)}td:last-child{min-width:220px}
footer{margin-top:44px;padding-top:16px;border-top:1px solid var(--line);font-size:13px;color:var(--soft)}
@media(max-width:1000px){.figures{grid-template-columns:repeat(4,1fr)}.panels{grid-template-columns:1fr 1fr}
.panels>:first-child{grid-column:1/-1}article{grid-template-columns:1fr;gap:18px}}
@media(max-width:560px){body{padding:24px 16px}h1{font-size:24px}.figures{grid-template-columns:1fr 1fr}
.panels{grid-template-columns:1fr}.figures,.panels>section,article{padding:18px}
.strip{grid-template-columns:1fr 1fr;gap:16px}.still+.still:before{left:-11px;width:5px;height:5px}}
@media print{article,.panels>section{break-inside:avoid}}
"""
