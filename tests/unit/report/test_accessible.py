"""What axe-core finds in the pages: nothing serious. Skipped where it is not there; it comes by
`npm install --no-save axe-core@4.14`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from mira_batch.core.receipts import RunSummary
from mira_batch.core.types import ErrorKind, Failure
from mira_batch.report.review import write_review
from mira_batch.report.write import Form, write_report
from tests.support import ROOT
from tests.unit.report.browsers import FOUND, MISSING, browse, opened
from tests.unit.report.runs import BLUE, GREEN, Run, row

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.skipif(FOUND is None, reason=MISSING),
    pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browse() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of the pages of a run."""
    run = Run(tmp_path_factory.mktemp("run"))
    source = run.image("a")
    run.commit(
        row("good", source, (GREEN, BLUE), accepted=(True, False)),
        row("bad", source, failure=Failure(ErrorKind.editor_failed, "it broke")),
    )
    run.reject([{"where": "m.csv:3", "record_id": None, "field": "image", "reason": "is empty"}])
    summary = RunSummary(run.store.uri, "r", planned=2, committed=2)
    report = write_report(run.config, summary, Form(anew=True)).page
    return {"report": report, "review": write_review(run.config, run.store.uri, None).page}


def faults(page: Page) -> list[Any]:
    """What is serious or critical, and where."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        (each["id"], each["impact"], [(node["target"], node["failureSummary"]) for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "keys"), [("report", ""), ("report", "jEnter"), ("review", ""), ("review", "r"), ("review", "a")]
)
def test_nothing_serious_is_found(
    browser: Browser, pages: dict[str, str], name: str, keys: str, scheme: str
) -> None:
    with opened(browser, f"file://{Path(pages[name])}", color_scheme=scheme) as page:
        page.locator("#stage img, article img").first.wait_for()
        for key in ("j", "Enter") if keys == "jEnter" else keys:
            page.keyboard.press(key)
        assert faults(page) == []
