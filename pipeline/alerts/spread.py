"""The outbox spread over endpoints: a delivery for each row and endpoint that it is for, once, when it is due.

An anomaly waits until the ledger knows it, for ten seconds at most: what a tenant may not see is not told either (a free
plan over its cap, access suspended for money).
"""

from datetime import datetime, timedelta
from typing import Any

import psycopg

from pipeline.crash import crash_point

Connection = psycopg.Connection[Any]

GIVES_UP = timedelta(hours=72)
WAITS_FOR_LEDGER = timedelta(seconds=10)
_MOST_ROWS = 200
_LOCK = 7226190275  # any number that no other user of this database's advisory locks takes

_CLAIM = """
SELECT o.id, o.organization_id, o.kind, o.rule_id, o.payload, s.shown
FROM outbox o LEFT JOIN LATERAL (
    SELECT anomaly_shown(o.organization_id, (o.payload -> 'anomaly' ->> 'id')::uuid) AS shown WHERE o.kind LIKE 'anomaly.%%'
) AS s ON true
WHERE o.spread_at IS NULL AND o.kind NOT LIKE 'account.%%' AND (o.due_at IS NULL OR o.due_at <= %(now)s)
    AND (o.kind NOT LIKE 'anomaly.%%' OR s.shown IS NOT NULL OR o.created_at <= %(now)s - %(patience)s)
ORDER BY o.created_at, o.seq LIMIT %(most)s FOR UPDATE OF o SKIP LOCKED
"""

_FOR = """
INSERT INTO alert_deliveries (organization_id, outbox_id, endpoint_id, kind, subject, state, created_at, next_attempt_at,
    gives_up_at, last_error)
SELECT e.organization_id, %(outbox)s, e.id, %(kind)s, %(subject)s,
    CASE WHEN e.disabled_at IS NULL THEN 'pending' ELSE 'dead' END, %(now)s, %(now)s, %(gives_up)s,
    CASE WHEN e.disabled_at IS NULL THEN NULL ELSE 'the endpoint was disabled' END
FROM alert_endpoints e
WHERE e.organization_id = %(organization)s AND e.deleted_at IS NULL AND CASE
    WHEN %(endpoint)s::uuid IS NOT NULL THEN e.id = %(endpoint)s
    WHEN %(rule)s::uuid IS NOT NULL THEN e.id IN (
        SELECT unnest(r.endpoint_ids) FROM alert_rules r WHERE r.organization_id = e.organization_id AND r.id = %(rule)s)
    ELSE %(kind)s = ANY(e.event_types) END
ORDER BY e.id
ON CONFLICT (organization_id, outbox_id, endpoint_id) DO NOTHING
"""


def spread_due(connection: Connection, now: datetime) -> int:
    """Spread what is due; how many rows of the outbox. `connection` is in autocommit mode, as driftlock_alerts."""
    done = 0
    while count := _spread(connection, now):
        done += count
    return done


def _spread(connection: Connection, now: datetime) -> int:
    with connection.transaction():
        # One spreads at a time, so that what is told of an anomaly keeps its order.
        locked = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()
        if locked != (True,):
            return 0
        asked = {"now": now, "patience": WAITS_FOR_LEDGER, "most": _MOST_ROWS}
        rows = connection.execute(_CLAIM, asked).fetchall()
        for id_, organization_id, kind, rule_id, payload, shown in rows:
            if shown is False:
                continue
            said: dict[str, Any] = {
                "outbox": id_,
                "organization": organization_id,
                "kind": kind,
                "rule": rule_id,
                "endpoint": payload.get("endpoint_id") if kind == "endpoint.test" else None,
                "subject": payload["anomaly"]["id"] if rule_id is not None else str(id_),
                "now": now,
                "gives_up": now + GIVES_UP,
            }
            connection.execute(_FOR, said)
        if rows:
            connection.execute("UPDATE outbox SET spread_at = %s WHERE id = ANY(%s)", (now, [row[0] for row in rows]))
        crash_point("alerts:spread-before-commit")
    return len(rows)
