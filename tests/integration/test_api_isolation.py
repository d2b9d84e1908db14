"""Every route of the API, asked by one organization for another's: nothing is shown and nothing is changed."""

from typing import Any

import psycopg
import pytest
from psycopg import sql

from pipeline.alerts.spread import spread_due
from tests.integration.api_world import World, anomaly, store

MINE, OTHER = "isolation-mine@example.org", "isolation-other@example.org"

# What each route that changes something is sent. A route that is missing here fails the test below.
BODIES: dict[tuple[str, str], Any] = {
    ("post", "/v1/events"): {"secret-of": "mine"},
    ("post", "/v1/logs"): {"resourceLogs": []},
    ("post", "/v1/metrics"): {"resourceMetrics": []},
    ("post", "/v1/traces"): {"resourceSpans": []},
    ("post", "/v1/accounts/sign-up"): {"email": "x", "password": "x" * 12, "name": "x", "organization": "x"},
    ("post", "/v1/accounts/verify"): {"token": "x"},
    ("post", "/v1/accounts/password-reset"): {"email": "x"},
    ("put", "/v1/accounts/password-reset"): {"token": "x", "password": "x" * 12},
    ("put", "/v1/accounts/password"): {"old": "x", "new": "x" * 12},
    ("post", "/v1/sessions"): {"email": "x", "password": "x"},
    ("post", "/v1/sessions/refresh"): {"token": "x"},
    ("post", "/v1/sessions/switch"): {"organization_id": "{organization}"},
    ("delete", "/v1/sessions/current"): None,
    ("delete", "/v1/sessions"): None,
    ("post", "/v1/invitations/look"): {"token": "x"},
    ("post", "/v1/invitations/accept"): {"token": "x", "password": "x" * 12},
    ("put", "/v1/anomalies/{anomaly_id}"): {"status": "false_positive"},
    ("patch", "/v1/streams/{stream}"): {"paused": True},
    ("post", "/v1/streams/{stream}/anchor"): None,
    ("delete", "/v1/streams/{stream}"): None,
    ("patch", "/v1/organization"): {"name": "theirs", "sensitivity": 0.1},
    ("post", "/v1/keys"): {"name": "theirs", "scopes": ["anomalies:read"]},
    ("post", "/v1/keys/{key_id}/rotate"): {},
    ("delete", "/v1/keys/{key_id}"): None,
    ("put", "/v1/members/{user_id}"): {"role": "viewer"},
    ("delete", "/v1/members/{user_id}"): None,
    ("post", "/v1/invitations"): {"email": "third@example.org", "role": "viewer"},
    ("delete", "/v1/invitations/{invitation_id}"): None,
    ("post", "/v1/billing/checkout"): {"plan": "standard"},
    ("post", "/v1/billing/portal"): None,
    ("put", "/v1/billing/plan"): {"plan": "growth"},
    ("put", "/v1/billing/cap"): {"mode": "allow"},
    ("put", "/v1/billing/email"): {"email": "theirs@example.org"},
    ("post", "/v1/alerts/endpoints"): {"name": "theirs", "kind": "webhook", "target": "https://theirs.example.org/"},
    ("patch", "/v1/alerts/endpoints/{endpoint_id}"): {"name": "theirs", "enabled": False},
    ("delete", "/v1/alerts/endpoints/{endpoint_id}"): None,
    ("post", "/v1/alerts/endpoints/{endpoint_id}/rotate"): {},
    ("post", "/v1/alerts/endpoints/{endpoint_id}/test"): None,
    ("post", "/v1/alerts/rules"): {"name": "theirs", "endpoint_ids": ["{endpoint_id}"]},
    ("put", "/v1/alerts/rules/{rule_id}"): {"name": "theirs", "endpoint_ids": ["{endpoint_id}"]},
    ("delete", "/v1/alerts/rules/{rule_id}"): None,
    ("post", "/v1/alerts/deliveries/{delivery_id}/redeliver"): None,
}
STREAMED = ("get", "/v1/anomalies/stream")


def rows(world: World, organization_id: object) -> dict[str, str]:
    """A digest of everything that an organization has, by table."""
    with psycopg.connect(world.database.url()) as root:
        tables = root.execute(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND column_name = 'organization_id' AND table_name !~ '^anomalies_'"
        ).fetchall()
        found = {}
        for (table,) in tables:
            query = sql.SQL(
                "SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {} t WHERE organization_id = %s"
            )
            row = root.execute(query.format(sql.Identifier(table)), (organization_id,)).fetchone()
            found[table] = row[0] if row else ""
    assert len(found) >= 20
    return found


