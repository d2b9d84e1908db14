"""Reconciling on real PostgreSQL and the fake Stripe: each of R1 to R6 finds its own difference, rings, holds and releases."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from billing import alarms, differences
from billing import stripe_gateway as gateway
from billing.credits import waive
from billing.differences import Result
from billing.invariants import Log
from billing.meter import ring_old_hours
from tests.integration.stripe_world import StripeWorld, stripe_world
from tests.integration.test_stripe_stories import send
from tests.stack.database import Database
from tests.stack.stripe import FakeStripe

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[StripeWorld]:
    """On standard for three hours, with 7 units an hour that are at Stripe, and their anomalies."""
    with stripe_world(database, fake_stripe) as made:
        made.check_out()
        made.settle()
        for _ in range(3):
            made.pass_time(HOUR)
            made.book(7)
        made.pass_time(HOUR)
        made.settle()
        store_anomalies(made.owner)
        send(made)
        yield made


def store_anomalies(owner: psycopg.Connection[Any]) -> None:
    """An anomaly for each billable entry, at the same place."""
    owner.execute(
        "INSERT INTO anomalies (organization_id, created_at, id, revision, stream, event_type, kind, severity, last_at,"
        " count, open, calibrated, surprisal, extrapolated, reference_n, score_bits, channels, explanation, metrics,"
        " first_event_id, blocks_topic_id, blocks_partition, frame, event, detector_version) SELECT organization_id,"
        " occurred_at, usage_id, 1, stream, 'x', 'x', 'low', occurred_at, 1, false, true, 1, false, 1, 1, '{}', '{}',"
        " '{}', usage_id, blocks_topic_id, blocks_partition, frame, event, 'test' FROM ledger WHERE part = 0"
    )


def compare(world: StripeWorld, kafka: dict[int, Log] | None = None, *, full: bool = True) -> Result:
    return differences.compare(world.meter_role, world.stripe, world.meter, world.now, kafka=kafka, full=full)


def differing(result: Result) -> list[str]:
    return sorted({finding.check for finding in result.findings})


def test_all_is_equal(world: StripeWorld) -> None:
    found = compare(world)
    assert found.findings == ()
    places = {one.check: one.places for one in found.compared}
    assert (places["R2"] >= 1, places["R3"], places["R4"], places["R5"], places["R6"] > 0) == (True, 3, 3, 1, True)
    assert (found.hours.ledger_units, found.hours.stripe_units) == (21, 21)


BREAKS = {
    "R2": "UPDATE usage_counters SET billable = billable + 1 WHERE billable > 0",
    "R3": "UPDATE meter_hours SET units = units + 1, version = version + 1, sent_version = sent_version + 1"
    " WHERE hour = (SELECT min(hour) FROM meter_hours)",
    "R6": "DELETE FROM anomalies",
}


@pytest.mark.parametrize("check", sorted(BREAKS))
def test_a_difference_of_each_kind_is_found(world: StripeWorld, check: str) -> None:
    world.owner.execute(BREAKS[check])
    assert check in differing(compare(world))


def test_r1_counts_what_the_sink_read_and_sees_an_older_database(world: StripeWorld) -> None:
    world.owner.execute("INSERT INTO source_topics VALUES ('usage', 'usage-topic-id-0000000', now())")
    (entries,) = world.rows("SELECT count(DISTINCT usage_offset) FROM ledger")[0]
    world.owner.execute(
        "INSERT INTO sink_offsets (consumer, topic_id, partition, topic, next_offset, owner, written, not_anomaly,"
        " dead_letters, updated_at) VALUES ('sink-usage', 'usage-topic-id-0000000', 0, 'usage', %s, gen_random_uuid(),"
        " %s, 2, 1, now())",
        (entries + 3, entries),
    )
    end = entries + 3
    assert differing(compare(world, {0: Log(0, end, end)})) == []
    assert differing(compare(world, {0: Log(0, end + 9, -1)})) == []  # what was not read yet is no difference
    assert differing(compare(world, {0: Log(0, end + 9, end + 4)})) == ["R1"]  # the database was restored
    assert differing(compare(world, {0: Log(0, end - 1, -1)})) == ["R1"]  # the log was cut
    world.owner.execute("UPDATE sink_offsets SET written = written + 1")
    assert differing(compare(world, full=True)) == ["R1"]


def test_r4_and_r5_see_what_stripe_has_otherwise(world: StripeWorld) -> None:
    customer = world.rows("SELECT customer_id FROM subscriptions")[0][0]
    hour = int((world.now - 2 * HOUR).replace(minute=0).timestamp())
    gateway.send_meter_event(world.stripe, world.meter, customer, 60_000, hour + 59, "somebody else")
    found = compare(world)
    assert differing(found) == ["R4", "R5"]
    assert {f.theirs for f in found.findings} == {60_000, 1001}


def difference(world: StripeWorld) -> None:
    """One in the books, that stays until it is taken back."""
    world.owner.execute("UPDATE usage_counters SET adjusted = adjusted + 1 WHERE billable > 0")


def follow_up(world: StripeWorld) -> int:
    return differences.follow_up(world.meter_role, world.stripe, compare(world), world.now)


def test_it_rings_only_once_it_is_two_hours_old_and_is_told_once(world: StripeWorld) -> None:
    difference(world)
    assert follow_up(world) == 0
    world.pass_time(HOUR)
    assert follow_up(world) == 0
    world.pass_time(HOUR)
    assert follow_up(world) == 1
    assert follow_up(world) == 1
    assert world.outbox().count("alarm.ringing") == 1
    actions = world.rows("SELECT count(*) FROM billing_actions WHERE action = 'alarm.rang'")
    assert actions == [(1,)]
    world.owner.execute("UPDATE usage_counters SET adjusted = adjusted - 1 WHERE billable > 0")
    assert follow_up(world) == 0
    assert alarms.ringing(world.meter_role) == {}


def to_the_draft(world: StripeWorld) -> dict[str, Any]:
    """To a minute after the period's end: its invoice is a draft, and known here."""
    ends = world.rows("SELECT period_end FROM subscriptions")[0][0]
    world.pass_time(ends + timedelta(minutes=1) - world.now)
    world.settle()
    (draft,) = [i for i in world.fake.box.all("invoice") if i["status"] == "draft"]
    return draft


