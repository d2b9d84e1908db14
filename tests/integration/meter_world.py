"""A world for tests of the sender: seeded organizations, the roles' connections, one clock for us and for Stripe."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg

from billing import accounts, usage
from billing import stripe_gateway as gateway
from billing import stripe_orders as orders
from billing.meter import Report, send_due_hours, waiting
from billing.plans import latest
from billing.reconcile import Reconciliation, reconcile
from billing.stripe_prices import sync_meter, sync_plan
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

    @contextmanager
    def connect(self, database: Database) -> Iterator[None]:
        """Fresh connections of the roles, after the server was gone."""
        with (
            psycopg.connect(database.url("driftlock_sink"), autocommit=True) as self.sink,
            psycopg.connect(database.url("driftlock_meter"), autocommit=True) as self.meter_role,
        ):
            yield

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
            owner.execute("UPDATE billing_customers SET unlinked_at = now()")
            owner.execute("INSERT INTO source_topics VALUES ('blocks', %s, now()) ON CONFLICT DO NOTHING", (BLOCKS_ID,))
            for organization_id in (uuid4() for _ in range(self.organizations)):
                customer = gateway.ensure_customer(stripe, str(organization_id), "Org")
                subscription = orders.ensure_subscription(stripe, customer, prices)
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
        sink = psycopg.connect(self.database.url("driftlock_sink"), autocommit=True)
        sender = psycopg.connect(self.database.url("driftlock_meter"), autocommit=True)
        self.connections = [sink, sender]
        return World(self.fake, sink, sender, stripe, meter, customers, self.start)

    def __exit__(self, *_: object) -> None:
        for connection in self.connections:
            connection.close()


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
