"""Deliveries to real receivers: signed, in order, again later, given up after 72 hours, and endpoints that are disabled."""

import threading
import uuid
from collections.abc import Iterator
from datetime import time, timedelta

import psycopg
import pytest

from pipeline.alerts import deliveries
from pipeline.alerts.deliveries import FIRST_DELAY, LONGEST_DELAY, delay, deliver_due
from pipeline.alerts.spread import WAITS_FOR_LEDGER, spread_due
from pipeline.tenants import deliveries as log
from pipeline.tenants import endpoints, rules
from schemas.models import Message
from schemas.outbound import BODIES
from tests.integration import receiver as receivers
from tests.integration.alerts_world import SEALING, World, book, world
from tests.integration.api_world import anomaly
from tests.integration.receiver import Receiver, good, status
from tests.stack.database import Database


@pytest.fixture
def one(database: Database) -> Iterator[World]:
    with world(database) as made:
        yield made


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receivers.receiver() as made:
        yield made


def body(request: receivers.Request) -> Message:
    """The body of a request, which must fit its schema."""
    kind = request.said["type"]
    return BODIES[kind].from_bytes(request.body)


def test_an_anomaly_is_told_signed_once_and_in_the_form_of_its_schema(one: World, server: Receiver) -> None:
    o = one.organization()
    hook = one.endpoint(o, server.url("/hook?a=b"))
    one.rule(o, hook, recovery=True, updates=True)
    one.write(anomaly(o, 1), anomaly(o, 2))
    assert one.deliver() == {}  # the ledger may know in a moment that it is not shown
    one.later(seconds=WAITS_FOR_LEDGER.total_seconds())
    assert one.deliver() == {"delivered": 2}
    one.write(anomaly(o, 1, revision=2), anomaly(o, 2, revision=2, open=False))
    one.later(minutes=1)
    assert one.deliver() == {"delivered": 2}
    assert one.deliver() == {}
    told = [(request.said["type"], request.said["data"]["anomaly"]["id"]) for request in server.requests]
    first, second = str(uuid.UUID(int=2)), str(uuid.UUID(int=3))
    assert sorted(told) == [
        ("anomaly.created", first), ("anomaly.created", second), ("anomaly.resolved", second), ("anomaly.updated", first),
    ]  # fmt: skip
    assert hook.secret is not None
    for request in server.requests:
        body(request)
        assert good(request, hook.secret)
        assert request.path == "/hook?a=b"
    assert len({request.id for request in server.requests}) == 4
    assert "Disk FULL" not in "".join(request.body.decode() for request in server.requests)


def test_a_secret_is_rotated_with_overlap_and_then_the_old_one_is_void(one: World, server: Receiver) -> None:
    o = one.organization()
    hook = one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
    fresh = endpoints.rotate_secret(
        one.api, o, hook.endpoint.id, overlap=timedelta(hours=1), sealing=SEALING, by="test", at=one.now
    )
    assert hook.secret is not None
    assert fresh.secret is not None
    for key, hours in (("a", 0.5), ("b", 0.6)):
        one.plan_changes(o, key)
        one.later(hours=hours)
        assert one.deliver() == {"delivered": 1}
    within, after = server.requests
    assert len(within.headers["webhook-signature"].split(" ")) == 2
    assert (good(within, hook.secret), good(within, fresh.secret)) == (True, True)
    assert (good(after, hook.secret), good(after, fresh.secret)) == (False, True)
    kept = str(one.owner.execute("SELECT sealed FROM alert_secrets").fetchall())
    assert hook.secret not in kept


