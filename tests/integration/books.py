"""What tests of the books share: a migrated database with a connection per role, organizations, usage that is booked."""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from billing import accounts, ledger
from billing.usage import Arrival, book
from schemas.models import AnomalyUsage, Position
from tests.stack.database import Database, migrate
from tests.stack.fixtures import fresh_database
from tests.stack.providers import Server

Connection = psycopg.Connection[Any]
HOUR_MS = 3_600_000
BEGAN = datetime(2026, 3, 2, 10, 37, tzinfo=UTC)
"""When subscriptions begin: the hour from 10:00 on belongs to the plan before."""
SIGNED_UP = datetime(2026, 2, 10, 8, 20, tzinfo=UTC)
FIRST = datetime(2026, 3, 2, 11, tzinfo=UTC)
"""The first whole hour of a subscription."""


def ms(at: datetime) -> int:
    """Milliseconds since 1970."""
    return int(at.timestamp() * 1000)


@dataclass
class Books:
    """A database, and connections of the owner, the sink and the jobs."""

    database: Database
    owner: Connection
    sink: Connection
    jobs: Connection
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def sign_up(self, at: datetime = SIGNED_UP) -> uuid.UUID:
        """An organization on plan developer."""
        made = uuid.uuid4()
        accounts.create_organization(self.owner, made, "x", at)
        return made

    def subscribed(self, plan: str = "standard", at: datetime = BEGAN) -> uuid.UUID:
        """An organization that signed up long before and subscribed."""
        made = self.sign_up(min(SIGNED_UP, at - timedelta(days=3)))
        self.subscribe(made, plan, at)
        return made

    def subscribe(self, organization: uuid.UUID, plan: str, at: datetime) -> None:
        """Subscribe an organization."""
        accounts.subscribe(
            self.owner,
            organization,
            customer_id=f"cus_{organization}",
            subscription_id=f"sub_{organization}",
            plan=plan,
            began_at=at,
        )

    def record(self, organization: uuid.UUID, at: datetime, count: int = 1, **other: Any) -> AnomalyUsage:
        """A usage record that was not said before."""
        position = Position(topic_id="B", partition=0, frame=next(self.numbers), event=0)
        return AnomalyUsage.model_validate(
            {
                "usage_id": uuid.uuid4(),
                "organization_id": organization,
                "stream": "app",
                "is_anomaly": True,
                "count": count,
                "calibrated": True,
                "occurred_at": ms(at),
                "position": position,
                "detector_version": "1",
            }
            | other
        )

    def use(
        self, organization: uuid.UUID, units: int, at: datetime = FIRST, later: timedelta = timedelta(seconds=1)
    ) -> list[uuid.UUID]:
        """Book so many units in one batch; the ids of the records."""
        counts = [10_000] * (units // 10_000) + ([units % 10_000] if units % 10_000 else [])
        records = [self.record(organization, at, count) for count in counts]
        self.write(records, later)
        return [record.usage_id for record in records]

    def write(
        self, records: list[AnomalyUsage], later: timedelta = timedelta(seconds=1), sink: Connection | None = None
    ) -> None:
        """Book records as they are; all must be taken."""
        wait = ms(datetime(1970, 1, 1, tzinfo=UTC) + later)
        arrivals = [Arrival(r, "U", 0, i, r.occurred_at + wait) for i, r in enumerate(records)]
        connection = sink or self.sink
        with connection.transaction():
            done = book(connection, arrivals, now=max(a.arrived_at for a in arrivals))
        assert set(done.fates) == {"written"}, done.reasons

    def entries(self, organization: uuid.UUID, columns: str) -> list[tuple[Any, ...]]:
        """Columns of an organization's ledger, in its order."""
        query = f"SELECT {columns} FROM ledger WHERE organization_id = %s ORDER BY seq"
        return self.owner.execute(query.encode(), (organization,)).fetchall()

    def sums(self, organization: uuid.UUID) -> dict[str, int]:
        """Units of usage by disposition, those that are not 0."""
        query = "SELECT disposition, sum(units)::bigint FROM ledger WHERE organization_id = %s AND kind = 'usage' GROUP BY 1"
        return {name: units for name, units in self.owner.execute(query, (organization,)).fetchall() if units}

    def hours(self, organization: uuid.UUID) -> dict[datetime, int]:
        """Totals to be sent, by hour."""
        query = "SELECT hour, units FROM meter_hours WHERE organization_id = %s ORDER BY hour"
        return dict(self.owner.execute(query, (organization,)).fetchall())

    def alerts(self, organization: uuid.UUID) -> list[tuple[str, int, bool]]:
        """(kind, threshold, told), as they were crossed."""
        query = "SELECT kind, threshold, told FROM usage_alerts WHERE organization_id = %s ORDER BY crossed_at, used, threshold"
        return self.owner.execute(query, (organization,)).fetchall()

    def letters(self, organization: uuid.UUID) -> list[tuple[str, dict[str, Any]]]:
        """(kind, payload) of the outbox, in its order."""
        query = "SELECT kind, payload FROM outbox WHERE organization_id = %s ORDER BY created_at, dedupe_key"
        return self.owner.execute(query, (organization,)).fetchall()

    def sound(self, organization: uuid.UUID) -> None:
        """The chain verifies; rollup and hour totals are those of the ledger."""
        assert ledger.verify(self.owner, organization) is None
        rolled = self.owner.execute(
            "SELECT coalesce(sum(billable + adjusted), 0), coalesce(sum(capped), 0), coalesce(sum(entries), 0)"
            " FROM usage_counters WHERE organization_id = %s",
            (organization,),
        ).fetchone()
        booked = self.owner.execute(
            "SELECT coalesce(sum(units) FILTER (WHERE disposition = 'billable'), 0),"
            " coalesce(sum(units) FILTER (WHERE disposition = 'capped'), 0), count(*)"
            " FROM ledger WHERE organization_id = %s",
            (organization,),
        ).fetchone()
        assert rolled == booked
        hours = self.owner.execute(
            "SELECT meter_hour, sum(units) FROM ledger WHERE organization_id = %s AND disposition = 'billable'"
            " AND customer_id IS NOT NULL GROUP BY 1",
            (organization,),
        ).fetchall()
        assert dict(hours) == self.hours(organization)


@contextmanager
def open_books(postgres: Server) -> Iterator[Books]:
    """A migrated database of its own, with its connections."""
    with fresh_database(postgres) as empty:
        database = migrate(postgres, empty.name)
        with (
            psycopg.connect(database.url(), autocommit=True) as owner,
            psycopg.connect(database.url("driftlock_sink"), autocommit=True) as sink,
            psycopg.connect(database.url("driftlock_jobs"), autocommit=True) as jobs,
        ):
            for connection in (owner, sink, jobs):
                connection.execute("SET timezone = 'UTC'")
            owner.execute("INSERT INTO source_topics VALUES ('blocks', 'B', now())")
            yield Books(database, owner, sink, jobs)
