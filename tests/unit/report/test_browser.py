"""The report in a real browser: its policy lets it work, text stays text, keys and clicks do what they say.

Uses the browser that is there already; without one these tests are skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from mira_batch.core.types import ErrorKind, Failure
from tests.unit.report.runs import BLUE, GREEN, HOSTILE, Run, row

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
FLAGS = ["--disable-gpu", "--disable-quic", "--disable-sync"]

pytestmark = pytest.mark.skipif(FOUND is None, reason=f"none of {', '.join(NAMES)} is installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=FOUND, args=FLAGS)
        yield browser
        browser.close()


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
    run.report()
    return f"file://{run.store.locate('report.html')}"


@pytest.fixture
def page(browser: Browser, report: str) -> Iterator[Page]:
    """The report, opened. It asks for nothing else, and nothing goes wrong in it until the test ends."""
    page = browser.new_page(viewport={"width": 1200, "height": 700})
    page.set_default_timeout(5_000)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))  # violations of the policy among them
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda request: wrong.append(request.url) if request.url[:5] != "data:" else None)
    page.goto(report)
    yield page
    page.close()
    assert wrong == [report]


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.querySelector('bdi')?.textContent ?? ''")


def test_hostile_text_is_shown_as_text(page: Page) -> None:
    card = page.locator("article").filter(has_text="hostile")
    assert card.locator(".about p").first.inner_text() == HOSTILE
    assert page.locator(".message p").inner_text() == HOSTILE
    assert page.locator("script").count() == page.locator("style").count() == 1


def test_the_policy_applies_the_style_and_its_attributes(page: Page) -> None:
    assert page.locator("article").first.evaluate("e => getComputedStyle(e).display") == "grid"
    assert page.locator(".bar i").first.evaluate("e => getComputedStyle(e).flexGrow") == "0.1"
    view = page.locator(".view").first.bounding_box()
    assert view and view["width"] / view["height"] == pytest.approx(1.5, rel=0.01)


def test_j_and_k_go_from_record_to_record(page: Page) -> None:
    assert page.locator(".keys").is_visible()
    seen = []
    for key in ("j", "j", "j", "j", "j", "k", "k"):
        page.keyboard.press(key)
        seen.append(focused(page))
        assert page.locator("article:focus").evaluate("e => e.getBoundingClientRect().top >= 0")
    assert seen == ["failed", "hostile", "second", "third", "third", "second", "hostile"]


def test_a_picture_is_enlarged_and_the_arrows_step_through_its_record(page: Page) -> None:
    viewer, count = page.locator("#viewer"), page.locator("#viewer .count")
    thumbnail = page.locator("article").filter(has_text="second").locator("img").first
    thumbnail.click()
    assert viewer.is_visible() and count.inner_text() == "1 of 3"
    large, small = viewer.locator("img").bounding_box(), thumbnail.bounding_box()
    assert large and small and large["width"] > 2 * small["width"]
    for key, shown in (("ArrowLeft", "1 of 3"), ("ArrowRight", "2 of 3"), ("ArrowRight", "3 of 3")):
        page.keyboard.press(key)
        assert count.inner_text() == shown
    assert viewer.locator("b").inner_text() == "Step 2 · Result"
    assert viewer.locator(".caption").inner_text() == "edit 2"
    assert viewer.locator("img").get_attribute("alt") == "Step 2 · Result: edit 2"
    page.keyboard.press("Escape")
    assert not viewer.is_visible()


def test_the_viewer_opens_by_keyboard_and_closes_by_a_click_beside_it(page: Page) -> None:
    viewer = page.locator("#viewer")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    assert viewer.locator("b").inner_text() == "Step 2 · Result", "of a record, its result"
    assert viewer.locator(".caption").inner_text() == HOSTILE
    page.mouse.click(5, 5)
    assert not viewer.is_visible() and focused(page) == "hostile"


def test_the_page_reads_well_without_scripts(browser: Browser, report: str) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(report)
    assert page.locator("article").count() == 4 and page.locator("article img").first.is_visible()
    assert not page.locator(".keys").is_visible() and not page.locator("#viewer").is_visible()
    page.close()


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("article img").first.click()
    box = page.locator("#viewer").bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= width