def test_what_fails_is_tried_again_with_the_same_id_and_a_new_time(one: World, server: Receiver) -> None:
    o = one.organization()
    one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
    one.plan_changes(o)
    server.answers += [status(500, b"oops\x1b[2J"), status(429, Retry_After="120"), status(302, Location="/x")]
    seen = []
    for seconds in (0, 9, 1, 20, 110, 40, 0):
        one.later(seconds=seconds)
        seen.append(one.deliver())
    assert seen == [{"failed": 1}, {}, {"failed": 1}, {}, {"failed": 1}, {"delivered": 1}, {}]
    assert len({request.id for request in server.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in server.requests}) == 4
    (delivery,) = log.list_deliveries(one.api, o).items
    found = log.get_delivery(one.api, o, delivery.id)
    assert [(a.number, a.status) for a in found.attempts] == [(4, 204), (3, 302), (2, 429), (1, 500)]
    assert found.attempts[-1].said == "oops [2J"
    assert found.delivery.message_id == server.requests[0].id


def test_a_receiver_that_is_down_for_a_day_gets_everything_in_order_once_it_is_back(
    one: World, server: Receiver
) -> None:
    o = one.organization("ops@acme.test")
    hook = one.endpoint(o, server.url())
    one.rule(o, hook, recovery=True, updates=True)
    server.always = status(503)
    for n in range(20):
        one.write(anomaly(o, n), anomaly(o, n + 100))
        one.later(minutes=36)
        one.deliver()
        one.write(anomaly(o, n, revision=2), anomaly(o, n + 100, revision=2, open=False))
        one.later(minutes=36)
        one.deliver()
    tried = len(server.requests)
    assert 20 <= tried <= 60, "a receiver that is away is asked about once an hour, not once for each that waits"
    assert {state for state, _ in one.states()} == {"pending"}
    server.always = status(204)
    server.requests.clear()
    for _ in range(4):
        one.later(minutes=20)
        one.deliver()
    assert [state for state, _ in one.states()] == ["delivered"] * 80
    assert len({request.id for request in server.requests}) == len(server.requests) == 80
    order: dict[str, list[str]] = {}
    for request in server.requests:
        order.setdefault(request.said["data"]["anomaly"]["id"], []).append(request.said["type"])
    assert len(order) == 40
    for said in order.values():
        assert said[0] == "anomaly.created"
        assert said[1] in {"anomaly.updated", "anomaly.resolved"}
    assert one.owner.execute("SELECT failures, failing_since FROM alert_endpoints").fetchall() == [(0, None)]


def test_after_72_hours_it_is_dead_and_goes_out_again_when_somebody_says_so(one: World, server: Receiver) -> None:
    o = one.organization()
    one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
    one.plan_changes(o)
    server.always = status(500)
    for _ in range(72):
        one.later(hours=1)
        one.deliver()
    (state,) = one.states()
    assert state[0] == "pending"
    one.later(hours=2)
    assert one.deliver() == {"dead": 1}
    assert one.deliver() == {}
    (delivery,) = log.list_deliveries(one.api, o, state="dead").items
    assert delivery.last_error == "500"
    server.always = status(204)
    log.redeliver(one.api, o, delivery.id, by="test", at=one.now)
    assert one.deliver() == {"delivered": 1}
    assert {request.id for request in server.requests} == {delivery.message_id}


def test_an_endpoint_that_takes_nothing_for_days_is_disabled_with_a_notice(one: World, server: Receiver) -> None:
    o = one.organization("ops@acme.test")
    hook = one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
    server.always = status(500, b"broken")
    for day in range(6):
        one.plan_changes(o, f"day {day}")
        one.deliver()
        one.later(days=1, seconds=1)
    found = endpoints.get_endpoint(one.api, o, hook.endpoint.id)
    assert found.disabled_at is not None
    assert "took nothing since 2026-03-09 12:00 UTC" in str(found.disabled_why)
    rows = one.owner.execute("SELECT payload ->> 'said' FROM outbox WHERE kind = 'endpoint.disabled'").fetchall()
    assert rows == [("500 broken",)]
    one.plan_changes(o, "later")
    count = len(server.requests)
    assert one.deliver() == {}
    assert (len(server.requests), {state for state, _ in one.states()}) == (count, {"dead"})
    endpoints.change_endpoint(one.api, o, hook.endpoint.id, enabled=True, by="test", at=one.now)
    server.always = status(204)
    one.plan_changes(o, "again")
    assert one.deliver() == {"delivered": 1}


