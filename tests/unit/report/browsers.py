"""A real browser for the pages: the one that is there already."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
FLAGS = ["--disable-gpu", "--disable-quic", "--disable-sync"]
MISSING = f"none of {', '.join(NAMES)} is installed"


@contextmanager
def browse() -> Iterator[Browser]:
    """A browser, until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=FOUND, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """A page, opened in a profile of its own. It asks for nothing from elsewhere, and nothing goes wrong in
    it until the block ends."""
    context = browser.new_context(**({"viewport": {"width": 1300, "height": 800}} | options))
    page = context.new_page()
    page.set_default_timeout(8_000)
    wrong: list[str] = []
    beside = address.partition("#")[0].rsplit("/", 1)[0] + "/"

    def check(url: str) -> None:
        if not url.startswith(("data:", "blob:", beside)):
            wrong.append(url)

    page.on("console", lambda message: wrong.append(message.text))  # violations of the policy among them
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda request: check(request.url))
    page.goto(address)
    yield page
    context.close()
    assert wrong == []
