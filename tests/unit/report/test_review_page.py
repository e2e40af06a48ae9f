"""The review page in a real browser: keys, the stage, what is saved, what is handed over."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from mira_batch.core.types import ErrorKind, Failure
from mira_batch.report.review import write_review
from tests.unit.report.browsers import FOUND, MISSING, browse, opened
from tests.unit.report.runs import BLUE, GREEN, HOSTILE, Run, row

pytestmark = pytest.mark.skipif(FOUND is None, reason=MISSING)
NAMES = [f"r{k}" for k in range(6)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browse() as found:
        yield found


def make_run(folder: Path) -> Run:
    """Six records with a result, the last of hostile words, and a failed one."""
    run = Run(folder)
    source = run.image("a")
    rows = [row(name, source, (GREEN, BLUE), accepted=(True, True)) for name in NAMES[:-1]]
    failed = row("failed", source, failure=Failure(ErrorKind.editor_failed, "no"))
    run.commit(*rows, row(NAMES[-1], source, words=HOSTILE), failed)
    return run


def write(run: Run, size: int | None = None, **more: Any) -> str:
    found = write_review(run.config, run.store.uri, size, **more)
    return f"file://{found.page}"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(make_run(tmp_path_factory.mktemp("run")))


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened(browser, address) as page:
        page.locator("#queue img").first.wait_for()
        yield page


def current(page: Page) -> str:
    return page.locator("#name").inner_text()


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def decided(page: Page) -> str:
    return page.locator("#done").inner_text()


def lines(page: Page) -> list[dict[str, Any]]:
    with page.expect_download() as waiting:
        page.locator("#download").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def order(page: Page) -> list[str]:
    return page.locator("#queue bdi").all_inner_texts()


def test_arrows_only_move(page: Page) -> None:
    names = order(page)
    assert sorted(names) == NAMES, "what failed has nothing to be approved"
    assert current(page) == names[0]
    press(page, "ArrowRight", "ArrowDown", "ArrowLeft")
    assert current(page) == names[1] and decided(page) == "0 of 6 decided"
    press(page, *["ArrowLeft"] * 3)
    assert current(page) == names[0]


def test_two_keys_decide_and_pressing_one_twice_changes_nothing(page: Page) -> None:
    names = order(page)
    press(page, "a")
    assert current(page) == names[1], "on to the next one that is undecided"
    press(page, "ArrowLeft", "a", "ArrowLeft", "a")
    said = {line["record_id"]: line["decision"] for line in lines(page)}
    assert said == {names[0]: "approve"}


def test_a_reject_waits_for_its_reason_and_a_slip_gives_none(page: Page) -> None:
    names = order(page)
    press(page, "3")
    assert decided(page) == "0 of 6 decided", "a number alone rejects nothing"
    press(page, "r", "r")
    assert current(page) == names[0] and page.locator("#reasons").is_visible()
    press(page, "2")
    assert current(page) == names[1]
    press(page, "r", "ArrowRight", "r", "5")
    assert [(line["decision"], line["reason"]) for line in lines(page)] == [
        ("reject", "edge"), ("reject", "other"), ("reject", "background"),
    ]  # fmt: skip


def test_a_note_is_written_where_keys_are_letters(page: Page) -> None:
    press(page, "r", "n")
    page.keyboard.type("ra u1 sky")
    press(page, "Escape", "1")
    page.locator("#by").fill("Ada L.")
    (line,) = lines(page)
    assert (line["note"], line["by"], line["reason"]) == ("ra u1 sky", "Ada L.", "colour")


def test_undo_goes_back_step_by_step_also_after_the_page_was_closed(browser: Browser, address: str) -> None:
    with opened(browser, address) as page:
        names = order(page)
        press(page, "a", "a", "r", "4")
        page.reload()
        assert decided(page) == "3 of 6 decided" and current(page) == names[3]
        press(page, "u")
        assert current(page) == names[2] and page.locator("#reject").get_attribute("aria-pressed") == "true"
        press(page, "u", "u")
        assert current(page) == names[1] and decided(page) == "1 of 6 decided"
        press(page, "u", "u", "u")
        assert decided(page) == "0 of 6 decided" and page.locator("#download").is_disabled()


def test_only_what_is_listed_is_approved_together_and_the_number_is_said(page: Page) -> None:
    press(page, "r", "1")
    page.locator("#search").fill("r1")
    assert order(page) == ["r1"]
    page.locator("#search").fill("")
    button = page.locator("#approve-all")
    assert button.inner_text() == "Approve the 5 undecided listed here"
    button.click()
    asked = "Approve the 5 results listed here that are undecided? 1 decided already stays as it is."
    assert page.locator("#all-text").inner_text() == asked
    page.locator("#all-no").click()
    assert decided(page) == "1 of 6 decided"
    page.locator("#search").fill("do r")  # not what the hostile one asks for
    listed = len([name for name in order(page) if name])
    button.click()
    page.locator("#all-yes").click()
    assert listed == 5 and decided(page) in ("5 of 6 decided", "6 of 6 decided")
    page.keyboard.press("u")
    assert decided(page) == "1 of 6 decided", "one step, undone as one"


def test_the_list_does_not_move_under_ones_hands(page: Page) -> None:
    names = order(page)
    page.locator("#state").select_option("undecided")
    press(page, "a", "a")
    assert order(page) == names and page.locator("#queue .approve").count() == 2
    page.locator("#state").select_option("approve")
    assert order(page) == names[:2]


def test_the_stage_has_a_seam_a_flip_and_one_to_one(page: Page) -> None:
    before, after = (page.locator(f"#stage img[alt$='{side}']") for side in ("before", "after"))
    clip = "e => e.style.clipPath"
    half = before.evaluate(clip)
    page.locator(".slider").fill("20")
    assert before.evaluate(clip) != half
    press(page, "Space")
    assert before.evaluate(clip) == "inset(0px)" and not page.locator(".tag.after").is_visible()
    press(page, "Space")
    assert after.evaluate(clip) == "inset(0px)" and not page.locator(".tag.before").is_visible()
    box = after.bounding_box()
    press(page, "z")
    whole = after.bounding_box()
    assert box and whole and (whole["width"], whole["height"]) == (60, 40) and box["width"] > 100
    assert "60 × 40 px, exact · 100 %" in page.locator(".stage-facts").inner_text()
    page.mouse.move(whole["x"] + 5, whole["y"] + 5)
    page.mouse.down()
    page.mouse.move(whole["x"] + 45, whole["y"] + 25)
    page.mouse.up()
    moved = after.bounding_box()
    assert moved and (moved["x"] - whole["x"], moved["y"] - whole["y"]) == (40, 20)
    assert decided(page) == "0 of 6 decided"


def test_hostile_words_stay_words(page: Page) -> None:
    page.locator("#search").fill("onerror")
    assert page.locator("#ask").inner_text() == HOSTILE
    assert page.locator("#strip .caption").first.inner_text() == HOSTILE
    assert page.locator("script").count() == 3 and page.locator("img[src='x']").count() == 0


@pytest.mark.parametrize("width", [390, 900, 1500])
def test_nothing_is_wider_than_the_window(browser: Browser, address: str, width: int) -> None:
    with opened(browser, address, viewport={"width": width, "height": 800}) as page:
        page.locator("#stage img").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("window.scrollY") == 0


def test_large_pictures_lie_in_files_beside_the_page(browser: Browser, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    small = write(run)
    large = write(run, one_file=2_000)
    files = list(Path(run.store.uri, "review.data").rglob("*.js"))
    assert len(files) == 12 and large == small
    with opened(browser, large) as page:
        page.locator("#stage img").first.wait_for()
        press(page, "a", "a")
        page.locator("#queue img").nth(5).wait_for()
        assert decided(page) == "2 of 6 decided"
    write(run, one_file=2_000)
    assert len(list(Path(run.store.uri, "review.data").rglob("*.js"))) == 12, "none of the page before"


def cumulative(bad: int, seen: int, share: Fraction) -> Fraction:
    return sum(
        (math.comb(seen, k) * share**k * (1 - share) ** (seen - k) for k in range(bad + 1)), Fraction(0)
    )


def test_the_bound_is_that_of_clopper_and_pearson(browser: Browser) -> None:
    """Against exact fractions: at the bound so few bad ones, or fewer, have a chance of just 5 %."""
    script = resources.files("mira_batch.report").joinpath("page/confidence.js").read_text()
    page = browser.new_page()

    def ask(function: str, cases: list[tuple[int, ...]]) -> Any:
        body = f"return {json.dumps(cases)}.map((each) => {function}(...each))"
        return page.evaluate(f"(() => {{ const number = (n) => `${{n}}`; {script}; {body} }})()")

    cases = [(299, 0), (59, 0), (598, 0), (299, 1), (299, 7), (40, 12), (10, 9), (2000, 31)]
    bounds = ask("findBound", cases)
    for (seen, bad), bound in zip(cases, bounds, strict=True):
        assert float(cumulative(bad, seen, Fraction(bound))) == pytest.approx(0.05, rel=1e-9)
    assert bounds[0] == pytest.approx(1 - 0.05 ** (1 / 299), rel=1e-12)
    said = [(299, 0, 5000), (297, 2, 5000), (598, 0, 900_000), (24, 0, 24), (0, 0, 24)]
    assert [each["text"] for each in ask("describeConfidence", said)] == [
        "299 approved without a reject: at most 1 % are bad, with 95 % confidence",
        "297 approved, 2 rejected: at most 2.1 % are bad, with 95 % confidence",
        "598 approved without a reject: at most 0.5 % are bad, with 95 % confidence",
        "24 approved without a reject: these are all results of the run.",
        "Nothing is decided yet.",
    ]
    assert cumulative(2, 299, Fraction(21, 1000)) < Fraction(1, 20) < cumulative(2, 299, Fraction(20, 1000))
    page.close()
