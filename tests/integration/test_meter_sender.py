"""The sender on real PostgreSQL and the fake Stripe over HTTP: ledger = hours sent = Stripe, whatever happens between."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from billing import accounts, usage
from billing import stripe_gateway as gateway
from billing.meter import Report, send_due_hours, waiting
from billing.plans import latest
from billing.reconcile import Reconciliation, reconcile, reopen
from billing.stripe_prices import sync_meter, sync_plan
from pipeline.embedded import process
from schemas.models import AnomalyUsage, Position
from tests.stack.database import Database
from tests.stack.stripe import KEY, FakeStripe

FIRST = datetime(2026, 11, 23, 6, tzinfo=UTC)
START = datetime(2026, 11, 23, 14, tzinfo=UTC)
BLOCKS_ID = "blocks-topic-id-000000"


@dataclass
class World:
    """Seeded organizations, the roles' connections, one clock for us and for Stripe."""

    fake: FakeStripe
    sink: psycopg.Connection[Any]
    meter_role: psycopg.Connection[Any]
    stripe: gateway.Connection
    meter: gateway.Meter
    customers: dict[UUID, str]
    now: datetime = START
    booked: int = 0
    truth: dict[tuple[str, datetime], int] = field(default_factory=dict)

    def book(self, organization_id: UUID, hour: datetime, units: int, *, calibrated: bool = True) -> None:
        """Enter a usage record as the sink does."""
        self.booked += 1
        record = AnomalyUsage(
            usage_id=uuid4(),
            organization_id=organization_id,
            stream=f"s{self.booked}",
            is_anomaly=True,
            count=units,
            calibrated=calibrated,
            occurred_at=int(hour.timestamp() * 1000) + 61_000,
            position=Position(topic_id=BLOCKS_ID, partition=0, frame=self.booked, event=0),
            detector_version="test",
        )
        at = int(self.now.timestamp() * 1000)
        arrival = usage.Arrival(record, "usage-topic-id-0000000", 0, self.booked, at)
        with self.sink.transaction():
            booked = usage.book(self.sink, [arrival], now=at)
        assert "rejected" not in booked.fates, booked
        if calibrated:
            key = (self.customers[organization_id], hour)
            self.truth[key] = self.truth.get(key, 0) + units

    def pass_time(self, by: timedelta) -> None:
        """Move both clocks."""
        self.now += by
        self.fake.move(self.now)

    def send(self, crash: Any = lambda _name: None) -> Report:
        """One pass of the sender."""
        return send_due_hours(
            self.meter_role, self.stripe, self.meter, lambda: self.now, random.Random(self.booked), crash
        )

    def compare(self) -> Reconciliation:
        """All hours of the last two days."""
        until = self.now.replace(minute=0, second=0)
        return reconcile(self.meter_role, self.stripe, self.meter, until - timedelta(hours=48), until)

    def settle(self) -> None:
        """Without faults, pass after pass until nothing waits; then Stripe must equal what was booked, hour by hour."""
        self.fake.heal()
        for _ in range(400):
            self.send()
            if waiting(self.meter_role, self.now)[0] == 0:
                break
            self.pass_time(timedelta(minutes=2))
        assert waiting(self.meter_role, self.now) == (0, None)
        self.pass_time(timedelta(minutes=30))
        self.assert_equal()

    def assert_equal(self) -> None:
        found = self.compare()
        assert found.differences == ()
        ours = [h for h in found.hours if h.customer_id in self.customers.values()]
        assert {(h.customer_id, h.hour): h.stripe for h in ours if h.stripe} == self.truth
        assert sum(h.ledger for h in ours) == sum(self.truth.values())


@pytest.fixture
def world(database: Database, fake_stripe: FakeStripe) -> Iterator[World]:
    """Two organizations whose standard subscriptions began 24 hours ago."""
    with make_world(database, fake_stripe) as made:
        yield made


class Died(BaseException):
    """The sender is gone at a crash point."""