def test_a_known_difference_holds_the_draft_as_soon_as_it_is_made(world: StripeWorld) -> None:
    difference(world)
    follow_up(world)
    draft = to_the_draft(world)
    assert draft["auto_advance"] is False
    assert world.rows("SELECT held_for IS NOT NULL FROM invoices_mirror WHERE id = %s", draft["id"]) == [(True,)]
    world.pass_time(30 * HOUR)
    assert (follow_up(world), draft["status"]) == (1, "draft")
    world.owner.execute("UPDATE usage_counters SET adjusted = adjusted - 1 WHERE billable > 0")
    assert follow_up(world) == 0
    assert draft["auto_advance"] is True
    world.pass_time(2 * HOUR)
    world.settle()
    assert draft["status"] == "paid"
    assert world.rows("SELECT status, held_at FROM invoices_mirror WHERE id = %s", draft["id"]) == [("paid", None)]


def test_a_hold_that_we_died_on_is_known_again_by_stripes_own_event(world: StripeWorld) -> None:
    class Died(BaseException):
        pass

    def die(_name: str) -> None:
        raise Died

    draft = to_the_draft(world)
    world.fake.form("POST", f"/v1/invoices/{draft['id']}", "auto_advance=false")
    difference(world)
    follow_up(world)
    world.pass_time(2 * HOUR)
    with pytest.raises(Died):
        differences.follow_up(world.meter_role, world.stripe, compare(world), world.now, die)
    assert world.rows("SELECT held_at FROM invoices_mirror WHERE id = %s", draft["id"]) == [(None,)]
    world.settle()
    assert world.rows("SELECT held_for FROM invoices_mirror WHERE id = %s", draft["id"]) == [("held at Stripe",)]
    world.owner.execute("UPDATE usage_counters SET adjusted = adjusted - 1 WHERE billable > 0")
    follow_up(world)
    assert (draft["auto_advance"], draft["metadata"]) == (True, {})


