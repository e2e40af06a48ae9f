"""The report in a real browser: its policy lets it work, text stays text, bars choose, keys and clicks do
what they say. Uses the browser that is there already; without one these tests are skipped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from mira_batch.core.receipts import RunSummary
from mira_batch.core.types import ErrorKind, Failure
from mira_batch.report.write import Form, write_report
from tests.unit.report.browsers import FOUND, MISSING, browse, opened
from tests.unit.report.runs import BLUE, GREEN, HOSTILE, Run, row, unopened

pytestmark = pytest.mark.skipif(FOUND is None, reason=MISSING)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browse() as found:
        yield found


def write(run: Run, **form: Any) -> str:
    summary = RunSummary(run.store.uri, "r", planned=100, committed=4)
    return f"file://{write_report(run.config, summary, Form(anew=True, **form)).page}"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report's address: a failed record, then three that ended well, the first of hostile words."""
    run = Run(tmp_path_factory.mktemp("run"))
    source = run.image("a")
    run.commit(
        row("hostile", source, (GREEN, BLUE), words=HOSTILE),
        row("second", source, (GREEN, BLUE)),
        row("third", source),
        row("failed", source, failure=Failure(ErrorKind.editor_failed, HOSTILE)),
    )
    return write(run, whole=True)


@pytest.fixture
def page(browser: Browser, report: str) -> Iterator[Page]:
    with opened(browser, report) as page:
        page.locator("article img").first.wait_for()
        yield page


def names(page: Page) -> list[str]:
    return page.locator("article h3 bdi").all_inner_texts()


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.querySelector('h3 bdi')?.textContent ?? ''")


def bar(page: Page, chart: str, label: str) -> Any:
    return page.locator(f"#chart-{chart} button").filter(has_text=label)


def test_hostile_text_is_shown_as_text(page: Page) -> None:
    card = page.locator("article").filter(has_text="hostile")
    assert card.locator(".ask").inner_text() == HOSTILE
    assert card.locator(".caption").first.inner_text() == HOSTILE
    assert page.locator(".message span").inner_text() == HOSTILE
    assert page.locator("script").count() == 3 and page.locator("style").count() == 1
    assert page.locator("img[src='x']").count() == 0


def test_the_policy_applies_the_style_and_its_attributes(page: Page) -> None:
    assert page.locator("article").first.evaluate("e => getComputedStyle(e).display") == "grid"
    assert page.locator(".bar i").first.evaluate("e => getComputedStyle(e).flexGrow") == "0.1"
    view = page.locator(".view").first.bounding_box()
    assert view and view["width"] / view["height"] == pytest.approx(1.5, rel=0.01)


def test_bars_choose_and_the_address_says_what(page: Page) -> None:
    assert names(page) == ["failed", "hostile", "second", "third"], "problems first"
    bar(page, "status", "ok").click()
    assert names(page) == ["hostile", "second", "third"] and page.url.endswith("#status=ok")
    steps = page.locator("#chart-steps b").all_inner_texts()
    assert steps == ["1", "2"], "the other charts count what is chosen"
    bar(page, "steps", "2").click()
    assert names(page) == ["hostile", "second"] and page.url.endswith("#status=ok&steps=2")
    assert bar(page, "steps", "2").get_attribute("aria-pressed") == "true"
    assert page.locator("#chosen").inner_text() == "2 of 4 records"
    page.reload()
    assert names(page) == ["hostile", "second"]
    page.evaluate("location.hash = 'errors=editor failed&steps=nonsense&page=99&sort=wrong'")
    page.wait_for_function("document.querySelectorAll('article').length === 1")
    assert names(page) == ["failed"]
    page.evaluate("location.hash = 'errors=editor failed&sort=constructor'")
    page.reload()
    assert names(page) == ["failed"], "what JavaScript knows of every object is no order"
    page.locator("#clear").click()
    assert len(names(page)) == 4 and "#" not in page.url


