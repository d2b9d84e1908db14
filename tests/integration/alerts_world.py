"""What tests of alerts share: a tenant with endpoints and rules, the sink that fills the outbox, the sender that empties it."""

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from billing import outbox
from billing.outbox import Letter
from billing.periods import milliseconds
from pipeline.alerts import deliveries, sealed, spread
from pipeline.alerts.deliveries import Senders
from pipeline.alerts.outgoing import Outbound
from pipeline.sinks.anomalies import write
from pipeline.sinks.sink import Record
from pipeline.tenants import endpoints, rules
from pipeline.tenants.endpoints import Address, NewEndpoint, Sealing
from pipeline.tenants.rules import RuleSettings
from schemas.models import Anomaly
from schemas.notices import BillingPlanChanged
from schemas.settings import load
from tests.stack.database import Database

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
MASTER = "an alerts key of forty characters or so!"
KEYS = sealed.keys_of(load({"ALERTS_SECRET_KEY": MASTER}))
SEALING = Sealing(KEYS, allow_loopback=True)


@dataclass
class World:
    """Connections of each role, and a clock that a test sets."""

    database: Database
    owner: psycopg.Connection[Any]
    api: psycopg.Connection[Any]
    sink: psycopg.Connection[Any]
    alerts: psycopg.Connection[Any]
    senders: Senders
    now: datetime = NOW
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def organization(self, email: str | None = None) -> uuid.UUID:
        """An organization."""
        o = uuid.uuid4()
        self.owner.execute(
            "INSERT INTO organizations (id, name, created_at, billing_email) VALUES (%s, 'Acme & Söhne', %s, %s)",
            (o, self.now, email),
        )
        return o

    def endpoint(self, o: uuid.UUID, target: str, kind: Any = "webhook", **said: Any) -> NewEndpoint:
        """An endpoint of it."""
        address = Address(kind, target, said.pop("routing_key", ""))
        return endpoints.create_endpoint(
            self.api, o, "ops", address, said.pop("event_types", ()), sealing=SEALING, by="test", at=self.now
        )

    def rule(self, o: uuid.UUID, *to: NewEndpoint, **said: Any) -> uuid.UUID:
        """A rule of it that tells these."""
        wanted = RuleSettings("r", tuple(made.endpoint.id for made in to), **said)
        return rules.create_rule(self.api, o, wanted, by="test", at=self.now).id

    def write(self, *anomalies: Anomaly) -> None:
        """One batch of the sink, and the ledger's word that they are shown."""
        with self.sink.transaction():
            records = [Record("t", 0, i, 0, None, a.to_bytes()) for i, a in enumerate(anomalies)]
            write(self.sink, records, milliseconds(self.now))

    def plan_changes(self, o: uuid.UUID, key: str = "k") -> None:
        """Something of billing is told."""
        ms = milliseconds(self.now)
        notice = BillingPlanChanged(organization_id=o, at=ms, was="developer", plan="standard", from_at=ms)
        with self.owner.transaction():
            outbox.put(self.owner, [Letter(key, notice)])

    def later(self, **passed: float) -> None:
        """Time passes."""
        self.now += timedelta(**passed)

    def deliver(self) -> dict[str, int]:
        """One pass of the sender."""
        spread.spread_due(self.alerts, self.now)
        done = deliveries.deliver_due(self.alerts, self.senders, lambda: self.now, self.rng)
        return {str(outcome): count for outcome, count in done.items()}

    def states(self) -> list[tuple[str, int]]:
        """(state, attempts) of all deliveries, in their order."""
        return self.owner.execute("SELECT state, attempts FROM alert_deliveries ORDER BY seq").fetchall()


def book(owner: psycopg.Connection[Any], o: uuid.UUID, seq: int, anomaly_id: uuid.UUID, disposition: str) -> None:
    """What the ledger knows of an anomaly, as far as alerts ask."""
    owner.execute("SET session_replication_role = replica")
    owner.execute(
        "INSERT INTO ledger (organization_id, seq, kind, disposition, usage_id, count, units, stream, occurred_at,"
        " arrived_at, recorded_at, meter_hour, period_start, plan, plan_version, blocks_topic_id, blocks_partition,"
        " frame, event, usage_topic_id, usage_partition, usage_offset, detector_version, prev_hash, hash)"
        " VALUES (%s, %s, 'usage', %s, %s, 1, 1, 'web', now(), now(), now(), date_trunc('hour', now()), now(), 'p', 1,"
        " 't', 0, 0, 0, 't', 0, 0, '1', decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'))",
        (o, seq, disposition, anomaly_id),
    )
    owner.execute("SET session_replication_role = origin")


@contextmanager
def world(database: Database, **changed: Any) -> Iterator[World]:
    """A world on a database; `changed` of its senders."""
    given = replace(
        Senders(Outbound(allow_loopback=True), None, KEYS, "https://console.test", timedelta(days=5)), **changed
    )
    connect = psycopg.connect
    with (
        connect(database.url(), autocommit=True) as owner,
        connect(database.url("driftlock_api"), autocommit=True) as api,
        connect(database.url("driftlock_sink"), autocommit=True) as sink,
        connect(database.url("driftlock_alerts"), autocommit=True) as alerts,
    ):
        yield World(database, owner, api, sink, alerts, given)
