"""What must be equal, and is compared: R1, R2, R5, R6 here, R3 and R4 hour by hour in reconcile.py. Reads only.

| check | equal are | compared |
|---|---|---|
| R1 | Kafka's offsets; ledger + not anomaly + duplicates + dead letters | each partition of the topic usage |
| R2 | the ledger's entries; the rollup | each period that is open, or closed since three days; all with `full` |
| R3 | the rollup's hours; what was sent of them | each hour that is over; older ones that wait |
| R4 | what was sent; Stripe's event summaries | the same hours, read twice where they differ |
| R5 | our price of what was sent; Stripe's line | the upcoming invoice of each live metered subscription; that of a period closed since three days |
| R6 | billable units; their anomalies with the evidence's place | entries of the last days |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing import stripe_gateway as gateway
from billing import terms
from billing.customers import LIVE
from billing.periods import milliseconds
from billing.plans import of_version
from billing.price import overage_cents

Connection = psycopg.Connection[Any]
Check = Literal["R1", "R2", "R3", "R4", "R5", "R6"]

USAGE_SINK = "sink-usage"
STILL_OPEN = timedelta(hours=72)
SINK_LAG = timedelta(hours=1)
"""An anomaly may be stored so much later than its unit."""


@dataclass(frozen=True)
class Finding:
    """Two numbers that differ. `subject` names where, within its check."""

    check: Check
    subject: str
    ours: int
    theirs: int
    organization_id: UUID | None = None

    @property
    def said(self) -> str:
        """One line."""
        return f"{self.check} {self.subject}: {self.ours} here, {self.theirs} there"


@dataclass(frozen=True)
class Compared:
    """A check: how many places were compared, and those that differ."""

    check: Check
    places: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Log:
    """A partition of the topic usage in Kafka: [low, high), and what the sink's group committed there, or -1."""

    low: int
    high: int
    committed: int


def offsets(connection: Connection, kafka: Mapping[int, Log] | None, *, full: bool) -> Compared:
    """R1. With `kafka`: no offset beyond the log's end, none behind what was once committed (a restored database).

    With `full` the ledger's own rows are counted as well.
    """
    rows = connection.execute(
        "SELECT o.topic_id, o.partition, o.next_offset, o.written, o.not_anomaly + o.duplicates + o.dead_letters"
        " FROM sink_offsets o WHERE o.consumer = %s ORDER BY 1, 2",
        (USAGE_SINK,),
    ).fetchall()
    entered: dict[tuple[str, int], int] = {}
    if full:
        for topic_id, partition, count in connection.execute(
            "SELECT usage_topic_id, usage_partition, count(DISTINCT usage_offset) FROM ledger WHERE kind = 'usage'"
            " GROUP BY 1, 2"
        ):
            entered[topic_id, partition] = count
    findings = []
    newest = _newest_topic(connection)
    for topic_id, partition, next_offset, written, others in rows:
        name = f"usage {topic_id} partition {partition}"
        log = (kafka or {}).get(partition) if topic_id == newest else None
        if written + others != next_offset:
            findings.append(Finding("R1", f"{name} records", written + others, next_offset))
        if full and entered.get((topic_id, partition), 0) != written:
            findings.append(Finding("R1", f"{name} entries", entered.get((topic_id, partition), 0), written))
        if log and next_offset > log.high:
            findings.append(Finding("R1", f"{name} end of the log", next_offset, log.high))
        if log and log.committed > next_offset:
            findings.append(Finding("R1", f"{name} committed", next_offset, log.committed))
    return Compared("R1", len(rows), tuple(findings))


def _newest_topic(connection: Connection) -> str:
    row = connection.execute(
        "SELECT topic_id FROM source_topics WHERE topic = 'usage' ORDER BY accepted_at DESC LIMIT 1"
    ).fetchone()
    return "" if row is None else str(row[0])


