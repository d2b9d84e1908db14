"""What an e-mail says, by kind of notice: plain texts, escaped later, where they become HTML."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from pipeline.export import dollars
from schemas.notices import (
    KINDS,
    AccountExists,
    AccountInvited,
    AccountReset,
    AccountVerify,
    AlarmRinging,
    AnomalyNotice,
    BillingDunning,
    BillingPaymentFailed,
    BillingPlanChanged,
    BillingTrialEnding,
    EndpointDisabled,
    EndpointTest,
    UsageCapReached,
    UsageThreshold,
)


@dataclass(frozen=True)
class Words:
    """One e-mail. `subject` holds no text of anybody else. `link`: (what it is called, path of the console or https URL)."""

    subject: str
    paragraphs: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    link: tuple[str, str]


def _when(ms: int) -> str:
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms):%d %B %Y, %H:%M} UTC".lstrip("0")


def _period(notice: UsageThreshold | UsageCapReached) -> tuple[tuple[str, str], ...]:
    return (
        ("Plan", notice.plan.capitalize()),
        ("Anomalies this period", f"{notice.used:,} of {notice.included:,} included"),
        ("Cap", "off" if notice.cap is None else f"{notice.cap:,}"),
        ("Overage so far", dollars(notice.overage_cents)),
        ("Period", f"{_when(notice.period_start)} to {_when(notice.period_end)}"),
    )


def _threshold(notice: UsageThreshold) -> Words:
    included = f"the {notice.included:,} anomalies of your plan"
    full = f"At the pace of the last days all of them are used on {notice.full_on}." if notice.full_on else ""
    subject, said = {
        "percent": (
            f"{notice.threshold} % of your included anomalies are used",
            f"You have used {notice.threshold} % of {included} in this period.",
        ),
        "overage": (
            "Your included anomalies are used: overage has begun",
            f"You have used {included}. Each further one costs your plan's overage rate, up to your cap.",
        ),
        "spend": (
            f"Your overage has passed {dollars(notice.threshold)}",
            f"The anomalies over {included} cost {dollars(notice.overage_cents)} so far.",
        ),
        "forecast": (
            "Your included anomalies will be used before the period ends",
            f"You have used {notice.used:,} of {included}.",
        ),
    }[notice.alert]
    paragraphs = (said, full) if full else (said,)
    return Words(subject, paragraphs, _period(notice), ("See your usage", "/usage"))


def _cap(notice: UsageCapReached) -> Words:
    after = {
        "soft": "Detection goes on. Anomalies over the cap are counted and not billed until you raise it.",
        "block": "As you chose, intake over HTTP now answers 429 until you raise the cap or the period ends."
        " What arrives by Kafka is still scored, and not billed.",
    }[notice.mode]
    if notice.plan == "developer":
        after = "Detection goes on. Anomalies over the cap are counted and not shown until the period ends or you choose a plan."
    subject = "Your cap of anomalies is reached"
    said = f"You have used {notice.cap:,} anomalies in this period, as many as your cap admits."
    return Words(subject, (said, after), _period(notice), ("See your usage", "/usage"))


def _payment_failed(notice: BillingPaymentFailed) -> Words:
    amount = f"{dollars(notice.amount_due_cents)} ({notice.currency.upper()})"
    paragraphs = [f"The payment of {amount} failed. Please check your payment method."]
    if notice.grace_until is not None:
        paragraphs.append(
            f"Your anomalies stay visible until {_when(notice.grace_until)}. Detection goes on either way."
        )
    facts = [("Invoice", notice.invoice_id), ("Attempt", str(notice.attempt))]
    if notice.next_attempt_at is not None:
        facts.append(("Tried again", _when(notice.next_attempt_at)))
    link = ("Pay the invoice", notice.hosted_url) if notice.hosted_url else ("Go to billing", "/billing")
    return Words("A payment failed", tuple(paragraphs), tuple(facts), link)


def _dunning(notice: BillingDunning) -> Words:
    until = "" if notice.until is None else f" until {_when(notice.until)}"
    subject, said = {
        "ok": (
            "Your account is in good standing again",
            "Thank you: everything is paid. All your anomalies are visible.",
        ),
        "grace": (
            "Please pay your open invoice",
            f"An invoice is open. Your anomalies stay visible{until}; after that they are kept and not shown.",
        ),
        "suspended": (
            "Your anomalies are hidden until the invoice is paid",
            "Detection and counting go on and your anomalies are kept. They appear as soon as the invoice is paid.",
        ),
        "cancelled": (
            "Your subscription has ended",
            "Your organization is on the free plan now. Its limits hold from here on.",
        ),
    }[notice.state]
    facts = (("Invoice", notice.invoice_id),) if notice.invoice_id else ()
    return Words(subject, (said,), facts, ("Go to billing", "/billing"))


def _plan_changed(notice: BillingPlanChanged) -> Words:
    said = f"Your plan changes from {notice.was.capitalize()} to {notice.plan.capitalize()}."
    facts = (("From", _when(notice.from_at)),)
    return Words("Your plan changes", (said,), facts, ("Go to billing", "/billing"))


def _trial_ending(notice: BillingTrialEnding) -> Words:
    said = f"Your trial of {notice.plan.capitalize()} ends soon. From then on the plan costs its price."
    return Words("Your trial ends soon", (said,), (("Ends", _when(notice.ends_at)),), ("Go to billing", "/billing"))


def _alarm(notice: AlarmRinging) -> Words:
    facts = (("Alarm", f"{notice.kind} {notice.subject}"), ("Since", _when(notice.since)))
    return Words("DriftLock: an alarm about money rings", (notice.said,), facts, ("Go to billing", "/billing"))


def _verify(notice: AccountVerify) -> Words:
    said = "Somebody signed up for DriftLock with this e-mail address. If it was you, confirm it within 24 hours."
    link = ("Confirm your address", f"/verify?token={notice.token}")
    return Words("Confirm your e-mail address", (said, _IGNORE), (("Code", notice.token),), link)


def _exists(_notice: AccountExists) -> Words:
    said = "Somebody signed up for DriftLock with this e-mail address, which has an account already. Log in, or set a new password."
    return Words("You have an account already", (said, _IGNORE), (), ("Log in", "/login"))


def _reset(notice: AccountReset) -> Words:
    said = "Somebody asked for a new password of your account. The link is good once, for an hour, and ends all your sessions."
    link = ("Set a new password", f"/reset?token={notice.token}")
    return Words("Set a new password", (said, _IGNORE), (("Code", notice.token),), link)


def _invited(notice: AccountInvited) -> Words:
    said = f"You are invited to join an organization on DriftLock as {notice.role}. The invitation is good for 7 days."
    link = ("Accept the invitation", f"/invitation?token={notice.token}")
    return Words("You are invited to DriftLock", (said, _IGNORE), (("Code", notice.token),), link)


def _anomaly(notice: AnomalyNotice) -> Words:
    a = notice.anomaly
    subject = {
        "anomaly.created": f"Anomaly of severity {a.severity}",
        "anomaly.updated": f"Anomaly of severity {a.severity} goes on",
        "anomaly.resolved": "Anomaly is over",
    }[str(notice.model_dump()["type"])]
    held = f"{notice.held:,} more of its group were held back since the last one that was told." if notice.held else ""
    facts = (
        ("Stream", a.stream),
        ("Kind", a.kind),
        ("Events", f"{a.count:,}"),
        ("First", _when(a.created_at)),
        ("Last so far" if a.open else "Last", _when(a.last_at)),
        ("Rule", notice.rule),
    )
    paragraphs = (a.sentence, held) if held else (a.sentence,)
    return Words(subject, paragraphs, facts, ("See the anomaly", f"/anomalies/{a.id}"))


def _test(notice: EndpointTest) -> Words:
    said = "This is a test: somebody of your organization tries where its alerts go. Nothing happened."
    return Words(
        "A test of your alerts", (said,), (("Endpoint", notice.name),), ("See your alerts", "/settings/alerts")
    )


def _disabled(notice: EndpointDisabled) -> Words:
    said = (
        "Nothing is sent to one of your alert endpoints any more, because it took nothing for days or said that it is gone."
        " What was not sent is in the log of deliveries, to be sent again. Enable the endpoint once it works."
    )
    facts = (("Endpoint", notice.name), ("Failing since", _when(notice.failing_since)), ("It said", notice.said))
    return Words("An alert endpoint is disabled", (said,), facts, ("See your alerts", "/settings/alerts"))


_IGNORE = "If you do not know what this is about, ignore this e-mail: nothing happens."

_WORDING: Mapping[str, Callable[[Any], Words]] = MappingProxyType(
    {
        "usage.threshold": _threshold,
        "usage.cap_reached": _cap,
        "billing.payment_failed": _payment_failed,
        "billing.dunning": _dunning,
        "billing.plan_changed": _plan_changed,
        "billing.trial_ending": _trial_ending,
        "alarm.ringing": _alarm,
        "account.verify": _verify,
        "account.exists": _exists,
        "account.reset": _reset,
        "account.invited": _invited,
        "endpoint.disabled": _disabled,
        "endpoint.test": _test,
        "anomaly.created": _anomaly,
        "anomaly.updated": _anomaly,
        "anomaly.resolved": _anomaly,
    }
)
WORDED = tuple(_WORDING)
"""Kinds that there are words for."""
MAILED = tuple(kind for kind in WORDED if kind != "endpoint.test" and not kind.startswith("anomaly."))
"""Kinds of the outbox that go out by e-mail, to the organization or a person; others only to endpoints."""


def words(kind: str, payload: bytes) -> Words:
    """The e-mail of a row. `BadMessage` where the payload is not what its kind says."""
    return _WORDING[kind](KINDS[kind].from_bytes(payload))
