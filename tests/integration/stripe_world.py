"""A world for tests of webhooks: one organization on the free plan, the roles' connections, one clock for us and Stripe."""

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from billing import accounts, applier, checkout, stripe_prices, usage, webhooks
from billing import stripe_gateway as gateway
from billing.access import Access, access
from billing.applier import Applier, CrashPoint, Done
from billing.plans import plans
from billing.stripe_objects import Session
from billing.tenant import tenant
from pipeline.embedded.stripe_fake import rejections
from schemas.models import AnomalyUsage, Position
from tests.stack.database import Database
from tests.stack.stripe import FakeStripe

START = datetime(2026, 11, 23, 14, 20, tzinfo=UTC)
SECRET = "whsec_notasecret"  # pragma: allowlist secret
BLOCKS_ID = "blocks-topic-id-000000"
URLS = ("https://app.example/done", "https://app.example/left")


def never(_name: str) -> None:
    """No crash point."""


@dataclass
class StripeWorld:
    """An organization and the connections of the API, the applier, the sender, the sink and the owner."""

    fake: FakeStripe
    stripe: gateway.Connection
    meter: gateway.Meter
    organization_id: UUID
    owner: psycopg.Connection[Any]
    api: psycopg.Connection[Any]
    hooks: psycopg.Connection[Any]
    meter_role: psycopg.Connection[Any]
    sink: psycopg.Connection[Any]
    now: datetime = START
    delivered: set[str] = field(default_factory=set)
    booked: int = 0

    def pass_time(self, by: timedelta) -> None:
        """Move both clocks."""
        self.now += by
        self.fake.move(self.now)

    def given(self, crash: CrashPoint = never) -> Applier:
        """Ours."""
        return Applier(self.hooks, self.stripe, lambda: self.now, random.Random(1), crash)

    def receive(self, event: dict[str, Any], *, secret: str = SECRET) -> bool:
        """Take an event as the receiver does, signed now."""
        body = json.dumps(event)
        header = gateway.sign_webhook(body, secret, int(self.now.timestamp()))
        return webhooks.receive(self.api, body.encode(), header, (SECRET,), self.now)

    def fresh_events(self) -> list[dict[str, Any]]:
        """What the fake recorded and was not delivered yet, oldest first."""
        found = [
            e
            for e in [*self.fake.box.events, *map(rejections.thin, self.fake.box.thin.values())]
            if e["id"] not in self.delivered
        ]
        self.delivered |= {e["id"] for e in found}
        return found

    def deliver(self, events: Sequence[dict[str, Any]] | None = None) -> None:
        """Deliver what is new, or these, in their order."""
        for event in self.fresh_events() if events is None else events:
            self.receive(event)

    def apply(self, crash: CrashPoint = never) -> list[Done]:
        """Apply what is due."""
        done = []
        given = self.given(crash)
        while (one := applier.apply_next(given)) is not None:
            done.append(one)
            if one.became == "down":
                break
        return done

    def settle(self) -> list[Done]:
        """Deliver and apply what is new, and do what the clock brings."""
        self.deliver()
        done = self.apply()
        applier.tick(self.given())
        return done

    def check_out(self, plan: str = "standard", **more: Any) -> Session:
        """The tenant checks out, and pays at Stripe."""
        made = checkout.start(
            self.api,
            self.stripe,
            self.organization_id,
            plan,
            urls=URLS,
            key=f"k{self.now}",
            by="user:1",
            now=self.now,
            **more,
        )
        self.fake.say("checkout/complete", {"id": made.id})
        return made

    def card(self, *, declined: bool) -> None:
        """What the next attempts to collect meet."""
        customer = checkout.account(self.api, self.organization_id).customer_id
        self.fake.say("card", {"customer": customer, "declined": declined})

    def access(self) -> Access:
        """As the API asks."""
        with tenant(self.api, self.organization_id):
            return access(self.api, self.organization_id, self.now)

    def book(self, units: int, at: datetime | None = None) -> None:
        """Enter usage records as the sink does, of episodes that opened at `at`: 10,000 units are the most of a record."""
        arrived = int(self.now.timestamp() * 1000)
        arrivals = []
        for start in range(0, units, 10_000):
            self.booked += 1
            record = AnomalyUsage(
                usage_id=uuid4(),
                organization_id=self.organization_id,
                stream=f"s{self.booked}",
                is_anomaly=True,
                count=min(10_000, units - start),
                calibrated=True,
                occurred_at=int((at or self.now).timestamp() * 1000),
                position=Position(topic_id=BLOCKS_ID, partition=0, frame=self.booked, event=0),
                detector_version="test",
            )
            arrivals.append(usage.Arrival(record, "usage-topic-id-0000000", 0, self.booked, arrived))
        with self.sink.transaction():
            booked = usage.book(self.sink, arrivals, now=arrived)
        assert "rejected" not in booked.fates, booked

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """As the owner."""
        return self.owner.execute(query, values).fetchall()

    def outbox(self) -> list[str]:
        """The kinds of what was told, in order; a step of dunning with its state."""
        return [
            f"{kind}:{state}" if state else kind
            for kind, state in self.rows("SELECT kind, payload->>'state' FROM outbox ORDER BY created_at, kind")
        ]

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything about the organization's money that must not depend on the order of events."""
        queries = {
            "customers": "SELECT id, linked_at, unlinked_at FROM billing_customers ORDER BY id",
            "subscriptions": "SELECT id, plan, plan_version, status, anchor, ended_at, period_start, period_end,"
            " next_plan FROM subscriptions ORDER BY id",
            "periods": "SELECT starts_at, ends_at, plan, subscription_id FROM billing_periods ORDER BY starts_at",
            "invoices": "SELECT id, status, total_cents, amount_due_cents, attempt_count FROM invoices_mirror ORDER BY id",
            "access": "SELECT state, first_failed_at, deadline_at, owed_cents FROM billing_access",
            "told": "SELECT kind, dedupe_key FROM outbox ORDER BY 1, 2",
            "events": "SELECT type, state FROM stripe_events ORDER BY id",
        }
        return {name: self.rows(query) for name, query in queries.items()}


@contextmanager
def stripe_world(database: Database, fake: FakeStripe, start: datetime = START) -> Iterator[StripeWorld]:
    """Prices synced, and an organization that signed up two days before `start`."""
    fake.move(start)
    stripe = fake.connect()
    organization_id = uuid4()
    with (
        psycopg.connect(database.url(), autocommit=True) as owner,
        psycopg.connect(database.url("driftlock_api"), autocommit=True) as api,
        psycopg.connect(database.url("driftlock_webhook"), autocommit=True) as hooks,
        psycopg.connect(database.url("driftlock_meter"), autocommit=True) as meter_role,
        psycopg.connect(database.url("driftlock_sink"), autocommit=True) as sink,
    ):
        meter = stripe_prices.sync_meter(stripe)
        for plan in plans():
            stripe_prices.store(owner, plan, stripe_prices.sync_plan(stripe, meter, plan), start, livemode=False)
        owner.execute("INSERT INTO source_topics VALUES ('blocks', %s, now()) ON CONFLICT DO NOTHING", (BLOCKS_ID,))
        accounts.create_organization(owner, organization_id, "Org", start - timedelta(days=2))
        yield StripeWorld(fake, stripe, meter, organization_id, owner, api, hooks, meter_role, sink, start)