def test_gone_is_gone_at_once(one: World, server: Receiver) -> None:
    o = one.organization()
    hook = one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
    server.always = status(410)
    one.plan_changes(o)
    one.deliver()
    assert "410" in str(endpoints.get_endpoint(one.api, o, hook.endpoint.id).disabled_why)
    endpoints.remove_endpoint(one.api, o, hook.endpoint.id, by="test", at=one.now)
    one.plan_changes(o, "after")
    assert one.deliver() == {}
    assert one.states() == [("dead", 1)]


def test_an_endpoint_that_refuses_one_body_does_not_hold_up_the_others(one: World, server: Receiver) -> None:
    o = one.organization()
    one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
    server.answers.append(status(400))
    for key in ("a", "b", "c"):
        one.plan_changes(o, key)
    assert one.deliver() == {"failed": 1}
    one.later(seconds=8)
    one.later(seconds=2)
    assert one.deliver() == {"delivered": 3}


def test_what_a_tenant_may_not_see_is_not_told(one: World, server: Receiver) -> None:
    o = one.organization()
    one.rule(o, one.endpoint(o, server.url()))
    one.write(anomaly(o, 1))
    one.owner.execute(
        "INSERT INTO billing_access (organization_id, state, since, deadline_at, first_failed_at)"
        " VALUES (%s, 'suspended', now(), now(), now())",
        (o,),
    )
    one.later(minutes=1)
    assert one.deliver() == {}
    assert one.states() == []
    one.owner.execute("UPDATE billing_access SET state = 'ok'")
    for number, disposition in ((2, "free_withheld"), (3, "billable")):
        one.write(anomaly(o, number))
        book(one.owner, o, number, uuid.UUID(int=number + 1), disposition)
    assert one.deliver() == {"delivered": 1}  # the ledger knows: nothing is waited for
    assert server.requests[0].said["data"]["anomaly"]["id"] == str(uuid.UUID(int=4))


def test_quiet_hours_hold_deliveries_back_until_their_end(one: World, server: Receiver) -> None:
    o = one.organization()
    hook = one.endpoint(o, server.url())
    one.rule(o, hook, quiet_from=time(11), quiet_until=time(14), quiet_zone="UTC", recovery=True)
    one.write(anomaly(o, 1))
    one.write(anomaly(o, 1, revision=2, open=False))
    one.later(hours=1, minutes=59)
    assert one.deliver() == {}
    one.later(minutes=1)
    assert one.deliver() == {"delivered": 2}
    assert [request.said["type"] for request in server.requests] == ["anomaly.created", "anomaly.resolved"]


def test_senders_share_the_deliveries_and_none_is_sent_twice(one: World, server: Receiver) -> None:
    o = one.organization()
    one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
    for number in range(40):
        one.plan_changes(o, str(number))
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with psycopg.connect(one.database.url("driftlock_alerts"), autocommit=True) as connection:
                for _ in range(3):
                    spread_due(connection, one.now)
                    deliver_due(connection, one.senders, lambda: one.now, one.rng)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    one.deliver()
    assert len({request.id for request in server.requests}) == len(server.requests) == 40


def test_only_the_rules_own_endpoints_and_only_the_organizations_are_told(one: World, server: Receiver) -> None:
    o, other = one.organization(), one.organization()
    mine, theirs = one.endpoint(o, server.url("/mine")), one.endpoint(other, server.url("/theirs"))
    one.endpoint(o, server.url("/unused"))
    rule = one.rule(o, mine)
    # However it came there, another organization's endpoint is not this one's.
    one.owner.execute(
        "UPDATE alert_rules SET endpoint_ids = %s WHERE id = %s", ([mine.endpoint.id, theirs.endpoint.id], rule)
    )
    one.write(anomaly(o, 1))
    one.later(minutes=1)
    assert one.deliver() == {"delivered": 1}
    assert [request.path for request in server.requests] == ["/mine"]
    rules.remove_rule(one.api, o, rule, by="test", at=one.now)
    one.write(anomaly(o, 2))
    one.later(minutes=1)
    assert one.deliver() == {}


