"""Scores in the pages, with real runs, real evaluations and a real browser: the report joined with them, and
the page of a comparison with its pictures, its links and its keys.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from mira_batch import load_config, run
from mira_batch.config.load import load_job_config
from mira_batch.launch import make_job
from mira_batch.runtime import run as runner
from tests.support.runs.catalogue import make_catalogue, settings
from tests.support.runs.commands import Commands
from tests.support.runs.nights import Nights
from tests.unit.report.browsers import FOUND, MISSING, browse, opened
from tests.unit.report.runs import HOSTILE

RECORDS = 20
needs_browser = pytest.mark.skipif(FOUND is None, reason=MISSING)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one catalogue, `cut` after one edit and `whole`, and their evaluations in `scores`."""
    folder = tmp_path_factory.mktemp("world")
    manifest = make_catalogue(folder / "catalogue", RECORDS)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [row | {"kind": HOSTILE if i % 2 else "even"} for i, row in enumerate(rows)]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, more in (("cut", {"limits": {"max_steps": 1}}), ("whole", {})):
        made = run(load_config(settings(manifest, folder / "out", run_id=name, **more)))
        config = {"job": "evaluate", "run_id": name, "group": "kind", "backend": "inline"}
        config |= {"judge": {"type": "rules"}, "controls": {"repeats": 4, "canaries": 2}}
        config |= {"input": {"manifest": made.run}, "output": {"uri": str(folder / "scores")}}
        runner.run(make_job(load_job_config(config)))
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browse() as found:
        yield found


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Commands:
    return Commands(Nights(tmp_path), capfd)


def names(page: Page) -> list[str]:
    return page.locator("article h3 bdi").all_inner_texts()


def bar(page: Page, chart: str, label: str) -> Any:
    return page.locator(f"#chart-{chart} button").filter(has_text=label)


@needs_browser
def test_scores_choose_and_order_records(cli: Commands, world: Path, browser: Browser) -> None:
    scores = world / "scores" / "cut"
    found = cli.json("report", world / "out" / "cut", "--scores", scores)
    counts = {"joined": 20, "other_pixels": 0, "asked_otherwise": 0, "absent": 0}
    assert found["scores"] == [{"evaluation": str(scores)} | counts]
    with opened(browser, f"file://{found['report']}") as page:
        page.locator("article").first.scroll_into_view_if_needed()  # it is loaded only then
        page.locator("article img").first.wait_for()
        assert page.locator("#chart-judged b").all_inner_texts() == ["19", "1"]
        bar(page, "judged", "nothing to judge").click()
        assert names(page) == ["rec-00017"] and page.url.endswith("#judged=nothing+to+judge")
        assert "nothing to judge" in page.locator("article .verdict").inner_text()
        bar(page, "judged", "nothing to judge").click()
        worst = page.locator("#chart-overall button").first
        worst.click()
        assert set(names(page)) == {"rec-00004", "rec-00009", "rec-00014", "rec-00019"}
        verdict = page.locator("article .verdict").first
        assert "0.33 of 0 to 1" in verdict.inner_text() and "0 to 3" in verdict.inner_text()
        verdict.locator("summary").click()
        assert verdict.locator("details p").first.inner_text() == "1 of 3 edits are done"
        page.locator("#clear").click()
        page.locator("#sort").select_option("worst")
        assert names(page)[0] == "rec-00004" and page.url.endswith("#sort=worst")
        page.reload()
        assert names(page)[:4] == ["rec-00004", "rec-00009", "rec-00014", "rec-00019"]
        hostile = bar(page, "group", HOSTILE)
        assert hostile.locator("b").inner_text().endswith("· 9")
        page.locator("#sort").select_option("best")
        assert names(page)[0] == "rec-00000"
        hostile.click()
        assert len(names(page)) == 9, "whose group is this, as text"
        worst.click()
        assert hostile.locator("b").inner_text() == "0.33 · 2"