_ROLLUP = """
WITH asked AS (
    SELECT organization_id, starts_at FROM billing_periods WHERE %(full)s OR ends_at > %(since)s
), entered AS (
    SELECT l.organization_id, l.period_start,
        coalesce(sum(units) FILTER (WHERE kind = 'usage' AND disposition = 'billable'), 0)::bigint AS billable,
        coalesce(sum(units) FILTER (WHERE disposition IN ('capped', 'free_withheld')), 0)::bigint AS over,
        coalesce(sum(units) FILTER (WHERE disposition IN ('warmup', 'rescored', 'waived')), 0)::bigint AS free,
        coalesce(sum(units) FILTER (WHERE kind <> 'usage'), 0)::bigint AS adjusted, count(*) AS entries
    FROM ledger l JOIN asked a ON a.organization_id = l.organization_id AND a.starts_at = l.period_start
    GROUP BY 1, 2
), kept AS (
    SELECT u.organization_id, u.period_start, sum(billable)::bigint AS billable,
        sum(capped + free_withheld)::bigint AS over, sum(warmup + rescored + waived)::bigint AS free,
        sum(adjusted)::bigint AS adjusted, sum(entries)::bigint AS entries
    FROM usage_counters u JOIN asked a ON a.organization_id = u.organization_id AND a.starts_at = u.period_start
    GROUP BY 1, 2
)
SELECT organization_id, period_start,
    coalesce(e.billable, 0), coalesce(k.billable, 0), coalesce(e.over, 0), coalesce(k.over, 0),
    coalesce(e.free, 0), coalesce(k.free, 0), coalesce(e.adjusted, 0), coalesce(k.adjusted, 0),
    coalesce(e.entries, 0), coalesce(k.entries, 0)
FROM entered e FULL JOIN kept k USING (organization_id, period_start)
ORDER BY 1, 2
"""
_SUMS = ("billable", "over the cap", "free", "adjusted", "entries")


def rollup(connection: Connection, now: datetime, *, full: bool) -> Compared:
    """R2, in one statement and so in one snapshot."""
    rows = connection.execute(_ROLLUP, {"full": full, "since": now - STILL_OPEN}).fetchall()
    findings = [
        Finding("R2", f"{organization_id} period {start:%Y-%m-%d} {name}", ours, theirs, organization_id)
        for organization_id, start, *sums in rows
        for name, ours, theirs in zip(_SUMS, sums[::2], sums[1::2], strict=True)
        if ours != theirs
    ]
    return Compared("R2", len(rows), tuple(findings))


_METERED = f"""
SELECT s.organization_id, s.id, s.plan, s.plan_version, s.period_start, p.id, coalesce((
    SELECT sum(h.sent_units) FROM meter_hours h WHERE h.organization_id = s.organization_id
    AND h.customer_id = s.customer_id AND h.hour >= s.period_start AND h.hour < s.period_end), 0)::bigint
FROM subscriptions s
JOIN stripe_prices p ON p.plan = s.plan AND p.plan_version = s.plan_version AND p.part = 'overage'
WHERE {LIVE} AND s.period_start IS NOT NULL AND s.period_start <= %(now)s AND s.period_end > %(now)s
ORDER BY s.id
"""  # noqa: S608 a constant


def upcoming_lines(connection: Connection, stripe: gateway.Connection, now: datetime) -> Compared:
    """R5, to the cent: what was sent, priced by us, against the metered lines of Stripe's upcoming invoice.

    What is not sent yet is not there either; that it is sent is R3. Raises the gateway's errors.
    """
    rows = connection.execute(_METERED, {"now": now}).fetchall()
    agreed = terms.load(connection, {row[0] for row in rows})
    asked: dict[str, tuple[UUID, int]] = {}
    prices: dict[str, set[str]] = {}
    for organization_id, subscription, plan, version, start, price, units in rows:
        said = agreed.get(organization_id, terms.NOTHING)
        rates = terms.terms(of_version(connection, plan, version), said, milliseconds(start), milliseconds(now))
        asked[subscription] = organization_id, overage_cents(rates, units)
        prices.setdefault(subscription, set()).add(price)
    findings = []
    for subscription, (organization_id, ours) in asked.items():
        try:
            lines = gateway.preview_invoice(stripe, subscription)
        except gateway.StripeRefused:
            continue  # it ended since it was last fetched
        theirs = sum(line.amount for line in lines if line.price in prices[subscription])
        if ours != theirs:
            findings.append(Finding("R5", f"{subscription} overage in cents", ours, theirs, organization_id))
    return Compared("R5", len(asked), tuple(findings))