def test_the_script_finds_the_bins_that_were_counted(browser: Browser, tmp_path: Path) -> None:
    """Also of values that lie on an edge, and in the last bin."""
    run = Run(tmp_path)
    source = run.image("a")
    plain = row("x", source, (GREEN,), accepted=(True,))
    times = [0, 0.01, 0.0099, 0.5, 0.4996, 0.1 + 0.2, 1, 7, 3_600, 90_000]
    rows = []
    for k, value in enumerate(times):
        seconds = dict.fromkeys(plain["seconds"], 0.0) | {"editor": value}
        step = plain["steps"][0] | {"score": (0, 0.1, 0.3, 0.30001, 0.69999, 0.7, 0.99, 1, None, 0.2)[k]}
        about = {"record_id": f"r{k}", "num_steps": k * 2, "cost": value / 100, "seconds": seconds}
        rows.append(plain | about | {"steps": [step]})
    run.commit(*rows, row("bad", source, failure=Failure(ErrorKind.judge_failed, "no")))
    run.config = run.config.model_validate(run.config.model_dump() | {"judge": {"model": {"type": "rules"}}})
    with opened(browser, write(run, most=None)) as page:
        counted = page.locator(".panels button").evaluate_all("all => all.map((e) => e.dataset.count)")
        for button in page.locator("#chart-status button").all():
            button.click()
        shown = page.locator(".panels button b").all_inner_texts()
        assert page.locator("#chosen").inner_text() == "11 of 11 records"
    assert shown == counted and len(counted) > 30


def test_an_earlier_run_is_shown_beside_this_one(browser: Browser, tmp_path: Path) -> None:
    old, new = Run(tmp_path / "old"), Run(tmp_path / "new")
    source = new.image("a")
    lost = unopened("lost")
    old.commit(row("same", source), row("other", source, (BLUE,)), row("gone", source), lost)
    new.commit(row("fresh", source), row("same", source), row("other", source, (BLUE, GREEN)), lost)
    with opened(browser, write(new, most=None, against=old.store.uri)) as page:
        page.locator("article img").first.wait_for()
        assert page.locator("#chart-against span").all_inner_texts() == [
            "same result", "another result", "no result in either", "not in that run",
        ]  # fmt: skip
        bar(page, "against", "another result").click()
        assert names(page) == ["other"] and page.url.endswith("#against=another+result")
        page.locator("article .entry").nth(3).wait_for()
        labels = page.locator("article .entry p > b").all_inner_texts()
        assert labels == ["Before", "Earlier: r", "Step 1", "Step 2 · Result"]
        page.locator("article .result img").click()
        left = page.locator("#viewer .pane img").first
        original = left.get_attribute("src")
        page.keyboard.press("o")
        earlier = page.locator("#viewer .strip .entry img").nth(1).get_attribute("src")
        assert page.locator("#viewer .pane img").first.get_attribute("src") == earlier != original
        assert page.locator("#viewer .tag.before").inner_text() == "earlier"


def test_words_are_searched_and_the_order_is_chosen(page: Page) -> None:
    page.locator("#sort").select_option("edits")
    assert names(page) == ["hostile", "second", "third", "failed"]
    page.keyboard.press("/")
    page.locator("#search").fill("SEC do")
    assert names(page) == ["second"] and page.url.endswith("#q=SEC+do&sort=edits")
    page.locator("#search").fill("nothing like it")
    assert names(page) == [] and page.locator("#range").inner_text() == "No record is like that."


def test_j_and_k_go_from_record_to_record(page: Page) -> None:
    seen = []
    for key in ("j", "j", "j", "j", "j", "k", "k"):
        page.keyboard.press(key)
        seen.append(focused(page))
        assert page.locator("article:focus").evaluate("e => e.getBoundingClientRect().top >= 0")
    assert seen == ["failed", "hostile", "second", "third", "third", "second", "hostile"]


def test_a_record_is_looked_at_large(page: Page) -> None:
    viewer, counter = page.locator("#viewer"), page.locator("#viewer .count")
    page.locator("article").filter(has_text="second").locator("img").first.click()
    assert counter.inner_text() == "1 of 3"
    for key, shown in (("ArrowLeft", "1 of 3"), ("ArrowRight", "2 of 3"), ("ArrowRight", "3 of 3")):
        page.keyboard.press(key)
        assert counter.inner_text() == shown
    assert viewer.locator(".label").inner_text() == "Step 2 · Result"
    assert viewer.locator(".line .caption").inner_text() == "edit 2"
    assert page.url.endswith("#record=second")
    after = viewer.locator("img[alt$=after]")
    viewer.locator(".slider").fill("0")
    assert after.evaluate("e => e.style.clipPath") == "inset(0px)"
    viewer.locator(".name").click()  # a range hears space itself in some browsers
    page.keyboard.press("z")
    box = after.bounding_box()
    assert box and (box["width"], box["height"]) == (60, 40)
    assert "60 × 40 px, exact · 100 %" in viewer.locator(".stage-facts").inner_text()
    page.keyboard.press("j")
    assert viewer.locator(".name").inner_text() == "third"
    page.keyboard.press("Escape")
    assert not viewer.is_visible() and focused(page) == "third" and "#" not in page.url


