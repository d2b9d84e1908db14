"""A new user, from the sign-up to a false positive and the slider, in a real browser on the real product."""

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import Watched, look, watched
from tests.browser.logs import LINES, lines
from tests.browser.stack import Product, running
from tests.integration import receiver as receivers
from tests.integration.sink_process import wait
from tests.stack.fixtures import scratch

EMAIL, PASSWORD = "ann@example.com", "four words nobody knows"  # pragma: allowlist secret
ARRIVAL_MS = 60_000


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    with scratch() as folder, running(folder) as one:
        yield one


def test_from_the_sign_up_to_the_slider(browser: Browser, product: Product, tmp_path: Path) -> None:
    with watched(browser, product.origin) as one:
        _signs_up(one, product)
        command = _gets_a_key(one)
        first = _curl(command.replace(command[command.index("-d ") :], '-d \'{"message": "hello"}\''))
        assert first.startswith("2"), first
        _sees_an_anomaly_arrive(one, command, tmp_path)
        _marks_it_a_false_positive(one)
        _moves_the_slider(one)
        _is_alerted(one)
        _looks_at_everything_else(one)


def _signs_up(one: Watched, product: Product) -> None:
    page = one.page
    one.goto("/")
    page.get_by_role("link", name="Sign up").click()
    look(one, "signup")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Your name").fill("Ann Example")
    page.get_by_label("Organization").fill("Example Shop")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Look at your e-mail")
    look(one, "sent")
    one.goto(product.link(EMAIL))
    look(one, "verify")
    page.get_by_role("button", name="Confirm my e-mail").click()
    expect(page.get_by_role("status")).to_contain_text("Your account is ready")
    look(one, "login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill("a wrong password")
    one.expected.add(401)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Send the first events")


def _gets_a_key(one: Watched) -> str:
    """The command that the page tells, with the key in it."""
    page = one.page
    look(one, "start")
    page.get_by_role("button", name="Make a key").click()
    expect(page.locator("[data-key]")).to_contain_text("dlk_")
    look(one, "start-key")
    command = page.locator("[data-curl]").inner_text()
    assert page.locator("[data-key]").inner_text() in command
    return command


def _curl(command: str) -> str:
    """The status that a curl command gets."""
    said = subprocess.run(
        [*shlex.split(command.replace("\\\n", " ")), "-o", "/dev/null", "-w", "%{http_code}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return said.stdout


def _sees_an_anomaly_arrive(one: Watched, command: str, tmp_path: Path) -> None:
    page = one.page
    page.get_by_role("link", name="Open the feed").click()
    expect(page.locator("#nothing")).to_be_visible()
    look(one, "feed-empty")
    marker = page.evaluate("window.driftlockTest = Math.random()")
    events = tmp_path / "events.ndjson"
    asked = command.replace(command[command.index("-d ") :], f"--data-binary @{events}")
    rows, half = lines(), LINES // 2  # a request takes 10,000 items
    for some in (rows[:half], rows[half:]):
        events.write_bytes(b"".join(orjson.dumps({"stream": "checkout", "message": row}) + b"\n" for row in some))
        assert _curl(asked.replace("application/json", "application/x-ndjson")).startswith("2")
    expect(page.locator("#feed li").first).to_be_visible(timeout=ARRIVAL_MS)
    assert page.evaluate("window.driftlockTest") == marker, "the page was loaded again"
    look(one, "feed")


def _marks_it_a_false_positive(one: Watched) -> None:
    page = one.page
    page.locator("#feed a").first.click()
    expect(page.locator("pre mark").first).to_be_visible()
    expect(page.locator("[data-plot] canvas")).to_have_count(2)
    look(one, "anomaly")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("heading", name="Status: acknowledged")).to_be_visible()
    page.get_by_label("Note").fill("a planned restart")
    page.get_by_role("button", name="False positive").click()
    expect(page.get_by_role("heading", name="Status: false positive")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("Marked as a false positive")
    expect(page.get_by_role("region", name="History")).to_contain_text("a planned restart")
    look(one, "anomaly-false-positive")


def _moves_the_slider(one: Watched) -> None:
    page = one.page
    _goes_to(page, "Settings")
    prediction = page.locator("#prediction")
    before = prediction.inner_text()
    look(one, "settings")
    page.get_by_label("From strict to sensitive").fill("75")
    expect(prediction).to_contain_text("1 in 1,000 events")
    assert prediction.inner_text() != before
    look(one, "settings-moved")
    page.get_by_role("button", name="Save the sensitivity").click()
    expect(page.get_by_label("From strict to sensitive")).to_have_value("75")


def _is_alerted(one: Watched) -> None:
    """An endpoint, its secret, a rule, a test that arrives, and what the log says of it."""
    page = one.page
    with receivers.receiver() as server:
        page.get_by_role("navigation", name="Settings").get_by_role("link", name="Alerts").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Alerts")
        look(one, "alerts-empty")
        page.get_by_label("Name", exact=True).fill("on call")
        page.get_by_label("Address").fill(server.url())
        page.get_by_role("button", name="Make the endpoint").click()
        expect(page.locator("[data-key]")).to_contain_text("whsec_")
        look(one, "alerts-secret")
        page.locator("#rule-name").fill("Checkout at night")
        page.get_by_label("Streams").fill("night-*")  # no stream of this story: only the test may arrive
        page.get_by_label("Quiet from", exact=True).fill("22:00")
        page.get_by_label("until", exact=True).fill("07:00")
        page.get_by_role("button", name="Make the rule").click()
        expect(page.get_by_role("region", name="Rules")).to_contain_text("quiet 22:00 to 07:00 UTC")
        look(one, "alerts")
        page.get_by_role("link", name="Checkout at night").click()
        expect(page.get_by_label("Quiet from", exact=True)).to_have_value("22:00")
        look(one, "alert-rule")
        page.get_by_role("link", name="Alerts").click()
        page.get_by_role("button", name="Test on call").click()
        delivered = page.get_by_role("region", name="Deliveries").get_by_text("delivered", exact=True).first
        wait(lambda: bool(page.reload()) and delivered.is_visible(), 30, "the test's delivery")
        look(one, "deliveries")
        page.get_by_role("region", name="Deliveries").get_by_role("link").click()
        expect(page.get_by_role("region", name="Attempts")).to_contain_text("204")
        look(one, "delivery")
        assert [request.said["type"] for request in server.requests] == ["endpoint.test"]


def _looks_at_everything_else(one: Watched) -> None:
    page = one.page
    for name in ("Streams", "Usage", "Billing"):
        _goes_to(page, name)
        look(one, name.lower())
    expect(page.get_by_role("row", name="Total")).to_contain_text("$0.00")
    _goes_to(page, "Settings")
    for name in ("Keys", "Members", "Audit log"):
        page.get_by_role("navigation", name="Settings").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        look(one, name.lower().replace(" ", "-"))
    page.get_by_role("button", name="Log out", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    one.goto("/anomalies")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def _goes_to(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
