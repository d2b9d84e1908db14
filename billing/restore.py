"""After PostgreSQL was restored to an older point: nothing is sent until the ledger is rebuilt from Kafka and reconciled.

```
driftlock billing restored ─▶ locked, epoch + 1 ─▶ the usage sink reads Kafka again ─▶ driftlock billing unlock ─▶ sending
```
What Kafka does not hold (credits, waivers) is not rebuilt. So an hour that Stripe has otherwise than the rebuilt ledger is
shown, and unlocks only when a person accepts the ledger by name. Hours that Stripe does not have yet are merely sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from billing import alarms, announce, invariants
from billing import stripe_gateway as gateway
from billing.actions import INSTALLATION
from billing.alarms import Alarm
from billing.meter_hours import OLDEST
from billing.reconcile import HourTotals, reconcile, reopen
from schemas.errors import DriftlockError

Connection = psycopg.Connection[Any]


class SenderLocked(DriftlockError):
    """The database was restored: nothing is sent until `driftlock billing unlock`."""


class NotRebuilt(DriftlockError):
    """The ledger is not what it was before the restore."""


@dataclass(frozen=True)
class Unlocked:
    """What was found: the epoch, hours that Stripe lacks (they are sent), hours that a person accepted (sent again)."""

    epoch: int
    unsent: int
    accepted: tuple[HourTotals, ...]


def require_unlocked(connection: Connection) -> None:
    """`SenderLocked` if it is locked."""
    row = connection.execute("SELECT sender_locked_at, sender_locked_for FROM installation").fetchone()
    if row is not None and row[0] is not None:
        raise SenderLocked(
            f"nothing is sent since {row[0]:%Y-%m-%d %H:%M} UTC: {row[1]}; run `driftlock billing unlock`"
        )


def lock_sender(connection: Connection, ends: Mapping[int, int], actor: str, now: datetime) -> int:
    """Lock the sender and raise the epoch, which it returns; `ends` are the ends of the partitions of the topic usage.

    As the owner of the schema.
    """
    with connection.transaction():
        row = connection.execute(
            "UPDATE installation SET epoch = epoch + 1, sender_locked_at = %s, sender_locked_for = 'restored',"
            " replay_to = %s RETURNING epoch",
            (now, Jsonb({str(partition): end for partition, end in sorted(ends.items())})),
        ).fetchone()
        if row is None:
            raise AssertionError("the installation has one row")
        said = "the database was restored: the sender is locked until the ledger is rebuilt and reconciled"
        alarms.raise_alarm(connection, Alarm("restored", "sender", said), now)
        announce.acted(connection, INSTALLATION, actor, "sender.lock", None, {"epoch": row[0]}, now)
    return int(row[0])


def unlock_sender(
    connection: Connection,
    stripe: gateway.Connection,
    meter: gateway.Meter,
    topic_id: str,
    actor: str,
    now: datetime,
    *,
    accept: bool = False,
) -> Unlocked:
    """Unlock once the ledger has read all that Kafka held, equals the rollup, and Stripe has nothing else, as the owner.

    `NotRebuilt` says what is missing. `accept`: the ledger is right where Stripe differs; those hours are sent again.
    """
    row = connection.execute("SELECT epoch, sender_locked_at, replay_to FROM installation").fetchone()
    if row is None or row[1] is None:
        raise NotRebuilt("the sender is not locked: nothing to unlock")
    _require_replayed(connection, topic_id, row[2] or {})
    internal = invariants.rollup(connection, now, full=True).findings
    if internal:
        raise NotRebuilt(f"the ledger and its rollup differ: {internal[0].said} (and {len(internal) - 1} more)")
    until = now.replace(minute=0, second=0, microsecond=0)
    hours = reconcile(connection, stripe, meter, until - OLDEST + timedelta(hours=1), until).hours
    wrong = next((hour for hour in hours if hour.ledger != hour.meter_hours), None)
    if wrong:
        raise NotRebuilt(
            f"hour {wrong.hour:%Y-%m-%dT%H}Z of {wrong.customer_id}: {wrong.ledger} in the ledger, {wrong.meter_hours} to send"
        )
    other = tuple(hour for hour in hours if hour.stripe not in (0, hour.ledger))
    if other and not accept:
        first = other[0]
        raise NotRebuilt(
            f"Stripe has {len(other)} hours otherwise than the ledger, the first {first.customer_id}"
            f" {first.hour:%Y-%m-%dT%H}Z: {first.stripe} there, {first.ledger} here. Credits and waivers made since the"
            " dump are not in Kafka: enter them again, or accept the ledger as it is with --accept"
        )
    with connection.transaction():
        connection.execute(
            "UPDATE installation SET sender_locked_at = NULL, sender_locked_for = NULL, replay_to = NULL"
        )
        reopen(connection, hours, now)
        alarms.clear(connection, "restored", "sender", now)
        after = {"epoch": row[0], "accepted_hours": len(other)}
        announce.acted(connection, INSTALLATION, actor, "sender.unlock", None, after, now)
    return Unlocked(row[0], sum(hour.stripe != hour.ledger for hour in hours) - len(other), other)


def _require_replayed(connection: Connection, topic_id: str, ends: Mapping[str, int]) -> None:
    read = dict(
        connection.execute(
            "SELECT partition, next_offset FROM sink_offsets WHERE consumer = %s AND topic_id = %s",
            (invariants.USAGE_SINK, topic_id),
        ).fetchall()
    )
    behind = [(int(p), end, read.get(int(p), 0)) for p, end in ends.items() if read.get(int(p), 0) < end]
    if behind:
        partition, end, at = min(behind)
        raise NotRebuilt(
            f"the usage sink is at offset {at} of partition {partition}, Kafka held {end} at the restore: run"
            f" `driftlock sink usage` until it has caught up ({len(behind)} partitions are behind)"
        )
