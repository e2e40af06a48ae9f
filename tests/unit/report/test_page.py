"""The page as a document: nothing in it can escape, and it is whole in itself."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from mira_batch.core.types import (
    ErrorKind,
    Failure,
)
from mira_batch.report.render import load_templates, split_time
from tests.support import ROOT
from tests.unit.report.parse import Shown
from tests.unit.report.runs import HOSTILE, Run, row


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """Text full of markup gives the very elements that plain text gives."""

    def report(folder: Path, text: str) -> Shown:
        run = Run(folder)
        failure = Failure(ErrorKind.editor_failed, text)
        source = run.image("a")
        run.commit(row(text, source, words=text), row(text, source, failure=failure, words=text))
        run.reject([{"where": text, "record_id": text, "field": text, "reason": text}])
        return report_with_models(run, text)

    def report_with_models(run: Run, text: str) -> Shown:
        run.commit(row("m", run.image("b")) | {"models": {"policy": text, "editor": text, "judge": text}})
        return run.report()

    hostile, plain = report(tmp_path / "hostile", HOSTILE), report(tmp_path / "plain", "harmless")

    def outline(page: Shown) -> list[tuple[str, list[str]]]:
        return [(element.tag, sorted(element.attributes)) for element in page.root.find()]

    assert outline(hostile) == outline(plain)
    assert hostile.names.count(HOSTILE) == 2
    assert hostile.root.text.count(HOSTILE) == plain.root.text.count("harmless")
    assert [script.text for script in hostile.root.find("script")][:2] == ["", ""], "data, as text"
    assert all(
        (img.attributes["src"] or "").startswith("data:image/webp") for img in hostile.root.find("img")
    )


def test_no_character_of_the_page_is_hidden_or_turns_what_follows(tmp_path: Path) -> None:
    """Whatever field it came in by."""
    hidden = "a\x00b\x1b[31mc\x07d\x08e\rf\x7fg\x85h\u202ei\u2066j\u200fk\u2028l"
    shown = "a␀b␛[31mc␇d␈e␍f␡g⟨U+0085⟩h⟨U+202E⟩i⟨U+2066⟩j⟨U+200F⟩k⟨U+2028⟩l"
    run = Run(tmp_path)
    source, failure = run.image("a"), Failure(ErrorKind.editor_failed, hidden)
    models = {"models": {"policy": hidden, "editor": hidden, "judge": hidden}}
    run.commit(
        row(hidden, source, words=hidden) | models,
        row(hidden, source, failure=failure, words=hidden) | models | {"error_kind": hidden},
        row(hidden, source, words=hidden) | models | {"stop_reason": hidden, "status": "unfinished"},
    )
    run.reject([{"where": hidden, "record_id": hidden, "field": hidden, "reason": hidden}])
    page = run.report(committed=3)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", page.html
    )
    assert page.names == [shown] * 3
    texts = [element.text for tag in ("p", "li", "td", "dd", "b") for element in page.root.find(tag)]
    assert sum(shown in text for text in texts) > 20
    assert all(shown in (image.attributes["alt"] or "") for image in page.root.find("img")[1::2])


def test_what_is_written_from_right_to_left_stays_as_it_is(tmp_path: Path) -> None:
    words = "اجعلها أفتح\tثم اقلبها\n‌شكرا 👩‍🚀"
    run = Run(tmp_path)
    run.commit(row("one", run.image("a"), words=words))
    assert words in run.report().root.text


def test_the_page_asks_for_nothing_from_elsewhere(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.commit(row("one", run.image("a")))
    page = run.report()
    (policy,) = [m.attributes["content"] for m in page.root.find("meta") if "http-equiv" in m.attributes]
    *data, script = page.root.find("script")
    (style,) = page.root.find("style")
    assert [element.attributes["type"] for element in data] == ["application/json"] * 2
    for text in (packaged("page/gallery.js"), packaged("page/stage.js")):
        assert text in script.text
    assert packaged("page/report.css") in style.text
    assert policy == (
        f"default-src 'none'; script-src '{digest(script.text)}'; style-src '{digest(style.text)}'; "
        "style-src-attr 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?://|@import|<link|url\(", page.html)
    assert (page.html.count("<script"), page.html.count("<style")) == (3, 1)


def packaged(name: str) -> str:
    return resources.files("mira_batch.report").joinpath(name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """What a browser compares: the SHA-256 of what lies between the element's tags."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_style_attributes_hold_numbers_only(tmp_path: Path) -> None:
    """They are allowed without a hash, so no text may ever get into one."""
    run = Run(tmp_path)
    run.commit(row(HOSTILE, run.image("a"), words=HOSTILE), row("b", run.image("b")))
    styles = [e.attributes["style"] or "" for e in run.report().root.find() if "style" in e.attributes]
    assert styles and all(re.fullmatch(r"(--ratio|width|flex-grow):\d+(\.\d+)?%?", style) for style in styles)


def test_templates_escape_all_values_and_refuse_unknown_names() -> None:
    templates = load_templates()
    assert templates.from_string("<b>{{ x }}</b>").render(x="<i>") == "<b>&lt;i&gt;</b>"
    with pytest.raises(UndefinedError, match="'y' is undefined"):
        templates.from_string("{{ y }}").render(x=1)


def test_what_the_page_is_made_of_is_found_through_the_package() -> None:
    templates = load_templates()
    names = templates.list_templates()
    assert "report.html.j2" in names
    for name in names:
        templates.get_template(name)
    assert packaged("page/base.css").startswith("/*") and "keydown" in packaged("page/dom.js")


def test_every_file_that_is_not_python_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folder = ROOT / "mira_batch" / "report"
    globs = settings["package-data"]["mira_batch.report"]
    named = {path for glob in globs for path in folder.glob(glob)}
    files = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert files and files == named


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, ("0.0", "s")), (9.96, ("10.0", "s")), (12.4, ("12", "s")), (125, ("2:05", "min")),
        (5400, ("1:30", "h")),
    ],
)  # fmt: skip
def test_times_are_shown_in_the_unit_that_suits_them(seconds: float, shown: tuple[str, str]) -> None:
    assert split_time(seconds) == shown


def test_the_same_run_gives_the_same_page_but_for_the_time(tmp_path: Path) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    run.commit(*(row(f"r{k}", source) for k in range(9)))
    stamp = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
    pages = [stamp.sub("", run.report(most=5).html) for _ in range(2)]
    assert pages[0] == pages[1]