_CLOSED = """
SELECT i.organization_id, i.id, p.plan, p.plan_version, p.starts_at,
    (SELECT array_agg(s.id) FROM stripe_prices s
        WHERE s.plan = p.plan AND s.plan_version = p.plan_version AND s.part = 'overage'),
    coalesce((SELECT sum(h.sent_units) FROM meter_hours h WHERE h.organization_id = i.organization_id
        AND h.customer_id = i.customer_id AND h.hour >= p.starts_at AND h.hour < p.ends_at), 0)::bigint
FROM invoices_mirror i
JOIN billing_periods p ON p.organization_id = i.organization_id AND p.subscription_id = i.subscription_id
    AND p.starts_at = i.period_start AND p.ends_at = i.period_end
WHERE i.status IN ('draft', 'open', 'paid') AND i.billing_reason IN ('subscription_cycle', 'subscription_update')
    AND i.period_end > %(since)s AND i.period_end <= %(now)s
ORDER BY i.id
"""


def closed_lines(connection: Connection, stripe: gateway.Connection, now: datetime) -> Compared:
    """R5 of the invoices of periods that closed in the last three days: usage that comes after one is final is not on it.

    Nor is a credit that lowers an hour of it: both are a line, or a credit note, by hand. Raises the gateway's errors.
    """
    rows = connection.execute(_CLOSED, {"since": now - STILL_OPEN, "now": now}).fetchall()
    agreed = terms.load(connection, {row[0] for row in rows})
    findings = []
    for organization_id, invoice, plan, version, start, prices, units in rows:
        rates = terms.terms(
            of_version(connection, plan, version),
            agreed.get(organization_id, terms.NOTHING),
            milliseconds(start),
            milliseconds(now),
        )
        try:
            lines = gateway.invoice_lines(stripe, invoice)
        except gateway.StripeRefused:
            continue  # a draft that was deleted since it was last fetched
        ours, theirs = overage_cents(rates, units), sum(line.amount for line in lines if line.price in (prices or ()))
        if ours != theirs:
            findings.append(Finding("R5", f"{invoice} overage in cents", ours, theirs, organization_id))
    return Compared("R5", len(rows), tuple(findings))


_EVIDENCE = """
SELECT l.organization_id, count(*), count(a.id) FILTER (WHERE a.blocks_topic_id = l.blocks_topic_id
    AND a.blocks_partition = l.blocks_partition AND a.frame = l.frame AND a.event = l.event)
FROM (
    SELECT DISTINCT organization_id, usage_id, blocks_topic_id, blocks_partition, frame, event FROM ledger
    WHERE kind = 'usage' AND disposition = 'billable' AND meter_hour >= %(since)s AND recorded_at < %(until)s
) AS l
LEFT JOIN anomalies a ON a.organization_id = l.organization_id AND a.id = l.usage_id
GROUP BY 1 ORDER BY 1
"""


def evidence(connection: Connection, since: datetime, now: datetime) -> Compared:
    """R6: every billable entry since then has its anomaly, which names the same event; those of the last hour are not asked."""
    rows = connection.execute(_EVIDENCE, {"since": since, "until": now - SINK_LAG}).fetchall()
    findings = [
        Finding("R6", f"{organization_id} billable with evidence", billable, found, organization_id)
        for organization_id, billable, found in rows
        if billable != found
    ]
    return Compared("R6", sum(row[1] for row in rows), tuple(findings))


def total(compared: Sequence[Compared]) -> int:
    """How many differences there are."""
    return sum(len(one.findings) for one in compared)