@needs_browser
def test_a_comparison_is_read_on_one_page(cli: Commands, world: Path, browser: Browser) -> None:
    a, b = world / "scores" / "whole", world / "scores" / "cut"
    cli.json("report", world / "out" / "whole", "--all")
    cli.json("report", world / "out" / "cut", "--all")
    place = world / "pages" / "compare.html"
    words = ("compare", a, b, "--gate", "overall>=-0.05", "--report", place)
    found = cli.json(*words, code=1)
    assert found["report"] == str(place) and place.stat().st_size < 15_000_000
    worst = found["worst"][0]["record_id"]
    address = f"file://{world}/out/cut/report.html#record={worst}"
    assert found["links"][worst] == [address.replace("/cut/", "/whole/"), address]
    text = cli.text("compare", a, b)
    assert f"  {worst} in B: {address}" in text.splitlines()
    with opened(browser, f"file://{place}") as page:
        assert page.locator("h1").inner_text().startswith("B is worse (−0.")
        assert "not passed" in page.locator(".gates").inner_text()
        page.locator("article img").nth(2).wait_for()
        assert names(page) == [each["record_id"] for each in found["worst"]]
        labels = page.locator("article").first.locator(".entry p").all_inner_texts()
        assert labels == ["Original", "A score 1.00", "B score 0.33"]
        page.locator("#scatter").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#scatter-said").inner_text().startswith("A 1.00, B 0.33: 4 records (rec-0000")
        page.locator("#scatter circle").last.hover()
        assert page.locator("#scatter-said").inner_text().startswith("A 1.00, B 1.00: ")
        page.locator("article img").first.click()
        tags = page.locator("#viewer .tag")
        assert tags.all_inner_texts() == ["original", "B 0.33"]
        page.keyboard.press("1")
        assert tags.all_inner_texts() == ["A 1.00", "B 0.33"]
        assert "64 × 96 px, exact" in page.locator("#viewer .stage-facts").inner_text()
        images = page.locator("#viewer .pane img")
        assert images.nth(0).get_attribute("src") != images.nth(1).get_attribute("src")
        page.keyboard.press("j")
        assert page.locator("#viewer .name").inner_text() == found["worst"][1]["record_id"]
        page.keyboard.press("Escape")
        link = page.locator("article .links a").nth(1)
        assert link.get_attribute("href") == f"../out/cut/report.html#record={worst}"
        assert page.locator("img[src='x']").count() == 0 and page.locator("script").count() == 3
    with opened(browser, address) as page:
        assert page.locator("#viewer .name").inner_text() == worst
    for scheme, width in (("light", 390), ("dark", 1300)):
        view: Any = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        with opened(browser, f"file://{place}", **view) as page:
            page.locator("article img").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            ink = page.evaluate("getComputedStyle(document.body).color")
            assert (ink == "rgb(236, 235, 232)") == (scheme == "dark")


def test_what_is_gone_is_said_and_nothing_else_is_lost(cli: Commands, world: Path, tmp_path: Path) -> None:
    """The results of A were deleted since; the figures, the original and B's picture are there."""
    place, scores = tmp_path / "c.html", world / "scores"
    whole, gone = world / "out" / "whole", world / "out" / "gone"
    whole.rename(gone)
    try:
        found = cli.json("compare", scores / "whole", scores / "cut", "--report", place)
    finally:
        gone.rename(whole)
    data = json.loads(place.read_text().split('id="chunks">')[1].split("</script>")[0])
    entries = data["strips-0"][0]["entries"]
    missing = [entry.get("missing", "") for entry in entries]
    assert missing == ["", "is no longer where it was judged", ""]
    worst = found["worst"][0]["record_id"]
    assert found["links"][worst][0] == "" and found["scored"] == 19
    lost = Path(shutil.copytree(scores / "cut", tmp_path / "lost"))
    for file in lost.glob("plan/*.parquet"):
        file.unlink()
    found = cli.json("compare", scores / "whole", lost, "--report", place)
    assert found["scored"] == 19 and found["links"][worst][1] == ""
    assert "the evaluation's plan is lost" in place.read_text()


def test_pairs_of_manifests_are_shown_too(cli: Commands, tmp_path: Path) -> None:
    made = []
    for name, colours in (("a", ("blue", "red")), ("b", ("red", "blue"))):
        folder = tmp_path / name
        folder.mkdir()
        Image.new("RGB", (32, 32), "red").save(folder / "before.png")
        rows = []
        for record, colour in zip("xy", colours, strict=True):
            Image.new("RGB", (32, 32), colour).save(folder / f"{record}.png")
            row = {"record_id": record, "image": f"{record}.png", "original": "before.png"}
            rows.append(row | {"instruction": "rotate it by 180"})
        (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        none = ("--set", "controls={repeats: 0, canaries: 0}", "--set", "backend=inline")
        words = ("evaluate", folder / "pairs.jsonl", "--judge", "rules", "-o", tmp_path / "scores", *none)
        made.append(cli.json(*words)["run"])
    place = tmp_path / "c.html"
    found = cli.json("compare", *made, "--report", place)
    assert found["links"] == {"y": ["", ""]}
    page = place.read_text()
    records = json.loads(page.split('id="data">')[1].split("</script>")[0])["records"]
    assert [(each["id"], each["a"], each["b"]) for each in records] == [("y", 1, 0), ("x", 0, 1)]
    chunks = json.loads(page.split('id="chunks">')[1].split("</script>")[0])
    assert all(picture["exact"] for k in range(2) for picture in chunks[f"whole-{k}"])
    original, a, b = (picture["uri"] for picture in chunks["whole-0"])
    assert original == a != b


def test_what_can_not_be_joined_or_written_is_refused(cli: Commands, world: Path, tmp_path: Path) -> None:
    a, cut = world / "scores" / "whole", world / "out" / "cut"
    error = cli.json("compare", a, a, "--report", tmp_path / "page.txt", code=2)["error"]
    assert "give a file that ends in .html" in error
    assert "is a run of the job edit" in cli.json("report", cut, "--scores", cut, code=2)["error"]
    twice = ("report", cut, "--scores", a, "--scores", a)
    assert "is by the same judge" in cli.json(*twice, code=2)["error"]
    review = cli.json("report", cut, "--review", "--scores", a, code=2)["error"]
    assert "--scores are for the report" in review
    found = cli.json("report", cut, "--scores", a)["scores"][0]
    assert found["joined"] + found["other_pixels"] == 20 and found["other_pixels"] > 0
    said = cli.text("report", cut, "--scores", a)
    assert f"{found['other_pixels']} about other pixels than this run's result" in said
