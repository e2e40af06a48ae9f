"""Makes the pictures of the pages in the docs: `python docs/images/screens.py`.

Runs the sample catalogue with a judge that wants the last word, opens its pages in the browser that is there
already, and photographs them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.unit.report.browsers import FLAGS, FOUND  # noqa: E402

PAGES = Path(__file__).parent
SETTINGS = ("backend=inline", "run_id=sample", "judge={model: {type: rules}}", "limits.max_steps=3")


def make(command: str, *words: str) -> None:
    """Give a command; what it prints is of no interest."""
    binary = Path(sys.executable).with_name("mira-batch")
    subprocess.run([binary, command, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def compare(folder: str) -> None:
    """The page of a comparison: the run against one that was cut off after its first edits."""
    for name in ("short", "sample"):
        words = ("--judge", "rules", "-o", f"{folder}/scores", "--set", "group=category")
        made = f"{folder}/{'cut/' if name == 'short' else ''}{name}"
        make("evaluate", made, *words, "--set", f"run_id={name}", "--set", "backend=inline")
    page = f"{folder}/sample/comparison.html"
    make(
        "compare",
        f"{folder}/scores/short",
        f"{folder}/scores/sample",
        "--gate",
        "overall>=0",
        "--report",
        page,
    )


def shoot(page: Page, name: str, folder: str, keys: tuple[str, ...] = ()) -> None:
    """Photograph a page after some keys."""
    page.wait_for_timeout(800)
    # Where this machine keeps the sample is nobody's business.
    page.evaluate(
        "(roots) => document.querySelectorAll('dd bdi').forEach((e) => roots.forEach("
        "(root) => { e.textContent = e.textContent.replace(root, ''); }))",
        [f"{ROOT}/", f"{folder}/"],
    )
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(250)
    page.screenshot(path=PAGES / f"{name}.png")


def main() -> None:
    """Make all of them."""
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/sample"
        sets = [word for setting in (*SETTINGS, f"output.uri={folder}") for word in ("--set", setting)]
        make("run", "--config", "configs/quickstart.yaml", *sets)
        short = ("output.uri", f"{folder}/cut"), ("run_id", "short"), ("limits.max_steps", "1")
        more = [word for name, value in short for word in ("--set", f"{name}={value}")]
        make("run", "--config", "configs/quickstart.yaml", *sets, *more)
        compare(folder)
        make("report", run, "--full")
        make("report", run, "--review")
        shots = (
            ("report.html", "report", 1440, 1220, "light", ()),
            ("report.html#stops=max+steps", "report-chosen", 1440, 1000, "dark", ()),
            ("report.html", "report-large", 1440, 1000, "light", ("j", "j", "Enter")),
            ("review.html", "review", 1440, 900, "light", ("a", "a", "a", "r")),
            ("review.html", "review-phone", 390, 844, "dark", ()),
            ("comparison.html", "comparison", 1440, 1180, "light", ()),
        )
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=FOUND, args=FLAGS)
            for place, name, width, height, scheme, keys in shots:
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if scheme == "dark" else "light",
                )
                page = context.new_page()
                page.goto(f"file://{run}/{place}")
                shoot(page, name, folder, keys)
                context.close()
            browser.close()


if __name__ == "__main__":
    main()
