"""The console's pages of alerts on a real database: endpoints, rules, the log; who may, what is shown once, what is escaped."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from dashboards.console.app import build
from dashboards.console.live import Hub
from dashboards.console.parts import Parts
from pipeline.accounts.pools import open_pools
from pipeline.alerts.spread import spread_due
from schemas.settings import load
from tests.dashboards.console.visitor import Visitor
from tests.integration.console_world import World, organization, person
from tests.stack.database import Database

HERE = "/settings/alerts"
HOOK = {"name": "ops <b>", "kind": "webhook", "target": "https://hooks.example.org/<x>"}
RULE = {
    "name": "night", "min_severity": "high", "stream_pattern": "web-*", "kinds": "rate, silence", "recovery": "1",
    "group_by": "kind", "cooldown_seconds": "300", "quiet_from": "22:00", "quiet_until": "07:00",
    "quiet_zone": "Europe/Berlin", "quiet_below": "critical",
}  # fmt: skip


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    environ = {"ACCESS_TOKEN_KEY": "k" * 40, "ALERTS_SECRET_KEY": "a" * 40}
    settings = load({**database.environ(), **environ})
    pools = open_pools(settings, size=4)
    hub = Hub(database.url("driftlock_api"))
    hub.start()
    try:
        announced: list[object] = []
        parts = Parts(pools, b"k" * 40, settings, announced.append, lambda: datetime.now(UTC), hub)
        yield World(database, build(parts), announced, hub)  # type: ignore[arg-type]
    finally:
        hub.stop()
        pools.close()


def send(one: Visitor, path: str, **said: object) -> str:
    """A form of the page of alerts; its answer's text, or where it leads."""
    answer = one.post(f"{HERE}{path}", data={**said, "token": one.token(HERE)})
    assert answer.status_code in {200, 303}, answer.text
    return answer.headers["location"] if answer.status_code == 303 else answer.text


def endpoint_of(one: Visitor) -> str:
    found = re.search(r"/settings/alerts/endpoints/([0-9a-f-]{36})/", one.get(HERE).text)
    assert found is not None
    return found[1]


def rule_of(one: Visitor) -> str:
    found = re.search(r"/settings/alerts/rules/([0-9a-f-]{36})", one.get(HERE).text)
    assert found is not None
    return found[1]


def test_an_endpoint_shows_its_secret_once_is_tested_and_its_log_tells(world: World) -> None:
    ann = person(world, "ann@example.com")
    assert "No endpoint yet" in ann.get(HERE).text
    made = send(ann, "/endpoints", **HOOK, event_type=["usage.threshold", "billing.plan_changed"])
    secret = re.search(r"whsec_[A-Za-z0-9+/=]{44}", made)
    assert secret is not None
    text = ann.get(HERE).text
    assert "whsec_" not in text
    assert "ops &lt;b&gt;" in text
    assert "usage.threshold, billing.plan_changed" in text
    hook = endpoint_of(ann)
    again = re.search(r"whsec_[A-Za-z0-9+/=]{44}", send(ann, f"/endpoints/{hook}/rotate"))
    assert again is not None
    assert again[0] != secret[0]
    log = send(ann, f"/endpoints/{hook}/test")
    assert log == f"{HERE}/deliveries?endpoint={hook}"
    with psycopg.connect(world.database.url("driftlock_alerts"), autocommit=True) as sender:
        spread_due(sender, datetime.now(UTC) + timedelta(minutes=1))
    text = ann.get(log).text
    assert "endpoint.test" in text
    (delivery,) = set(re.findall(r"/settings/alerts/deliveries/([0-9a-f-]{36})", text))
    assert "No attempt yet" in ann.get(f"{HERE}/deliveries/{delivery}").text
    assert send(ann, f"/deliveries/{delivery}") == f"{HERE}/deliveries/{delivery}"
    send(ann, f"/endpoints/{hook}/disable")
    assert "disabled: by a member" in ann.get(HERE).text
    send(ann, f"/endpoints/{hook}/enable")
    send(ann, f"/endpoints/{hook}/remove")
    assert "No endpoint yet" in ann.get(HERE).text
    assert ann.get(f"{HERE}/deliveries?state=dead").status_code == 200
    assert ann.get(f"{HERE}/deliveries?state=x").status_code == 400


