"""Endpoints, rules and deliveries over HTTP, to a real receiver: what is shown, what is refused, what goes out."""

import random
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from pipeline.alerts import deliveries, spread
from pipeline.alerts.deliveries import Senders
from pipeline.alerts.outgoing import Outbound
from pipeline.tenants.endpoints import Sealing
from tests.integration import receiver as receivers
from tests.integration.api_world import SEALING_KEYS, World, anomaly, store
from tests.integration.receiver import Receiver, good, status

ANN = "alerts-ann@example.org"
HOOK: dict[str, Any] = {"name": "ops", "kind": "webhook", "target": "https://hooks.example.org/"}


@pytest.fixture
def server(api_world: World) -> Iterator[Receiver]:
    before = api_world.serving.sealing
    api_world.serving.sealing = Sealing(SEALING_KEYS, allow_loopback=True)
    with receivers.receiver() as made:
        yield made
    api_world.serving.sealing = before


def ask(world: World, method: str, path: str, body: Any = None, code: int = 200) -> Any:
    answer = world.client.request(method, f"/v1/alerts{path}", json=body, headers=world.bearer(ANN))
    assert answer.status_code == code, answer.text
    return answer.json() if answer.content else None


def deliver(world: World) -> dict[Any, int]:
    """One pass of the sender, ten seconds from now."""
    at = world.serving.now() + timedelta(seconds=10)
    senders = Senders(Outbound(allow_loopback=True), None, SEALING_KEYS, "", timedelta(days=5))
    with psycopg.connect(world.database.url("driftlock_alerts"), autocommit=True) as sender:
        spread.spread_due(sender, at)
        return deliveries.deliver_due(sender, senders, lambda: at, random.Random(1))


def test_from_an_endpoint_to_a_delivery_that_is_sent_again(api_world: World, server: Receiver) -> None:
    made = ask(api_world, "post", "/endpoints", HOOK | {"target": server.url()}, 201)
    hook = made["endpoint"]["id"]
    assert made["secret"].startswith("whsec_")
    rule = ask(api_world, "post", "/rules", {"name": "all", "endpoint_ids": [hook]}, 201)
    assert ask(api_world, "get", f"/rules/{rule['id']}")["settings"]["endpoint_ids"] == [hook]
    for path in ("/endpoints", f"/endpoints/{hook}", "/rules", "/deliveries"):
        assert "whsec_" not in str(ask(api_world, "get", path))

    organization_id = api_world.user(ANN).verified.organization_id
    told = anomaly(organization_id, 8_000)
    store(api_world.database, told)
    ask(api_world, "post", f"/endpoints/{hook}/test", code=202)
    server.answers += [status(500, b"broken"), status(204)]
    assert deliver(api_world) == {"failed": 1}
    (waiting, first) = ask(api_world, "get", "/deliveries")["items"]
    found = ask(api_world, "get", f"/deliveries/{first['id']}")
    assert (found["attempts"][0]["status"], found["attempts"][0]["said"]) == (500, "broken")
    ask(api_world, "post", f"/deliveries/{first['id']}/redeliver", code=202)
    assert sum(deliver(api_world).values()) == 2
    types = {request.said["type"] for request in server.requests}
    assert types == {"anomaly.created", "endpoint.test"}
    assert all(good(request, made["secret"]) for request in server.requests)
    assert [one["state"] for one in ask(api_world, "get", f"/deliveries?endpoint_id={hook}")["items"]] == [
        "delivered"
    ] * 2
    assert ask(api_world, "get", "/deliveries?state=dead")["items"] == []
    page = ask(api_world, "get", "/deliveries?limit=1")
    assert page["items"][0]["id"] == waiting["id"]
    assert ask(api_world, "get", f"/deliveries?limit=1&cursor={page['next_cursor']}")["items"][0]["id"] == first["id"]

    fresh = ask(api_world, "post", f"/endpoints/{hook}/rotate", {"overlap_seconds": 0}, 201)
    assert fresh["secret"] != made["secret"]
    changed = ask(api_world, "patch", f"/endpoints/{hook}", {"enabled": False, "event_types": ["usage.threshold"]})
    assert (changed["disabled_why"], changed["event_types"]) == ("by a member", ["usage.threshold"])
    ask(api_world, "post", f"/endpoints/{hook}/test", code=409)
    ask(api_world, "post", f"/deliveries/{first['id']}/redeliver", code=409)
    assert ask(api_world, "patch", f"/endpoints/{hook}", {"enabled": True})["disabled_at"] is None
    ask(api_world, "put", f"/rules/{rule['id']}", {"name": "few", "endpoint_ids": [hook], "min_severity": "critical"})
    ask(api_world, "delete", f"/rules/{rule['id']}", code=204)
    ask(api_world, "get", f"/rules/{rule['id']}", code=404)
    ask(api_world, "delete", f"/endpoints/{hook}", code=204)
    ask(api_world, "get", f"/endpoints/{hook}", code=404)
    trail = api_world.client.get("/v1/audit", headers=api_world.bearer(ANN)).text
    for action in (
        "endpoint.create",
        "endpoint.rotate",
        "rule.set",
        "rule.remove",
        "delivery.redeliver",
        "endpoint.remove",
    ):
        assert action in trail
    assert "whsec_" not in trail


