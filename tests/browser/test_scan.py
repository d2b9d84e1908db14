"""Uploading a log without an account, in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chromium import Watched, look, watched
from tests.browser.console import Console
from tests.browser.logs import LINES, write_log


@pytest.fixture
def visitor(browser: Browser, console: Console) -> Iterator[Watched]:
    with watched(browser, console.origin) as one:
        yield one


def test_a_visitor_drops_a_log_and_sees_its_anomaly(visitor: Watched, console: Console, tmp_path: Path) -> None:
    page = visitor.page
    visitor.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Scan a log file")
    look(visitor, "scan")
    page.get_by_label("Drop a log file here").set_input_files(write_log(tmp_path / "shop.log"))
    page.get_by_role("button", name="Scan").click()
    lead = page.locator(".lead")
    expect(lead).to_contain_text(f"in {LINES:,} events")
    expect(page.locator(".finding h2").first).to_be_visible()
    expect(page.locator(".finding mark").first).to_be_visible()
    assert {"FATAL", "kernel", "panic"} <= {cell.strip() for cell in page.locator(".finding th code").all_inner_texts()}
    expect(page.locator("[data-plot] canvas")).to_have_count(2)
    look(visitor, "scan-result")
    assert console.kept_files() == []


def test_what_is_no_log_is_refused_in_one_line(visitor: Watched, tmp_path: Path) -> None:
    visitor.expected.add(400)
    binary = tmp_path / "picture.png"
    binary.write_bytes(b"\x89PNG\0\0\0" * 40)
    visitor.goto("/scan")
    visitor.page.get_by_label("Drop a log file here").set_input_files(binary)
    visitor.page.get_by_role("button", name="Scan").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("the file is not text")
    look(visitor, "scan-refused")
