"""Chromium for the tests: pages that note every request and complaint, are judged by axe-core, and are kept as pictures."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, sync_playwright

from pipeline.embedded import components
from schemas.errors import ComponentMissing
from tests.stack.providers import needed

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / ".driftlock" / "screenshots"
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
WAIT_MS = 15_000
DRAWN = "[...document.querySelectorAll('.uplot')].every((plot) => plot.offsetWidth <= plot.parentElement.clientWidth)"
"""Plots fit their places again after the window changed."""


@dataclass
class Watched:
    """A page, its origin, and what must stay empty: requests that leave the origin, and complaints of the browser."""

    page: Page
    origin: str
    left: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)

    def goto(self, path: str) -> None:
        """Open a page of ours; an open event stream is no reason to wait."""
        self.page.goto(self.origin + path, wait_until="domcontentloaded")


def program() -> str:
    """Chromium: DRIFTLOCK_CHROMIUM, else that of the PATH."""

    def find() -> str:
        found = os.environ.get("DRIFTLOCK_CHROMIUM") or shutil.which("chromium")
        if found is None:
            raise ComponentMissing("the tests in a browser need Chromium: `apt-get install chromium`")
        return found

    return needed(find)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    executable = program()
    with sync_playwright() as playwright:
        browser = _launch(playwright, executable)
        try:
            yield browser
        finally:
            browser.close()


def _launch(playwright: Playwright, executable: str) -> Browser:
    return playwright.chromium.launch(executable_path=executable, args=FLAGS)


@contextmanager
def watched(browser: Browser, origin: str) -> Iterator[Watched]:
    """A page of a new visitor. At the end: nothing left the origin, and the browser complained of nothing."""
    context: BrowserContext = browser.new_context(viewport={"width": DESK["width"], "height": DESK["height"]})
    context.set_default_timeout(WAIT_MS)
    one = Watched(context.new_page(), origin)

    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not _is_expected(one, message.text):
            one.complaints.append(f"{one.page.url}: {message.text}")

    context.on("request", lambda request: _note(one, request.url))
    one.page.on("console", said)
    one.page.on("pageerror", lambda error: one.complaints.append(f"{one.page.url}: {error}"))
    try:
        yield one
        assert one.left == []
        assert one.complaints == []
    finally:
        context.close()


def _is_expected(one: Watched, text: str) -> bool:
    status = re.search(r"the server responded with a status of (\d+)", text)
    return status is not None and int(status[1]) in one.expected


def _note(one: Watched, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"data", "blob"} and f"{parts.scheme}://{parts.netloc}" != one.origin:
        one.left.append(url)


def look(one: Watched, name: str) -> None:
    """Judge the page by axe-core, and keep pictures of it: light, dark, and on a phone."""
    one.seen.append(name)
    PICTURES.mkdir(parents=True, exist_ok=True)
    serious = _axe(one.page)
    assert serious == [], f"{name}: {serious}"
    one.page.emulate_media(color_scheme="light")
    one.page.screenshot(path=PICTURES / f"{name}-light.png", full_page=True)
    one.page.emulate_media(color_scheme="dark")
    serious = _axe(one.page)
    assert serious == [], f"{name}, dark: {serious}"
    one.page.screenshot(path=PICTURES / f"{name}-dark.png", full_page=True)
    one.page.emulate_media(color_scheme="light")
    one.page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    one.page.wait_for_function(DRAWN)
    wide = one.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    one.page.screenshot(path=PICTURES / f"{name}-phone.png", full_page=True)
    one.page.set_viewport_size({"width": DESK["width"], "height": DESK["height"]})
    assert wide <= 0, f"{name}: {wide} px wider than a phone"


def _axe(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical. The script is run by the debugger: the page's policy stays as it is."""
    page.evaluate(needed(components.axe).read_text("utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:120]} and {len(v['nodes']) - 1} more"
        for v in found["violations"]
        if v["impact"] in {"serious", "critical"}
    ]
