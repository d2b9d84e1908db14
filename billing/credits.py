"""What changes billable units afterwards: a credit for a false positive, a waiver, a correction.

Each is an entry of the ledger that takes units of one usage record back. While the record's period is open (48 hours after
its end) they leave the total of its hour; after that the tenant gets a credit note. The split never looks at them, so
nothing that was capped becomes billable. Doing the same again changes nothing.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid5

import psycopg

from billing import actions, booking, ledger, plans, rollup, terms
from billing.booking import GRACE_MS
from billing.ledger import Entry, Kind
from billing.periods import instant, milliseconds
from billing.price import overage_cents
from schemas.errors import BillingRefused

Connection = psycopg.Connection[Any]
Outcome = Literal["credited", "credit_note", "known", "limit", "not_billed"]

_CREDITS = UUID("6f1f3e0e-8f0b-5d63-9e3b-2d4d53a5a201")


@dataclass(frozen=True)
class TakenBack:
    """What became of a request. `credited`: from the hour's total; `cents`: of the credit note.

    known: it was done before. limit: the period's share of credits is used. not_billed: the record has no billable unit.
    """

    outcome: Outcome
    units: int = 0
    cents: int = 0
    period_start: datetime | None = None


def credit_false_positive(
    connection: Connection, organization_id: UUID, anomaly_id: UUID, *, by: str, at: datetime, limit_percent: int
) -> TakenBack:
    """A credit of one unit for an anomaly that is marked false_positive.

    Credits of a period are at most `limit_percent` of its billable units, rounded up so that the first one counts; refused
    by the limit, it may be asked for again when there are more. Marking the anomaly otherwise later takes nothing back.
    `BillingRefused` where the anomaly is not marked. Runs as driftlock_api inside tenant(), or as driftlock_jobs.
    """
    with connection.transaction():
        status = connection.execute(
            "SELECT status FROM anomaly_status WHERE organization_id = %s AND anomaly_id = %s"
            " ORDER BY version DESC LIMIT 1",
            (organization_id, anomaly_id),
        ).fetchone()
        if status is None or status[0] != "false_positive":
            raise BillingRefused(f"anomaly {anomaly_id} is not marked false_positive")
        work = _Work(connection, organization_id, "credit", "false positive", by, at)
        return work.take_back(anomaly_id, 1, f"credit/{anomaly_id}", limit_percent)


def waive(
    connection: Connection, organization_id: UUID, usage_id: UUID, *, by: str, reason: str, at: datetime
) -> TakenBack:
    """Waive all billable units of a usage record. Runs as driftlock_jobs."""
    with connection.transaction():
        work = _Work(connection, organization_id, "waive", reason, by, at)
        return work.take_back(usage_id, None, f"waive/{usage_id}")


def correct(
    connection: Connection,
    organization_id: UUID,
    usage_id: UUID,
    units: int,
    *,
    reference: str,
    by: str,
    reason: str,
    at: datetime,
) -> TakenBack:
    """Take `units` units of a usage record off the bill, once for a `reference`. Runs as driftlock_jobs.

    `BillingRefused` where the record has fewer billable units.
    """
    if units < 1:
        raise BillingRefused(f"a correction takes 1 unit or more off, not {units}")
    with connection.transaction():
        work = _Work(connection, organization_id, "correction", reason, by, at)
        return work.take_back(usage_id, units, f"correction/{usage_id}/{reference}")


def mark_false_positive(
    connection: Connection, organization_id: UUID, anomaly_id: UUID, *, by: str, note: str, at: datetime
) -> bool:
    """Mark an anomaly false_positive; False if it is already."""
    with connection.transaction():
        ledger.lock(connection, [organization_id])
        row = connection.execute(
            "SELECT version, status FROM anomaly_status WHERE organization_id = %s AND anomaly_id = %s"
            " ORDER BY version DESC LIMIT 1",
            (organization_id, anomaly_id),
        ).fetchone()
        if row is not None and row[1] == "false_positive":
            return False
        connection.execute(
            "INSERT INTO anomaly_status (organization_id, anomaly_id, version, status, changed_by, changed_at, note)"
            " VALUES (%s, %s, %s, 'false_positive', %s, %s, %s)",
            (organization_id, anomaly_id, row[0] + 1 if row else 1, by, at, note),
        )
    return True


@dataclass(frozen=True)
class _Work:
    connection: Connection
    organization_id: UUID
    kind: Kind
    reason: str
    by: str
    at: datetime

    def take_back(self, usage_id: UUID, units: int | None, name: str, limit_percent: int | None = None) -> TakenBack:
        """Take `units` of a record back, or all that are billable, under the id that `name` gives."""
        if not self.reason.strip():
            raise BillingRefused(f"a {self.kind} says why: the ledger keeps it")
        heads = ledger.lock(self.connection, [self.organization_id])
        entry_id = uuid5(_CREDITS, f"{self.organization_id}/{name}")
        if ledger.of_usage(self.connection, self.organization_id, entry_id):
            return TakenBack("known")
        standing = ledger.standing(self.connection, self.organization_id, usage_id)
        if standing is None:
            return TakenBack("not_billed")
        original, billable = standing
        taken = billable if units is None else units
        if taken > billable:
            raise BillingRefused(f"usage {usage_id} has {billable} billable units left, not {taken}")
        if limit_percent is not None and self._credited(original.period_start) >= self._limit(original, limit_percent):
            return TakenBack("limit", period_start=instant(original.period_start))
        now = milliseconds(self.at)
        period = self._period(original)
        is_open = now < period.ends_at + GRACE_MS
        entry = replace(
            original,
            kind=self.kind,
            usage_id=entry_id,
            part=0,
            corrects=usage_id,
            count=taken,
            units=-taken,
            arrived_at=now,
            recorded_at=now,
            late=False,
            customer_id=original.customer_id if is_open else None,
            reason=self.reason,
        )
        cents = 0 if is_open or original.customer_id is None else self._note(entry, original.customer_id, period)
        ledger.append(self.connection, heads, [entry])
        rollup.adjust(self.connection, entry)
        outcome: Outcome = "credited" if is_open or original.customer_id is None else "credit_note"
        actions.record(
            self.connection,
            self.organization_id,
            actor=self.by,
            action=f"{self.kind}.add",
            before={"usage_id": str(usage_id), "billable": billable},
            after={"billable": billable - taken, "outcome": outcome, "cents": cents, "reason": self.reason},
            at=self.at,
        )
        return TakenBack(outcome, taken, cents, instant(original.period_start))

    def _credited(self, period_start: int) -> int:
        row = self.connection.execute(
            "SELECT coalesce(-sum(units), 0)::bigint FROM ledger"
            " WHERE organization_id = %s AND period_start = %s AND kind = 'credit'",
            (self.organization_id, instant(period_start)),
        ).fetchone()
        return row[0] if row else 0

    def _limit(self, original: Entry, percent: int) -> int:
        row = self.connection.execute(
            "SELECT coalesce(sum(billable + moved_in), 0)::bigint FROM usage_counters"
            " WHERE organization_id = %s AND period_start = %s",
            (self.organization_id, instant(original.period_start)),
        ).fetchone()
        return -(-(row[0] if row else 0) * percent // 100)

    def _period(self, original: Entry) -> booking.Period:
        known = booking.load(self.connection, [self.organization_id])[self.organization_id]
        return next(p for p in known if p.starts_at == original.period_start)

    def _note(self, entry: Entry, customer_id: str, period: booking.Period) -> int:
        """Write a credit note; its cents: what the period's price falls by."""
        plan = plans.of_version(self.connection, period.plan, period.plan_version)
        agreed = terms.load(self.connection, [self.organization_id]).get(self.organization_id, terms.NOTHING)
        rates = terms.terms(plan, agreed, period.starts_at, period.ends_at)
        key = (self.organization_id, period.starts_at)
        net = rollup.use_of(self.connection, [key])[key].net
        cents = overage_cents(rates, net) - overage_cents(rates, net + entry.units)
        self.connection.execute(
            "INSERT INTO credit_notes (organization_id, id, period_start, customer_id, livemode, units, cents, reason,"
            " created_at, state) SELECT %s, %s, %s, %s, livemode, %s, %s, %s, %s, %s FROM billing_customers WHERE id = %s",
            (
                self.organization_id,
                entry.usage_id,
                instant(period.starts_at),
                customer_id,
                -entry.units,
                cents,
                self.reason,
                self.at,
                "pending" if cents else "nothing_due",
                customer_id,
            ),
        )
        return cents