def test_a_rule_is_made_changed_muted_and_removed(world: World) -> None:
    ann = person(world, "ann@example.com")
    send(ann, "/endpoints", **HOOK)
    hook = endpoint_of(ann)
    assert send(ann, "/rules", **RULE, endpoint=hook) == HERE
    text = ann.get(HERE).text
    for said in ("high and above", "web-*", "rate, silence", "quiet 22:00 to 07:00 Europe/Berlin", ">night<"):
        assert said in text
    rule = rule_of(ann)
    form = ann.get(f"{HERE}/rules/{rule}").text
    for said in (
        'value="22:00"',
        "<option selected>high</option>",
        'value="Europe/Berlin"',
        "checked> that it is over",
    ):
        assert said in form
    send(ann, f"/rules/{rule}/mute", hours="8")
    assert "muted until" in ann.get(HERE).text
    send(ann, f"/rules/{rule}/save", **RULE | {"name": "day", "quiet_from": "", "quiet_until": ""}, endpoint=hook)
    text = ann.get(HERE).text
    assert ("muted until" in text, "quiet 22" in text, ">day<" in text) == (True, False, True)
    send(ann, f"/rules/{rule}/unmute")
    send(ann, f"/rules/{rule}/disable")
    assert "<td>disabled</td>" in ann.get(HERE).text
    send(ann, f"/rules/{rule}/enable")
    send(ann, f"/rules/{rule}/remove")
    assert "No rule yet" in ann.get(HERE).text


def test_what_does_not_fit_is_told_and_nothing_is_made(world: World) -> None:
    ann = person(world, "ann@example.com")
    send(ann, "/endpoints", **HOOK)
    token, hook = {"token": ann.token(HERE)}, endpoint_of(ann)
    for path, said in (
        ("/endpoints", HOOK | {"target": "http://127.0.0.1/"}), ("/endpoints", HOOK | {"kind": "pigeon"}),
        ("/endpoints", HOOK | {"kind": "email", "target": "bob@example.com"}), ("/rules", RULE),
        ("/rules", RULE | {"endpoint": "x"}), ("/rules", RULE | {"endpoint": hook, "quiet_zone": "Mars"}),
        ("/rules", RULE | {"endpoint": hook, "quiet_from": "x"}), ("/rules", RULE | {"endpoint": hook, "min_severity": "x"}),
        (f"/endpoints/{hook}/destroy", {}),
    ):  # fmt: skip
        assert ann.post(HERE + path, data={**said, **token}).status_code in {400, 404, 422}, said
    assert ann.post(f"{HERE}/endpoints", data=HOOK).status_code == 403  # a form without our token
    text = ann.get(HERE).text
    assert "No rule yet" in text
    assert text.count("hooks.example.org/&lt;x&gt;") == 1


def test_one_organization_reaches_nothing_of_another_and_a_viewer_changes_nothing(world: World) -> None:
    ann = person(world, "ann@example.com")
    send(ann, "/endpoints", **HOOK)
    hook = endpoint_of(ann)
    send(ann, "/rules", **RULE, endpoint=hook)
    rule, anns = rule_of(ann), organization(world)
    bob = person(world, "bob@example.com")
    token = {"token": bob.token(HERE)}
    assert hook not in bob.get(HERE).text
    assert bob.get(f"{HERE}/rules/{rule}").status_code == 404
    for path in (
        f"/endpoints/{hook}/test",
        f"/endpoints/{hook}/rotate",
        f"/endpoints/{hook}/remove",
        f"/rules/{rule}/remove",
    ):
        assert bob.post(HERE + path, data=token).status_code == 404
    assert bob.post(f"{HERE}/rules", data={**RULE, **token, "endpoint": hook}).status_code == 422
    with psycopg.connect(world.database.url()) as owner:
        owner.execute("UPDATE memberships SET role = 'viewer' WHERE organization_id = %s", (anns,))
    text = ann.get(HERE).text
    assert "night" in text
    assert "Remove" not in text
    token = {"token": ann.token("/anomalies")}
    assert ann.post(f"{HERE}/endpoints", data={**HOOK, **token}).status_code == 403
    assert ann.get(f"{HERE}/rules/{rule}").status_code == 403