@pytest.mark.parametrize(
    "changed",
    [
        {"target": "http://hooks.example.org/"}, {"target": "https://127.0.0.1/"}, {"target": "https://[::1]/"},
        {"target": "https://169.254.169.254/latest/meta-data"}, {"target": "https://u:p@example.org/"}, {"target": ""},
        {"name": "a\u0007"}, {"event_types": ["anomaly.created"]}, {"event_types": ["x"]}, {"kind": "pigeon"},
        {"kind": "pagerduty", "target": ""}, {"kind": "pagerduty", "target": "", "routing_key": "short"},
        {"kind": "email", "target": "victim@example.org"}, {"kind": "email", "target": "nobody"}, {"more": 1},
        {"kind": "slack", "target": "http://10.0.0.1/"},
    ],
)  # fmt: skip
def test_an_endpoint_that_is_not_one_is_refused(api_world: World, changed: dict[str, Any]) -> None:
    ask(api_world, "post", "/endpoints", HOOK | changed, 422)


def test_a_member_a_pager_and_a_chat_are_endpoints_and_none_shows_a_secret(api_world: World) -> None:
    for said, shown in (
        ({"kind": "email", "target": ANN}, ANN),
        ({"kind": "pagerduty", "target": "", "routing_key": "R" * 32}, "https://events.pagerduty.com/v2/enqueue"),
        ({"kind": "slack", "target": "https://hooks.slack.com/services/T/B/secret"}, "https://hooks.slack.com/…"),
    ):
        made = ask(api_world, "post", "/endpoints", HOOK | said, 201)
        assert (made["endpoint"]["shown"], made["secret"]) == (shown, None)
        ask(api_world, "post", f"/endpoints/{made['endpoint']['id']}/rotate", {}, 422)
        ask(api_world, "delete", f"/endpoints/{made['endpoint']['id']}", code=204)


@pytest.mark.parametrize(
    "changed",
    [
        {"endpoint_ids": []}, {"endpoint_ids": [str(uuid.UUID(int=9))]}, {"min_severity": "worst"}, {"group_by": "day"},
        {"cooldown_seconds": -1}, {"cooldown_seconds": 10**9}, {"kinds": [""]}, {"kinds": ["x"] * 21}, {"stream_pattern": ""},
        {"quiet_from": "22:00"}, {"quiet_from": "22:00", "quiet_until": "07:00", "quiet_zone": "Mars/Olympus"},
        {"quiet_from": "22:00", "quiet_until": "07:00", "quiet_zone": "../../etc/passwd"},
        {"quiet_from": "22:00", "quiet_until": "07:00", "quiet_zone": "/etc/passwd"},
        {"quiet_from": "22:00", "quiet_until": "07:00", "quiet_zone": "Europe"},
        {"quiet_from": "22:00+01:00", "quiet_until": "07:00", "quiet_zone": "UTC"}, {"muted_until": "2026-01-01T00:00:00"},
        {"muted_until": "0001-01-01T00:00:00Z"}, {"name": "x\u2028y"},
    ],
)  # fmt: skip
def test_a_rule_that_is_not_one_is_refused(api_world: World, changed: dict[str, Any]) -> None:
    made = ask(api_world, "post", "/endpoints", HOOK, 201)["endpoint"]["id"]
    ask(api_world, "post", "/rules", {"name": "r", "endpoint_ids": [made]} | changed, 422)
    ask(api_world, "delete", f"/endpoints/{made}", code=204)


def test_without_a_key_no_secret_is_taken(api_world: World) -> None:
    before = api_world.serving.sealing
    api_world.serving.sealing = Sealing(())
    try:
        ask(api_world, "post", "/endpoints", HOOK, 409)
        made = ask(api_world, "post", "/endpoints", HOOK | {"kind": "email", "target": ANN}, 201)
        ask(api_world, "delete", f"/endpoints/{made['endpoint']['id']}", code=204)
    finally:
        api_world.serving.sealing = before
