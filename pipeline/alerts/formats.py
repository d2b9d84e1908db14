"""Bodies of what is sent to endpoints, by their kind: our webhooks, Slack's, PagerDuty's Events v2. Plain data, no clock.

Slack: api.slack.com/messaging/webhooks. PagerDuty: developer.pagerduty.com, Events API v2.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from pipeline.alerts.wording import Words
from schemas.notices import AnomalyNotice, Notice
from schemas.outbound import BODIES

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
_SEVERITY = {"low": "info", "medium": "warning", "high": "error", "critical": "critical"}
_MOST_SECTION, _MOST_SUMMARY = 2_900, 1_000  # of 3,000 and 1,024 characters that they take


def message_id(outbox_id: UUID) -> str:
    """What names a message at its receiver, the same at every attempt: it drops what it has had."""
    return f"msg_{outbox_id.hex}"


def rfc3339(ms: int) -> str:
    """A time in ms since 1970 as RFC 3339 has it, in UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")


def webhook(kind: str, notice: Notice) -> bytes:
    """The body of our own webhooks: schemas/json/events has the schema of each kind."""
    return BODIES[kind].model_validate({"type": kind, "timestamp": rfc3339(notice.at), "data": notice}).to_bytes()


def slack(words: Words, console_url: str) -> bytes:
    """A message of an incoming webhook: a heading, what is said, its facts, a link. What others wrote is never markup."""
    facts = "\n".join(f"*{_mrkdwn(name)}:* {_mrkdwn(value)}" for name, value in words.facts)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": words.subject[:150], "emoji": False}},
        *(_section(_mrkdwn(text)) for text in words.paragraphs),
    ]
    if facts:
        blocks.append(_section(facts))
    if url := _url(words, console_url):
        blocks.append(_section(f"<{_mrkdwn(url)}|{_mrkdwn(words.link[0])}>"))
    return orjson.dumps({"text": f"{_mrkdwn(words.subject)}: {_mrkdwn(words.paragraphs[0])}", "blocks": blocks})


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_MOST_SECTION]}}


def _mrkdwn(text: str) -> str:
    """Text in which nothing is a link, a mention or a format: Slack's three escapes, and its marks kept apart."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "*_~`":
        escaped = escaped.replace(mark, f"{mark}\u200b")
    return escaped


def _url(words: Words, console_url: str) -> str:
    target = words.link[1]
    if target.startswith("/"):
        return console_url.rstrip("/") + target if console_url else ""
    return target if target.startswith("https://") else ""


def pagerduty(kind: str, notice: Notice, words: Words, routing_key: str, outbox_id: UUID, console_url: str) -> bytes:
    """An event: an anomaly is one incident from its creation to its end, whatever its rules; anything else one of its own."""
    event: dict[str, Any] = {"routing_key": routing_key, "event_action": "trigger", "client": "DriftLock"}
    severity, source, details = "warning", "driftlock", dict(words.facts)
    summary = f"{words.subject}: {words.paragraphs[0]}"
    at, key = notice.at, str(outbox_id)
    if isinstance(notice, AnomalyNotice):
        a = notice.anomaly
        severity, source, at, key = _SEVERITY[a.severity], a.stream, a.created_at, f"{notice.organization_id}/{a.id}"
        event["event_action"] = "resolve" if kind == "anomaly.resolved" else "trigger"
        details["held"] = str(notice.held)
    event["dedup_key"] = key
    event["payload"] = {
        "summary": summary[:_MOST_SUMMARY],
        "source": source,
        "severity": severity,
        "timestamp": rfc3339(at),
        "class": kind,
        "custom_details": details,
    }
    if url := _url(words, console_url):
        event["links"] = [{"href": url, "text": words.link[0]}]
    return orjson.dumps(event)
