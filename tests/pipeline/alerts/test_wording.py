"""E-mails: one of each kind, both parts, what is escaped, and what never reaches a header."""

import html
import re
import uuid
from datetime import UTC, datetime
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest

from pipeline.alerts.message import message, sender_of
from pipeline.alerts.wording import MAILED, WORDED, words
from schemas.errors import SettingsError
from schemas.models import BadMessage
from schemas.notices import (
    KINDS,
    AccountExists,
    AccountInvited,
    AccountReset,
    AccountVerify,
    AlarmRinging,
    AnomalyCreated,
    AnomalyResolved,
    AnomalyTold,
    AnomalyUpdated,
    BillingDunning,
    BillingPaymentFailed,
    BillingPlanChanged,
    BillingTrialEnding,
    EndpointDisabled,
    EndpointTest,
    Notice,
    UsageCapReached,
    UsageThreshold,
)

O = uuid.UUID(int=1)  # noqa: E741 - an organization
AT = datetime(2026, 3, 9, 12, tzinfo=UTC)
MS = int(AT.timestamp() * 1000)
HOSTILE = '<b>Bobby & "Co"</b>\r\nBcc: all@example.org'

PERIOD: dict[str, Any] = {
    "organization_id": O,
    "at": MS,
    "used": 35_000,
    "included": 50_000,
    "cap": 60_000,
    "plan": "standard",
    "period_start": MS,
    "period_end": MS + 86_400_000,
    "overage_cents": 123,
}
PAYMENT: dict[str, Any] = {"organization_id": O, "at": MS, "invoice_id": "in_<1>"}
PERSON: dict[str, Any] = {"organization_id": O, "at": MS, "to": "ann@example.org", "token": "t0ken<&"}
TOLD: dict[str, Any] = {
    "organization_id": O, "at": MS, "rule_id": O, "rule": "<night> & day", "held": 2,
    "anomaly": AnomalyTold(
        id=uuid.UUID(int=3), revision=2, stream="web <1>", event_type="log", kind="novelty", severity="high", created_at=MS,
        last_at=MS, count=12_345, open=True, surprisal=1, sentence="`<b>` & *co* is new", detector_version="1",
    ),
}  # fmt: skip
ONE_OF_EACH: list[Notice] = [
    UsageThreshold(alert="percent", threshold=70, full_on="2026-03-12", **PERIOD),
    UsageThreshold(alert="overage", threshold=50_000, full_on=None, **PERIOD),
    UsageThreshold(alert="spend", threshold=500, full_on=None, **PERIOD),
    UsageThreshold(alert="forecast", threshold=100, full_on="2026-03-12", **PERIOD),
    UsageCapReached(mode="soft", **PERIOD),
    UsageCapReached(mode="block", **PERIOD),
    UsageCapReached(mode="soft", **PERIOD | {"plan": "developer"}),
    BillingPaymentFailed(
        amount_due_cents=5_900, currency="usd", attempt=2, next_attempt_at=MS, grace_until=MS, hosted_url="https://x.test/i?a=1&b=2", **PAYMENT
    ),
    BillingPaymentFailed(
        amount_due_cents=1, currency="usd", attempt=1, next_attempt_at=None, grace_until=None, hosted_url="javascript:alert(1)", **PAYMENT
    ),
    *(BillingDunning(was="ok", state=s, until=MS, **PAYMENT) for s in ("ok", "grace", "suspended", "cancelled")),
    AccountVerify(**PERSON),
    AccountExists(**PERSON | {"token": ""}),
    AccountReset(**PERSON),
    AccountInvited(role="member", **PERSON),
    BillingPlanChanged(organization_id=O, at=MS, was="standard", plan="growth", from_at=MS),
    BillingTrialEnding(organization_id=O, at=MS, plan="growth", ends_at=MS),
    AlarmRinging(organization_id=O, at=MS, kind="difference", subject="R4 <x>", said="R4 <x>: 1 here, 2 there", since=MS),
    AnomalyCreated(**TOLD), AnomalyUpdated(**TOLD | {"held": 0}), AnomalyResolved(**TOLD | {"held": 0}),
    EndpointTest(organization_id=O, at=MS, endpoint_id=O, name="ops <1>"),
    EndpointDisabled(organization_id=O, at=MS, endpoint_id=O, name="ops <1>", failing_since=MS, said="500 <html>"),
]  # fmt: skip


def mail(notice: Notice, organization: str = "Acme", console: str = "https://console.test/") -> EmailMessage:
    kind = str(notice.model_dump()["type"])
    return message(
        words(kind, notice.to_bytes()),
        outbox_id=uuid.UUID(int=7),
        organization=organization,
        to="ops@acme.test",
        sender=sender_of("DriftLock <billing@driftlock.test>"),
        at=AT,
        console_url=console,
    )


def parts(made: EmailMessage) -> tuple[str, str]:
    text, page = (made.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert page is not None
    return str(text.get_content()), str(page.get_content())


class Tags(HTMLParser):
    """Whether tags match, and the links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_there_is_one_of_each_kind() -> None:
    assert {n.model_dump()["type"] for n in ONE_OF_EACH} == set(WORDED) == set(KINDS)
    assert set(WORDED) - set(MAILED) == {"anomaly.created", "anomaly.updated", "anomaly.resolved", "endpoint.test"}


@pytest.mark.parametrize("notice", ONE_OF_EACH, ids=lambda n: type(n).__name__)
def test_text_and_html_say_the_same_and_the_html_is_whole(notice: Notice) -> None:
    made = mail(notice)
    text, page = parts(made)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert str(made["Subject"]) in text.splitlines()[0]
    for line in text.split("\n--\n")[0].splitlines():
        stripped = re.sub(r"^[\w ]+: ", "", line).strip()
        assert html.escape(stripped) in page
    assert "$" not in re.sub(r"\$[\d,]+\.\d\d", "", text + page), "a placeholder was left"
    assert made["Message-ID"] == "<00000000-0000-0000-0000-000000000007@driftlock.test>"
    assert made["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("notice", ONE_OF_EACH[:1] + ONE_OF_EACH[7:9], ids=["usage", "https", "javascript"])
def test_what_others_wrote_is_escaped_and_in_no_header(notice: Notice) -> None:
    made = mail(notice, HOSTILE)
    text, page = parts(made)
    assert html.escape(HOSTILE.partition("\r")[0]) in page
    assert "<b>" not in page
    assert "in_<1>" not in page
    assert made["Bcc"] is None
    assert "all@" not in "".join(f"{k}: {v}" for k, v in made.items())
    assert "\nBcc:" not in text
    tags = Tags()
    tags.feed(page)
    assert all(link.startswith("https://") for link in tags.links)


def test_a_link_is_the_console_or_the_invoice_or_none() -> None:
    found = []
    for notice, console in ((ONE_OF_EACH[0], "https://console.test/"), (ONE_OF_EACH[7], ""), (ONE_OF_EACH[0], "")):
        tags = Tags()
        tags.feed(parts(mail(notice, console=console))[1])
        found.append(tags.links)
    assert found == [["https://console.test/usage"], ["https://x.test/i?a=1&b=2"], []]


def test_a_payload_of_another_kind_is_refused() -> None:
    with pytest.raises(BadMessage):
        words("usage.cap_reached", ONE_OF_EACH[0].to_bytes())


@pytest.mark.parametrize("text", ["", "nobody", "a@b@c", "A <a b@c>"])
def test_a_sender_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="MAIL_FROM"):
        sender_of(text)