class make_world:  # noqa: N801 - a context manager
    """Seed and connect; a fresh world on the same database has other organizations and customers."""

    def __init__(self, database: Database, fake: FakeStripe, organizations: int = 2, start: datetime = START) -> None:
        self.database, self.fake, self.organizations, self.start = database, fake, organizations, start

    def __enter__(self) -> World:
        self.fake.heal()
        self.fake.move(self.start - timedelta(hours=24))
        stripe = self.fake.connect()
        meter = sync_meter(stripe)
        prices = sync_plan(stripe, meter, latest("standard"))
        customers = {}
        with psycopg.connect(self.database.url(), autocommit=True) as owner:
            owner.execute("UPDATE meter_hours SET state = 'frozen'")  # of an earlier world
            owner.execute("INSERT INTO source_topics VALUES ('blocks', %s, now()) ON CONFLICT DO NOTHING", (BLOCKS_ID,))
            for organization_id in (uuid4() for _ in range(self.organizations)):
                customer = gateway.ensure_customer(stripe, str(organization_id), "Org")
                subscription = gateway.ensure_subscription(stripe, customer, prices)
                accounts.seed(
                    owner,
                    organization_id,
                    name="Org",
                    customer_id=customer,
                    subscription_id=subscription.id,
                    plan="standard",
                    began_at=datetime.fromtimestamp(subscription.anchor, UTC),
                )
                customers[organization_id] = customer
        self.fake.move(self.start)
        self.connections = [
            psycopg.connect(self.database.url(role), autocommit=True) for role in ("driftlock_sink", "driftlock_meter")
        ]
        return World(self.fake, *self.connections, stripe, meter, customers, self.start)

    def __exit__(self, *_: object) -> None:
        for connection in self.connections:
            connection.close()


def test_the_hours_that_are_over_are_sent_once(world: World) -> None:
    a, b = world.customers
    world.book(a, FIRST, 7)
    world.book(a, FIRST, 3)
    world.book(b, FIRST + timedelta(hours=1), 4)
    world.book(b, FIRST + timedelta(hours=2), 9, calibrated=False)
    world.book(a, START, 100)
    assert world.send() == Report(sent=2)
    assert world.send() == Report()
    del world.truth[world.customers[a], START]
    world.assert_equal()
    world.truth[world.customers[a], START] = 100
    world.pass_time(timedelta(hours=1))
    assert world.send() == Report(sent=1)
    world.assert_equal()


def test_an_hour_that_changes_is_sent_again(world: World) -> None:
    a, _ = world.customers
    for units in (7, 3, 5):
        world.book(a, FIRST, units)
        assert world.send() == Report(sent=1)
        world.assert_equal()


FAULT = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(("drop", "drop_applied", "drop_late", "error", "error_applied", "rate_limit")),
        "left": st.integers(1, 3),
        "late": st.integers(0, 600),
        "path": st.sampled_from(("/v1/", "/v1/billing/meter_events")),
    }
)
STEP = st.one_of(
    st.tuples(st.just("book"), st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(1, 9))),
    st.tuples(st.just("send"), st.lists(FAULT, max_size=2)),
    st.tuples(st.just("die"), st.sampled_from(("meter:before-send", "meter:after-send-before-mark"))),
    st.tuples(st.just("time"), st.sampled_from((5, 60, 600, 4000))),
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],  # an example takes a second: shrinking one would take minutes
)
@given(steps=st.lists(STEP, min_size=6, max_size=20), newest_by=st.sampled_from(("arrival", "timestamp")))
def test_any_interleaving_of_faults_deaths_and_changes_ends_equal(
    database: Database, fake_stripe: FakeStripe, steps: list[tuple[str, Any]], newest_by: str
) -> None:
    with make_world(database, fake_stripe) as world:
        fake_stripe.say("usage", {"newest_by": newest_by, "lag": 0})
        organizations = list(world.customers)

        def die_at(point: str) -> Any:
            def crash(name: str) -> None:
                if name == point:
                    raise Died

            return crash

        for kind, what in steps:
            if kind == "book":
                world.book(organizations[what[0]], FIRST + timedelta(hours=what[1]), what[2])
            elif kind == "time":
                world.pass_time(timedelta(seconds=what))
            elif kind == "send":
                fake_stripe.say("faults", {"rules": what})
                world.send()
            else:
                with contextlib.suppress(Died):
                    world.send(die_at(what))
        world.settle()