def test_the_viewer_opens_by_keyboard_and_by_a_link(browser: Browser, report: str) -> None:
    with opened(browser, f"{report}#record=hostile") as page:
        viewer = page.locator("#viewer")
        assert viewer.locator(".label").inner_text() == "Step 2 · Result", "of a record, its result"
        assert viewer.locator(".line .caption").inner_text() == HOSTILE
        page.mouse.click(3, 3)
        assert not viewer.is_visible()
        for key in ("k", "j", "Enter"):
            page.keyboard.press(key)
        assert viewer.is_visible()


def test_without_scripts_it_says_what_a_run_was(browser: Browser, report: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report)
    assert page.locator("#chart-status b").all_inner_texts() == ["3", "1"]
    assert page.get_by_text("The film strips need scripts to be shown.").is_visible()
    assert not page.locator(".controls").is_visible() and not page.locator("#viewer").is_visible()
    context.close()


@pytest.mark.parametrize("width", [390, 800, 1500])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(browser: Browser, report: str, width: int, scheme: str) -> None:
    with opened(browser, report, viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
        page.locator("article").first.scroll_into_view_if_needed()  # on a phone it is loaded only then
        page.locator("article img").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("article img").first.click()
        box = page.locator("#viewer").bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width
        ink = page.evaluate("getComputedStyle(document.body).color")
        assert (ink == "rgb(236, 235, 232)") == (scheme == "dark")


@pytest.mark.slow
def test_five_thousand_records_open_and_scroll_from_a_disk_and_a_bucket(
    browser: Browser, tmp_path: Path
) -> None:
    run = Run(tmp_path)
    source = run.image("a")
    base = [row(f"r{k}", source, (GREEN, BLUE)[: k % 2 + 1]) for k in range(4)]
    for shard in range(10):
        run.commit(*(base[k % 4] | {"record_id": f"r{shard * 500 + k:04d}"} for k in range(500)))
    address = write(run, most=None, one_file=100_000)
    files = list(Path(run.store.uri, "report.data").rglob("*.js"))
    assert len(files) == 5_000 / 4
    serve = partial(SimpleHTTPRequestHandler, directory=run.store.uri)
    serve.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for place in (address, f"http://127.0.0.1:{server.server_port}/report.html"):
            began = time.monotonic()
            with opened(browser, place) as page:
                page.locator("article img").first.wait_for()
                assert time.monotonic() - began < 3
                assert page.locator("#range").inner_text() == "1 to 24 of 5,000"
                page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
                page.locator("article").last.locator("img").first.wait_for()
                page.keyboard.press("n")
                assert page.locator("#range").inner_text() == "25 to 48 of 5,000"
                page.locator("#search").fill("r4999")
                assert names(page) == ["r4999"]
                page.locator("article img").first.wait_for()
    finally:
        server.shutdown()
        server.server_close()


def test_an_element_that_got_into_the_page_loads_no_script(browser: Browser, tmp_path: Path) -> None:
    """Where pictures are in files, the page's own script may load them, and nobody else anything."""
    run = Run(tmp_path)
    run.commit(row("a", run.image("a")))
    page_file = Path(write(run, one_file=10).removeprefix("file://"))
    (page_file.parent / "evil.js").write_text("document.title = 'evil'")
    text = page_file.read_text()
    page_file.write_text(text.replace("<main>", '<main><script src="evil.js"></script>'))
    context = browser.new_context()
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(f"file://{page_file}")
    page.locator("article img").first.wait_for()
    assert page.title() != "evil" and "Content Security Policy" in refused[0]
    context.close()