@pytest.fixture
def marked(api_world: World) -> dict[str, str]:
    """One of everything, of an organization whose texts are all marked."""
    user = api_world.user(MINE)
    organization_id = user.verified.organization_id
    stored = anomaly(
        organization_id,
        7_000,
        stream="marked-stream",
        explanation={"sentence": "marked-sentence", "tokens": [], "event": "marked-event", "nearest_normal": None},
    )
    store(api_world.database, stored)
    headers = api_world.bearer(MINE)
    client = api_world.client
    key = client.post("/v1/keys", json={"name": "marked-key", "scopes": ["events:write"]}, headers=headers).json()
    invitation = client.post("/v1/invitations", json={"email": "marked@example.org", "role": "viewer"}, headers=headers)
    assert client.patch("/v1/streams/marked-stream", json={"paused": True}, headers=headers).status_code == 200
    said = {"name": "marked-hook", "kind": "webhook", "target": "https://marked.example.org/", "event_types": []}
    endpoint = client.post("/v1/alerts/endpoints", json=said, headers=headers).json()["endpoint"]["id"]
    said = {"name": "marked-rule", "endpoint_ids": [endpoint], "stream_pattern": "marked-*"}
    rule = client.post("/v1/alerts/rules", json=said, headers=headers).json()["id"]
    assert client.post(f"/v1/alerts/endpoints/{endpoint}/test", headers=headers).status_code == 202
    with psycopg.connect(api_world.database.url("driftlock_alerts"), autocommit=True) as sender:
        spread_due(sender, api_world.serving.now())
    delivery = client.get("/v1/alerts/deliveries", headers=headers).json()["items"][0]["id"]
    return {
        "organization": str(organization_id),
        "anomaly_id": str(stored.id),
        "stream": "marked-stream",
        "key_id": key["key"]["id"],
        "user_id": str(user.verified.user_id),
        "invitation_id": invitation.json()["id"],
        "endpoint_id": endpoint,
        "rule_id": rule,
        "delivery_id": delivery,
    }


def test_no_route_crosses_organizations(api_world: World, marked: dict[str, str]) -> None:
    before = rows(api_world, marked["organization"])
    paths = api_world.client.get("/openapi.json").json()["paths"]
    operations = [(method, path) for path, methods in paths.items() for method in methods]
    assert len(operations) > 40
    assert [o for o in operations if o[0] != "get" and o not in BODIES] == [], "say what such a route is sent"
    headers = login(api_world)
    secrets = [*marked.values(), "marked", MINE]
    for method, path in operations:
        if (method, path) == STREAMED:
            continue
        body = BODIES.get((method, path))
        if isinstance(body, dict):
            body = {k: _filled(v, marked) for k, v in body.items()}
        answer = api_world.client.request(method, path.format(**marked), json=body, headers=headers)
        assert answer.status_code < 500, (method, path, answer.text)
        if path.startswith("/v1/sessions"):
            headers = login(api_world)  # some of them ended it
        if "{" in path:
            assert answer.status_code == 404, (method, path, answer.text)
        said = answer.text.replace("third@example.org", "")
        shown = [secret for secret in secrets if secret in said]
        # What was asked for by its id may be named in the answer that it is not there.
        assert [s for s in shown if s not in path.format(**marked)] == [], (method, path, answer.text)
    assert rows(api_world, marked["organization"]) == before


def _filled(value: Any, marked: dict[str, str]) -> Any:
    """A value of a body with the other organization's ids in it."""
    if value == "{organization}":
        return marked["organization"]
    return [marked["endpoint_id"]] if value == ["{endpoint_id}"] else value


def login(world: World) -> dict[str, str]:
    """A fresh session of the other organization's owner."""
    from tests.integration.accounts_world import PASSWORD

    world.user(OTHER)
    with psycopg.connect(world.database.url()) as root:
        root.execute("UPDATE login_failures SET failures = 0")
    answer = world.client.post("/v1/sessions", json={"email": OTHER, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['access']}"}


def test_every_route_without_or_with_a_forged_token_is_401(api_world: World, marked: dict[str, str]) -> None:
    document = api_world.client.get("/openapi.json").json()
    good = api_world.bearer(MINE)["Authorization"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "security" not in operation:
                continue
            for token in (None, "Bearer x", f"{good[:-4]}AAAA", "Basic eDp4"):
                headers = {} if token is None else {"Authorization": token}
                body = BODIES.get((method, path))
                answer = api_world.client.request(method, path.format(**marked), json=body, headers=headers)
                assert answer.status_code == 401, (method, path, token, answer.text)
                assert answer.headers["www-authenticate"].startswith("Bearer")