@pytest.mark.parametrize("killed", [False, True])
def test_an_older_request_that_lands_after_a_newer_one_is_overwritten(world: World, killed: bool) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    world.fake.fail("drop_late", left=1, late=300, path="/v1/billing/meter_events")

    def die(name: str) -> None:
        if killed and name == "meter:after-send-before-mark":
            raise Died

    with contextlib.suppress(Died):
        assert world.send(die) == Report(unanswered=1)
    world.book(a, FIRST, 2)
    world.pass_time(timedelta(seconds=10))
    assert world.send() == Report(sent=1)
    world.assert_equal()
    world.pass_time(timedelta(seconds=300))
    assert [(h.ledger, h.stripe) for h in world.compare().differences] == [(7, 5)]
    world.settle()
    assert world.meter_role.execute("SELECT version, state FROM meter_hours").fetchall() == [(3, "confirmed")]


def test_a_request_that_lands_hours_late_is_found_by_reconciling(world: World) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    world.fake.fail("drop_late", left=1, late=4 * 3600, path="/v1/billing/meter_events")
    assert world.send().unanswered == 1
    world.book(a, FIRST, 2)
    world.settle()
    world.pass_time(timedelta(hours=4))
    found = world.compare()
    assert [(h.ledger, h.stripe) for h in found.differences] == [(7, 5)]
    assert reopen(world.meter_role, found.differences, world.now) == 1
    world.settle()


def test_stripe_down_for_thirty_hours_costs_few_requests_and_nothing_else(world: World) -> None:
    a, b = world.customers
    world.fake.fail("drop", until=int((world.now + timedelta(hours=30)).timestamp()))
    world.fake.http.delete("/_fake/requests")
    for n in range(120):
        if n % 12 == 0:
            world.book(a, world.now.replace(minute=0) - timedelta(hours=1), n + 1)
            world.book(b, world.now.replace(minute=0) - timedelta(hours=1), 1)
        world.send()
        world.pass_time(timedelta(minutes=15))
    assert len(world.fake.box.log) <= 400
    world.settle()


def test_429_waits_and_is_no_doubt(world: World) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    world.fake.fail("rate_limit", left=1)
    assert world.send() == Report(busy=1)
    assert world.send() == Report()  # not before the back-off is over
    world.pass_time(timedelta(seconds=3))
    assert world.send() == Report(sent=1)
    assert world.meter_role.execute("SELECT DISTINCT state FROM meter_hours").fetchall() == [("sent",)]


def test_a_refusal_is_kept_and_tried_an_hour_later(world: World) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    world.fake.form("POST", f"/v1/billing/meters/{world.meter.id}/deactivate")
    assert world.send() == Report(refused=1)
    (said,) = world.meter_role.execute("SELECT last_error FROM meter_hours").fetchall()
    assert "No active meter" in said[0]
    assert world.send() == Report()
    world.fake.form("POST", f"/v1/billing/meters/{world.meter.id}/reactivate")
    world.pass_time(timedelta(hours=1))
    assert world.send() == Report(sent=1)
    world.assert_equal()


def test_three_silences_in_a_row_end_the_pass(database: Database, fake_stripe: FakeStripe) -> None:
    with make_world(database, fake_stripe, organizations=5) as world:
        for organization_id in world.customers:
            world.book(organization_id, FIRST, 5)
        world.fake.fail("drop")
        assert world.send() == Report(unanswered=3, down=True)
        world.settle()


def test_one_request_in_flight_per_customer(world: World, database: Database) -> None:
    a, _ = world.customers
    world.book(a, FIRST, 5)
    inner: list[Report] = []

    def second_sender(name: str) -> None:
        if name == "meter:before-send":
            with psycopg.connect(database.url("driftlock_meter"), autocommit=True) as other:
                inner.append(send_due_hours(other, world.stripe, world.meter, lambda: world.now, random.Random(1)))

    assert world.send(second_sender) == Report(sent=1)
    assert inner == [Report(held_elsewhere=1)]


