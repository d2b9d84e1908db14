"""Bodies for webhooks, Slack and PagerDuty: in the forms that they document, and nobody's text is markup."""

import uuid
from pathlib import Path

import orjson
import pytest

from pipeline.alerts import formats
from pipeline.alerts.wording import words
from schemas.notices import AnomalyCreated, AnomalyResolved, Notice
from schemas.outbound import BODIES, EVENTS
from tests.pipeline.alerts.test_wording import ONE_OF_EACH, TOLD, O

FEATURES = {
    "anomaly.created", "anomaly.updated", "anomaly.resolved", "usage.threshold", "usage.cap_reached",
    "billing.payment_failed", "billing.plan_changed",
}  # fmt: skip
OUTBOUND = [notice for notice in ONE_OF_EACH if notice.model_dump()["type"] in EVENTS]


def kind_of(notice: Notice) -> str:
    return str(notice.model_dump()["type"])


def test_each_type_has_its_schema() -> None:
    folder = Path(__file__).parents[3] / "schemas/json/events"
    assert {path.stem for path in folder.iterdir()} == set(EVENTS) == FEATURES | {"endpoint.test"}
    assert {kind_of(notice) for notice in OUTBOUND} == set(EVENTS)


@pytest.mark.parametrize("notice", OUTBOUND, ids=kind_of)
def test_a_webhook_is_what_its_schema_says(notice: Notice) -> None:
    made = formats.webhook(kind_of(notice), notice)
    said = orjson.loads(made)
    assert set(said) == {"type", "timestamp", "data"}
    assert said["timestamp"] == "2026-03-09T12:00:00.000+00:00"
    assert BODIES[kind_of(notice)].from_bytes(made).to_bytes() == made
    schema = orjson.loads((Path(__file__).parents[3] / f"schemas/json/events/{kind_of(notice)}.json").read_bytes())
    assert schema["properties"]["type"]["const"] == said["type"]


@pytest.mark.parametrize("notice", OUTBOUND, ids=kind_of)
def test_slack_gets_blocks_within_its_bounds_and_no_markup_of_others(notice: Notice) -> None:
    said = orjson.loads(formats.slack(words(kind_of(notice), notice.to_bytes()), "https://console.test"))
    assert said["text"]
    assert said["blocks"][0]["type"] == "header"
    assert len(said["blocks"]) <= 50
    for block in said["blocks"][1:]:
        assert (block["type"], block["text"]["type"]) == ("section", "mrkdwn")
        text = block["text"]["text"]
        assert 0 < len(text) <= 3_000
        assert text.count("<") == text.count(">") == (1 if text.startswith("<https://") else 0)


def test_slack_never_mentions_or_links_what_a_log_line_says() -> None:
    anomaly = TOLD["anomaly"].model_copy(
        update={"sentence": "<!channel> <https://evil.test|pay> *now* `x` & " + "y" * 5_000}
    )
    notice = AnomalyCreated(**TOLD | {"anomaly": anomaly})
    said = formats.slack(words("anomaly.created", notice.to_bytes()), "").decode()
    assert "<" not in said
    assert "&lt;!channel&gt;" in said


def test_pagerduty_opens_an_incident_and_ends_the_same() -> None:
    bodies = []
    for notice in (AnomalyCreated(**TOLD), AnomalyResolved(**TOLD)):
        told = words(kind_of(notice), notice.to_bytes())
        made = formats.pagerduty(kind_of(notice), notice, told, "k" * 32, uuid.uuid4(), "https://console.test/")
        bodies.append(orjson.loads(made))
    opened, ended = bodies
    assert (opened["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == ended["dedup_key"] == f"{O}/{uuid.UUID(int=3)}"
    assert opened["routing_key"] == "k" * 32
    payload = opened["payload"]
    assert (payload["severity"], payload["source"], payload["class"]) == ("error", "web <1>", "anomaly.created")
    assert payload["summary"].startswith("Anomaly of severity high: ")
    assert opened["links"] == [
        {"href": f"https://console.test/anomalies/{uuid.UUID(int=3)}", "text": "See the anomaly"}
    ]


@pytest.mark.parametrize("notice", OUTBOUND, ids=kind_of)
def test_pagerduty_gets_what_it_needs_of_every_type(notice: Notice) -> None:
    outbox_id = uuid.uuid4()
    told = words(kind_of(notice), notice.to_bytes())
    said = orjson.loads(formats.pagerduty(kind_of(notice), notice, told, "k", outbox_id, ""))
    assert 0 < len(said["payload"]["summary"]) <= 1_024
    assert said["payload"]["severity"] in {"critical", "error", "warning", "info"}
    assert len(said["dedup_key"]) <= 255
    assert (said["dedup_key"] == str(outbox_id)) is not kind_of(notice).startswith("anomaly.")