def test_a_key_that_is_not_there_is_our_fault_and_no_endpoints(one: World, server: Receiver) -> None:
    o = one.organization()
    one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
    one.plan_changes(o)
    keyless = deliveries.Senders(one.senders.outbound, None, (), "", timedelta(days=5))
    spread_due(one.alerts, one.now)
    assert deliver_due(one.alerts, keyless, lambda: one.now, one.rng) == {"failed": 1}
    assert one.owner.execute("SELECT failures, disabled_at FROM alert_endpoints").fetchall() == [(0, None)]
    assert "ALERTS_SECRET_KEY" in str(log.list_deliveries(one.api, o).items[0].last_error)
    one.later(seconds=10)
    assert one.deliver() == {"delivered": 1}


def test_a_name_that_leads_to_a_private_network_is_refused_at_each_attempt(one: World) -> None:
    o = one.organization()
    one.endpoint(o, "https://hooks.example.test/", event_types=["billing.plan_changed"])
    one.plan_changes(o)
    outbound = type(one.senders.outbound)(resolve=lambda _host, _port: ["169.254.169.254"])
    spread_due(one.alerts, one.now)
    private = deliveries.Senders(outbound, None, one.senders.keys, "", timedelta(days=5))
    assert deliver_due(one.alerts, private, lambda: one.now, one.rng) == {"failed": 1}
    assert "not a public one" in str(log.list_deliveries(one.api, o).items[0].last_error)


def test_the_sender_reads_and_writes_no_more_than_it_needs(one: World, server: Receiver) -> None:
    o = one.organization()
    one.rule(o, one.endpoint(o, server.url()))
    one.plan_changes(o)
    for query in (
        "UPDATE alert_endpoints SET shown = 'x'",
        "UPDATE alert_rules SET enabled = false",
        "UPDATE alert_secrets SET sealed = ''",
        "DELETE FROM alert_attempts",
        "SELECT 1 FROM alert_episodes",
        "SELECT 1 FROM ledger",
        "INSERT INTO outbox (organization_id, kind, payload, dedupe_key, created_at) VALUES (gen_random_uuid(), 'usage.threshold', '{}', 'x', now())",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            one.alerts.execute(query.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        one.api.execute("SELECT sealed FROM alert_secrets")


def test_the_log_is_kept_for_thirty_days(one: World, server: Receiver) -> None:
    o = one.organization()
    one.endpoint(o, server.url(), event_types=["billing.plan_changed"])
    for key in ("old", "new", "waits"):
        server.answers.append(status(500 if key == "waits" else 204))
        one.plan_changes(o, key)
        one.deliver()
    for days, seq in ((31, 0), (29, 1), (31, 2)):
        one.owner.execute(
            "UPDATE alert_deliveries SET created_at = now() - %s * interval '1 day'"
            " WHERE id = (SELECT id FROM alert_deliveries ORDER BY seq OFFSET %s LIMIT 1)",
            (days, seq),
        )
    one.alerts.execute(
        "DELETE FROM alert_deliveries WHERE created_at > now() - interval '30 days' OR state = 'pending'"
    )
    assert one.states() == [("delivered", 1), ("delivered", 1), ("pending", 1)]
    assert (deliveries.prune(one.alerts), deliveries.prune(one.alerts)) == (1, 0)
    assert one.states() == [("delivered", 1), ("pending", 1)]
    assert one.owner.execute("SELECT count(*) FROM alert_attempts").fetchall() == [(2,)]


def test_the_wait_doubles_up_to_an_hour(one: World) -> None:
    waits = [delay(n, one.rng) for n in (1, 2, 3, 9, 10, 80)]
    for wait, most in zip(waits, (10, 20, 40, 2_560, 3_600, 3_600), strict=True):
        assert timedelta(seconds=most) * 3 / 4 <= wait <= timedelta(seconds=most)
    assert (timedelta(seconds=10), timedelta(hours=1)) == (FIRST_DELAY, LONGEST_DELAY)
