"""Reconciling: the ledger's hours = the rows of `meter_hours` = what was sent = Stripe's event summaries.

`reopen` makes the sender look again at the hours that differ at Stripe: they are read twice and sent again if need be.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from billing import stripe_gateway as gateway
from billing.meter_hours import HOUR

Connection = psycopg.Connection[Any]

_OURS = """
WITH entered AS (
    SELECT organization_id, customer_id, meter_hour AS hour, greatest(sum(units), 0)::bigint AS units
    FROM ledger
    WHERE disposition = 'billable' AND meter_hour >= %(since)s AND meter_hour < %(until)s
    AND customer_id IN (SELECT id FROM billing_customers WHERE unlinked_at IS NULL)
    GROUP BY organization_id, customer_id, meter_hour
), kept AS (
    SELECT organization_id, customer_id, hour, units, sent_units, sent_version = version AS sent
    FROM meter_hours WHERE hour >= %(since)s AND hour < %(until)s AND state <> 'frozen'
)
SELECT organization_id, customer_id, hour, coalesce(entered.units, 0), coalesce(kept.units, 0),
    CASE WHEN kept.sent THEN kept.sent_units ELSE NULL END
FROM entered FULL JOIN kept USING (organization_id, customer_id, hour)
ORDER BY customer_id, hour
"""


@dataclass(frozen=True)
class HourTotals:
    """One hour of a customer in units, at each stage. `sent` is None while the newest total was not acknowledged."""

    organization_id: UUID | None
    customer_id: str
    hour: datetime
    ledger: int
    meter_hours: int
    sent: int | None
    stripe: int

    @property
    def equal(self) -> bool:
        """Whether every stage says the same."""
        return self.ledger == self.meter_hours == self.stripe and (self.sent == self.ledger)


@dataclass(frozen=True)
class Reconciliation:
    """All hours that were compared."""

    hours: tuple[HourTotals, ...]

    @property
    def differences(self) -> tuple[HourTotals, ...]:
        """Those that are not equal."""
        return tuple(hour for hour in self.hours if not hour.equal)

    @property
    def ledger_units(self) -> int:
        """Billable units in the ledger."""
        return sum(hour.ledger for hour in self.hours)

    @property
    def stripe_units(self) -> int:
        """Units that Stripe's summaries show."""
        return sum(hour.stripe for hour in self.hours)


def reconcile(
    connection: Connection, stripe: gateway.Connection, meter: gateway.Meter, since: datetime, until: datetime
) -> Reconciliation:
    """Compare all customers' hours in [since, until), both on the hour and over. Reads only, as role driftlock_meter.

    Hours that Stripe has and we have not are compared too, of every customer that is linked; a frozen one is not asked. Summaries are
    eventually consistent: a difference counts once it is there twice. Raises the gateway's errors.
    """
    ours: dict[tuple[str, datetime], tuple[Any, ...]] = {}
    for row in connection.execute(_OURS, {"since": since, "until": until}).fetchall():
        ours[row[1], row[2]] = row
    linked = connection.execute(
        "SELECT id, organization_id FROM billing_customers WHERE livemode = %s AND unlinked_at IS NULL ORDER BY id",
        (stripe.livemode,),
    ).fetchall()
    hours: dict[str, set[datetime]] = defaultdict(set)
    for customer, hour in ours:
        hours[customer].add(hour)
    compared = []
    for customer, organization_id in linked:
        try:
            shown = gateway.read_hours(stripe, meter, customer, int(since.timestamp()), int(until.timestamp()))
        except gateway.StripeMissing:
            shown = {}  # deleted at Stripe: what we have for it differs, the others are compared
        theirs = {datetime.fromtimestamp(at, since.tzinfo): units for at, units in shown.items()}
        for hour in sorted(theirs.keys() | hours[customer]):
            _, _, _, entered, kept, sent = ours.get((customer, hour), (None, customer, hour, 0, 0, 0))
            compared.append(HourTotals(organization_id, customer, hour, entered, kept, sent, theirs.get(hour, 0)))
    return Reconciliation(tuple(compared))


def unsent_before(connection: Connection, since: datetime) -> list[HourTotals]:
    """Hours before `since` whose newest total Stripe has not acknowledged; `stripe` is what was sent last, it is not asked.

    A credit changes an hour as long as its period is open: up to a month after it was compared as one of the last hours.
    """
    return [
        HourTotals(organization_id, customer, hour, units, units, None, sent)
        for organization_id, customer, hour, units, sent in connection.execute(
            "SELECT organization_id, customer_id, hour, units, coalesce(sent_units, 0) FROM meter_hours"
            " WHERE (state IN ('pending', 'unconfirmed') OR sent_version < version) AND state <> 'frozen'"
            " AND sent_version < version AND hour < %s ORDER BY customer_id, hour",
            (since,),
        ).fetchall()
    ]


def reopen(connection: Connection, differing: tuple[HourTotals, ...], now: datetime) -> int:
    """Put hours that were sent and differ at Stripe in doubt, so that the sender reads them again; how many."""
    reopened = 0
    for hour in differing:
        if hour.sent is not None and hour.stripe != hour.meter_hours and hour.hour + HOUR <= now:
            reopened += connection.execute(
                "UPDATE meter_hours SET state = 'unconfirmed', agreed_at = NULL, next_attempt_at = %s, last_error = %s"
                " WHERE customer_id = %s AND hour = %s AND sent_version = version AND state IN ('sent', 'confirmed')",
                (now, f"reconciling: Stripe shows {hour.stripe}", hour.customer_id, hour.hour),
            ).rowcount
    return reopened