def test_a_ringing_difference_holds_a_draft_that_was_there_before(world: StripeWorld) -> None:
    draft = to_the_draft(world)
    # Held by hand at Stripe, so that it is still a draft when the difference rings two hours later.
    world.fake.form("POST", f"/v1/invoices/{draft['id']}", "auto_advance=false")
    difference(world)
    follow_up(world)
    world.pass_time(2 * HOUR)
    assert follow_up(world) == 1
    assert world.rows("SELECT held_at FROM invoices_mirror WHERE id = %s", draft["id"]) == [(world.now,)]


def test_r5_sees_usage_that_came_after_its_periods_invoice_was_final(world: StripeWorld) -> None:
    world.book(50_000)
    ends = world.rows("SELECT period_end FROM subscriptions")[0][0]
    draft = to_the_draft(world)
    send(world)
    assert ("R5" in differing(compare(world)), draft["status"]) == (False, "draft")
    world.pass_time(2 * HOUR)
    world.settle()
    assert draft["status"] == "paid"
    world.book(2_000, ends - 2 * HOUR)  # within the 48 hours: of the period whose invoice is paid
    send(world)
    found = [one for one in compare(world).findings if one.check == "R5"]
    assert [(one.subject, one.ours, one.theirs) for one in found] == [(f"{draft['id']} overage in cents", 202, 2)]
    world.pass_time(71 * HOUR)
    assert "R5" not in differing(compare(world))  # it rang for three days; then it is of the past


def test_r3_sees_a_total_that_is_not_at_stripe_however_old_its_hour_is(world: StripeWorld) -> None:
    world.pass_time(5 * DAY)
    world.fake.form("POST", f"/v1/billing/meters/{world.meter.id}/deactivate")
    usage_id = world.rows("SELECT usage_id FROM ledger ORDER BY seq LIMIT 1")[0][0]
    waive(world.owner, world.organization_id, usage_id, by="op", reason="r", at=world.now)
    send(world)  # refused
    found = [one for one in compare(world).findings if one.check == "R3"]
    assert [(one.ours, one.theirs) for one in found] == [(0, 7)]
    follow_up(world)
    draft = to_the_draft(world)
    assert draft["auto_advance"] is False
    world.pass_time(72 * HOUR)
    follow_up(world)
    assert draft["auto_advance"] is False  # Stripe would bill more than the ledger: a person decides


@pytest.mark.parametrize("more", [False, True])
def test_a_draft_is_let_go_after_72_hours_unless_stripe_would_bill_more(world: StripeWorld, more: bool) -> None:
    difference(world)
    follow_up(world)
    draft = to_the_draft(world)
    world.pass_time(71 * HOUR)
    follow_up(world)
    assert draft["auto_advance"] is False
    if more:
        customer = world.rows("SELECT customer_id FROM subscriptions")[0][0]
        hour = int((world.now - 2 * HOUR).replace(minute=0).timestamp())
        gateway.send_meter_event(world.stripe, world.meter, customer, 60_000, hour + 59, "somebody else")
    world.pass_time(HOUR)
    follow_up(world)
    assert alarms.ringing(world.meter_role)["invoice_held"] == 1
    assert draft["auto_advance"] is not more  # else a person decides


def test_hours_that_stripe_lacks_after_thirty_days_ring(world: StripeWorld) -> None:
    world.fake.form("POST", f"/v1/billing/meters/{world.meter.id}/deactivate")
    world.book(5)
    world.pass_time(29 * DAY)
    send(world)
    assert ring_old_hours(world.meter_role, world.now) == 0
    world.pass_time(2 * DAY)
    assert ring_old_hours(world.meter_role, world.now) == 1
    assert alarms.ringing(world.meter_role) == {"hour_old": 1}
    world.fake.form("POST", f"/v1/billing/meters/{world.meter.id}/reactivate")
    send(world)
    assert (ring_old_hours(world.meter_role, world.now), alarms.ringing(world.meter_role)) == (0, {})
