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
from mira_batch.evaluate.compare import compare
from mira_batch.evaluate.gate import parse_gate
from mira_batch.report.comparison import write_comparison
from mira_batch.report.comparison_contents import Checked
from mira_batch.report.review import write_review
from mira_batch.report.write import Form, write_report
from tests.support import ROOT
from tests.unit.report.browsers import FOUND, MISSING, browse, opened
from tests.unit.report.evaluations import evaluate, score
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
    rows = [
        row("good", source, (GREEN, BLUE), accepted=(True, False)),
        row("bad", source, failure=Failure(ErrorKind.editor_failed, "it broke")),
        row("unscored", source),
    ]
    run.commit(*rows)
    run.reject([{"where": "m.csv:3", "record_id": None, "field": "image", "reason": "is empty"}])
    a, b = (
        evaluate(
            run, name,
            score(rows[0], value, {"look": (7.0, 0.0, 10.0)}, group="one", reason="so it is", raw=["7"]),
            score(rows[1]), score(rows[2], error=("judge_failed", "no number")),
            score(rows[0], 0.9, judged="black"),
        )
        for name, value in (("a", 0.8), ("b", 0.3))
    )  # fmt: skip
    summary = RunSummary(run.store.uri, "r", planned=3, committed=3)
    report = write_report(run.config, summary, Form(anew=True, scores=[a.run])).page
    gate, found = parse_gate("overall>=0"), compare(a, b)
    checks = [Checked(gate, False, "gate overall>=0: not passed")]
    compared = write_comparison(str(run.folder / "c.html"), found, a, b, checks, run.config.storage)
    review = write_review(run.config, run.store.uri, None).page
    return {"report": report, "review": review, "comparison": compared}


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
    ("name", "keys"),
    [
        ("report", ""), ("report", "jEnter"), ("review", ""), ("review", "r"), ("review", "a"),
        ("comparison", ""),
    ],
)  # fmt: skip
def test_nothing_serious_is_found(
    browser: Browser, pages: dict[str, str], name: str, keys: str, scheme: str
) -> None:
    with opened(browser, f"file://{Path(pages[name])}", color_scheme=scheme) as page:
        if name != "comparison":  # whose pictures are gone
            page.locator("#stage, article").first.scroll_into_view_if_needed()
            page.locator("#stage img, article img").first.wait_for()
        page.locator("summary").evaluate_all("all => all.forEach((each) => each.click())")
        for key in ("j", "Enter") if keys == "jEnter" else keys:
            page.keyboard.press(key)
        assert faults(page) == []