def test_the_other_mode_is_refused_and_so_is_a_transaction(world: World, database: Database) -> None:
    live = gateway.Connection(world.stripe.client, livemode=True)
    with pytest.raises(gateway.LiveModeMismatch):
        send_due_hours(world.meter_role, live, world.meter, lambda: world.now, random.Random(1))
    with psycopg.connect(database.url("driftlock_meter")) as closed, pytest.raises(ValueError, match="autocommit"):
        send_due_hours(closed, world.stripe, world.meter, lambda: world.now, random.Random(1))


def run_meter(world: World, database: Database, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    given = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL_METER": database.url("driftlock_meter"),
        "STRIPE_API_KEY": KEY,
        "STRIPE_API_BASE": world.fake.url,
        **environ,
    }
    argv = [sys.executable, "-m", "pipeline.cli", *words]
    root = Path(__file__).parents[2]
    return subprocess.run(argv, env=given, cwd=root, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("point", ["meter:before-send", "meter:after-send-before-mark", "meter:before-send:2"])
def test_a_killed_sender_sends_nothing_twice(world: World, database: Database, point: str) -> None:
    a, b = world.customers
    world.book(a, FIRST, 5)
    world.book(b, FIRST, 6)
    once = ("meter", "run", "--once", "--at", f"{world.now:%Y-%m-%dT%H:%M:%S}Z")
    killed = run_meter(world, database, *once, DRIFTLOCK_CRASH_AT=point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    again = run_meter(world, database, *once)
    assert again.returncode == 1, again.stderr  # the doubtful hour waits to be read twice
    assert "Traceback" not in again.stderr
    world.settle()
    done = run_meter(world, database, *once)
    assert (done.returncode, done.stdout.count("waiting 0")) == (0, 1)


def test_bad_settings_are_one_line_and_exit_2(world: World, database: Database) -> None:
    cases = [
        {"STRIPE_API_KEY": "sk_live_notasecret"},
        {"STRIPE_API_KEY": "notasecret"},
        {"DATABASE_URL_METER": "postgresql://driftlock_meter@127.0.0.1:9/x"},
        {"DATABASE_URL_METER": ""},
    ]
    for n, environ in enumerate(cases):
        ended = run_meter(world, database, "meter", "run", *(["--once"] * (n % 2)), **environ)
        lines = [line for line in ended.stderr.splitlines() if not line.startswith("{")]
        assert (ended.returncode, len(lines)) == (2, 1), ended.stderr
        assert "notasecret" not in ended.stderr


def test_prices_are_synced_and_totals_read_back_by_command(world: World, database: Database) -> None:
    a, _ = world.customers
    synced = run_meter(world, database, "stripe", "sync-prices")
    assert (synced.returncode, synced.stdout.count("\n")) == (0, 6), synced.stderr
    back = ("stripe", "read-back", "--at", f"{world.now:%Y-%m-%dT%H:%M:%S}Z")
    world.book(a, FIRST, 5)
    differs = run_meter(world, database, *back)
    assert (differs.returncode, "differs" in differs.stdout) == (1, True), differs.stderr
    world.send()
    equal = run_meter(world, database, *back)
    assert (equal.returncode, equal.stdout.splitlines()[-1]) == (0, "ledger 5 units, Stripe 5 units"), equal.stderr


def test_the_loop_sends_what_is_over_and_stops_when_it_is_told(
    database: Database, fake_stripe: FakeStripe, tmp_path: Path
) -> None:
    present = datetime.now(UTC).replace(microsecond=0)
    with make_world(database, fake_stripe, organizations=1, start=present) as world:
        (a,) = world.customers
        world.book(a, present.replace(minute=0, second=0) - timedelta(hours=2), 5)
        given = {"DATABASE_URL_METER": database.url("driftlock_meter"), "STRIPE_API_KEY": KEY}
        child = process.start(
            "meter",
            [sys.executable, "-m", "pipeline.cli", "meter", "run"],
            log=tmp_path / "meter.log",
            env={"PATH": os.environ["PATH"], "STRIPE_API_BASE": world.fake.url, **given},
            cwd=Path(__file__).parents[2],
        )
        try:
            process.wait_ready(child, lambda: waiting(world.meter_role, present)[0] == 0, timeout_s=60)
        finally:
            assert process.stop(child) == 0, process.tail(child.log)
        world.assert_equal()
