"""The pages as HTML: Jinja2 templates with style sheets and scripts of `page/` put in.

Owns how values are written; the markup is in `templates/`. All text is escaped, and the page's own policy
lets a browser run that one script, apply that one style sheet and load nothing from anywhere.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mira_batch.core.costs import split_cost
from mira_batch.core.figures import show_dollars
from mira_batch.core.text import show_text
from mira_batch.evaluate.compare import show_signed
from mira_batch.report.comparison_contents import ComparisonPage
from mira_batch.report.contents import Page
from mira_batch.report.data import clip
from mira_batch.report.judged import show_p
from mira_batch.report.training_contents import TrainingPage

_REPORT = ("dom", "chunks", "stage", "strip", "verdict", "credit", "filters", "viewer", "gallery")
"""Scripts of the report, in `page/`; they are one script in it."""
_REVIEW = ("dom", "chunks", "stage", "strip", "confidence", "decisions", "queue", "review")
"""Those of the review page."""
_COMPARE = ("dom", "chunks", "stage", "strip", "scatter", "compare")
"""Those of a comparison."""


def render_review(name: str, rule: str, data: str, chunks: str, in_files: bool) -> str:
    """The review page as an HTML document.

    Args:
        name: of the run.
        rule: how the results shown were chosen.
        data, chunks: JSON that can stand in HTML: what the page shows, and where its pictures are.
        in_files: whether these are in script files beside it.
    """
    styles = "base", "stage", "review"
    return _render("review", styles, _REVIEW, data, chunks, in_files, name=name, rule=rule)


def render_page(page: Page) -> str:
    """The report as an HTML document.

    Args:
        page: what it shows.
    """
    styles = "base", "stage", "report"
    return _render("report", styles, _REPORT, page.data, page.chunks, page.in_files, page=page)


def render_comparison(page: ComparisonPage) -> str:
    """The page of a comparison as an HTML document.

    Args:
        page: what it shows.
    """
    styles = "base", "stage", "report", "compare"
    return _render("compare", styles, _COMPARE, page.data, page.chunks, False, page=page)


def render_training(page: TrainingPage) -> str:
    """The page of a training as an HTML document.

    Args:
        page: what it shows.
    """
    return _render("training", ("base", "training"), (), "", "", False, page=page)


def _render(
    template: str,
    styles: Sequence[str],
    scripts: Sequence[str],
    data: str,
    chunks: str,
    in_files: bool,
    **shown: Any,
) -> str:
    style, script = _join("css", styles), _join("js", scripts)
    return (
        load_templates()
        .get_template(f"{template}.html.j2")
        .render(
            data=Markup(data),
            chunks=Markup(chunks),
            style=style,
            script=script,
            policy=_policy(style, script, in_files),
            **shown,
        )
    )


@cache
def load_templates() -> Environment:
    """The package's templates: they make hidden characters of every value visible and escape it, and a name
    that they don't know is an error."""
    environment = Environment(
        loader=PackageLoader("mira_batch.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_show,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "clip": clip,
        "clock": split_time,
        "dollars": show_dollars,
        "split_cost": split_cost,
        "number": format_number,
        "p": show_p,
        "percent": "{:.2f}".format,
        "plain": replace_underscores,
        "short": format_short,
        "signed": show_signed,
    }
    return environment


def _show(value: Any) -> Any:
    """What goes into the page: text of whatever origin without control characters, or ones that turn the
    direction of writing."""
    return show_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read(name: str) -> Markup:
    """A file of the package, put into the page as it is."""
    return Markup(files("mira_batch.report").joinpath(name).read_text(encoding="utf-8"))


def _join(kind: str, names: Sequence[str]) -> Markup:
    """Several files of `page/` as one; scripts share one scope, which is not that of the window."""
    text = "\n".join(str(_read(f"page/{name}.{kind}")) for name in names)
    return Markup(f'"use strict";\n{{\n{text}}}\n' if kind == "js" else text)


def _policy(style: str, script: str, in_files: bool) -> str:
    """The Content-Security-Policy: this style, this script, images in the page itself, nothing else. Style
    attributes hold numbers only (a bar's length, a picture's shape); they can't be allowed by hash.

    Where pictures are in script files, this very script may load scripts, and nobody else may: an element
    that got into the page can't. A page opened from a disk has no origin, so neither 'self' nor the hash of
    a file is sure to let them in there.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'" + (" 'strict-dynamic'" if in_files else ""),
            f"style-src '{_digest(style)}'",
            "style-src-attr 'unsafe-inline'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def split_time(seconds: float) -> tuple[str, str]:
    """A time, and its unit: ("6.0", "s"), ("2:05", "min"), ("1:30", "h")."""
    if seconds < 120:
        return f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}", "s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return (f"{hours}:{left:02d}", "h") if hours else (f"{minutes}:{rest:02d}", "min")


def format_short(value: float) -> str:
    """A figure of any size in a few characters: "28,430", "0.7867", "2.2e-05"."""
    if value == int(value) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 0.001 else f"{value:.2g}"


def format_number(value: float, decimals: int = 0) -> str:
    """A number with commas between thousands."""
    return f"{value:,.{decimals}f}"


def replace_underscores(name: str) -> str:
    """A name of the code as words: "policy stop"."""
    return name.replace("_", " ")
