"""The sender: hour totals that Stripe does not have yet go to Stripe, doubtful ones are read back until they are certain.

A pass has no loop and no sleep of its own. One request is in flight per customer: a session's advisory lock keeps a
second sender away from a customer (so more senders share the customers, and a pooler must not share the session).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from billing import alarms, customers, restore
from billing import meter_hours as protocol
from billing import stripe_gateway as gateway
from billing.meter_hours import Hour, Outcome

Connection = psycopg.Connection[Any]
Clock = Callable[[], datetime]
CrashPoint = Callable[[str], None]

BREAKER = 3
"""So many requests in a row without an answer end a pass: Stripe is down, and the others would only wait as well."""

_COLUMNS = ", ".join(field.name for field in fields(Hour))
_OPEN = (
    "(state IN ('pending', 'unconfirmed') OR sent_version < version) AND state <> 'frozen'"
    " AND hour <= %(now)s - interval '1 hour' AND (next_attempt_at IS NULL OR next_attempt_at <= %(now)s)"
)
_CUSTOMERS = f"SELECT customer_id FROM meter_hours WHERE {_OPEN} GROUP BY customer_id ORDER BY min(hour), customer_id"  # noqa: S608
_HOURS = f"SELECT {_COLUMNS} FROM meter_hours WHERE customer_id = %(customer)s AND {_OPEN} ORDER BY hour"  # noqa: S608
_NOTE = (
    "UPDATE meter_hours SET version = version + %(raised)s, sent_version = %(sent_version)s,"
    " sent_units = %(sent_units)s, sent_identifier = %(sent_identifier)s, sent_at = %(sent_at)s, state = %(state)s,"
    " agreed_at = %(agreed_at)s, attempts = %(attempts)s, next_attempt_at = %(next_attempt_at)s,"
    " last_error = %(last_error)s"
    " WHERE organization_id = %(organization_id)s AND customer_id = %(customer_id)s AND hour = %(hour)s AND state <> 'frozen'"
)


@dataclass(frozen=True)
class Report:
    """What a pass did, in hours (and customers that another sender held). `down`: it ended early, Stripe did not answer."""

    sent: int = 0
    repeated: int = 0
    unanswered: int = 0
    busy: int = 0
    refused: int = 0
    read: int = 0
    confirmed: int = 0
    resent: int = 0
    held_elsewhere: int = 0
    too_old: int = 0
    down: bool = False

    def __add__(self, other: "Report") -> "Report":
        counts = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "down"}
        return Report(**counts, down=self.down or other.down)


@dataclass(frozen=True)
class Sender:
    """What a pass needs. `clock` gives the present in UTC; `crash` is called at each named point."""

    connection: Connection
    stripe: gateway.Connection
    meter: gateway.Meter
    clock: Clock
    rng: random.Random
    crash: CrashPoint
    epoch: int = 1


def send_due_hours(
    connection: Connection,
    stripe: gateway.Connection,
    meter: gateway.Meter,
    clock: Clock,
    rng: random.Random,
    crash: CrashPoint = lambda _name: None,
) -> Report:
    """One pass over every customer with hours to send or to read back, as role driftlock_meter.

    `connection` must be in autocommit mode: each step is committed before the next. Raises `gateway.LiveModeMismatch` where the
    key's mode is not the database's, `restore.SenderLocked` after a restore until `driftlock billing unlock`.
    """
    if not connection.autocommit:
        raise ValueError("the sender's connection must be in autocommit mode")
    row = connection.execute("SELECT livemode, epoch FROM installation").fetchone()
    if row is None or row[0] != stripe.livemode:
        raise gateway.LiveModeMismatch
    sender = Sender(connection, stripe, meter, clock, rng, crash, epoch=row[1])
    restore.require_unlocked(connection)
    customers.ring_unsent(connection, clock())
    report, silent = Report(), 0
    for (customer,) in connection.execute(_CUSTOMERS, {"now": clock()}).fetchall():
        done = _serve_customer(sender, customer)
        report += done
        silent = silent + 1 if done.unanswered or done.busy else 0
        if silent >= BREAKER:
            return replace(report, down=True)
    return report


def _serve_customer(sender: Sender, customer: str) -> Report:
    lock = protocol.sender_lock(customer)
    row = sender.connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (lock,)).fetchone()
    if row is None or not row[0]:
        return Report(held_elsewhere=1)
    try:
        return _send_hours(sender, customer)
    finally:
        if not sender.connection.closed:
            sender.connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (lock,))


def _open_hours(sender: Sender, customer: str, now: datetime) -> list[Hour]:
    with sender.connection.cursor(row_factory=class_row(Hour)) as cursor:
        return cursor.execute(_HOURS, {"customer": customer, "now": now}).fetchall()


def _send_hours(sender: Sender, customer: str) -> Report:
    """Send what is due, oldest first, until Stripe does not answer; then read back what is in doubt."""
    report, now = Report(), sender.clock()
    for hour in _open_hours(sender, customer, now):
        if not protocol.is_due(hour, sender.clock()):
            continue
        done = _send_hour(sender, hour)
        report += done
        if done.unanswered or done.busy:
            return report
    unread = [hour for hour in _open_hours(sender, customer, now) if protocol.is_unread(hour, sender.clock())]
    return report + _read_back(sender, customer, unread) if unread else report


def _send_hour(sender: Sender, hour: Hour) -> Report:
    now = sender.clock()
    if protocol.needs_no_request(hour):
        _store(sender, hour, protocol.without_request(hour, now))
        return Report()
    age = now - hour.hour
    if age > protocol.OLDEST:
        said = "older than Stripe takes (35 days): an invoice item or a waiver, by hand"
        _store(sender, hour, replace(hour, last_error=said, next_attempt_at=now + protocol.AFTER_REFUSAL))
        return Report(too_old=1)
    noted = protocol.before_send(hour, sender.meter.id, sender.epoch, now)
    if not _store(sender, hour, noted):
        return Report()  # frozen since it was read
    sender.crash("meter:before-send")
    outcome, said = _request(sender, noted)
    sender.crash("meter:after-send-before-mark")
    after = protocol.after_send(hour, noted, outcome, said, sender.clock(), sender.rng)
    _store(sender, noted, after)
    return Report(
        sent=int(outcome == "accepted"),
        repeated=int(outcome == "exists" and after.version == noted.version),
        resent=int(after.version > noted.version),
        unanswered=int(outcome == "unanswered"),
        busy=int(outcome == "busy"),
        refused=int(outcome == "refused"),
    )


def _request(sender: Sender, noted: Hour) -> tuple[Outcome, str]:
    try:
        gateway.send_meter_event(
            sender.stripe,
            sender.meter,
            noted.customer_id,
            noted.units,
            protocol.timestamp(noted),
            noted.sent_identifier or "",
        )
    except gateway.StripeExists as error:
        return "exists", str(error)
    except gateway.StripeBusy as error:
        return "busy", str(error)
    except gateway.StripeUnanswered as error:
        return "unanswered", str(error)
    except gateway.StripeRefused as error:
        return "refused", str(error)
    return "accepted", ""


def _read_back(sender: Sender, customer: str, unread: list[Hour]) -> Report:
    first, last = unread[0].hour, unread[-1].hour + protocol.HOUR
    try:
        shown = gateway.read_hours(sender.stripe, sender.meter, customer, int(first.timestamp()), int(last.timestamp()))
    except gateway.StripeBusy:
        return Report(busy=1)
    except gateway.StripeUnanswered:
        return Report(unanswered=1)
    except gateway.StripeRefused as error:
        later = sender.clock() + protocol.AFTER_REFUSAL
        for hour in unread:
            _store(sender, hour, replace(hour, last_error=str(error), next_attempt_at=later))
        return Report(refused=len(unread))
    report = Report()
    for hour in unread:
        after = protocol.after_read(hour, shown.get(int(hour.hour.timestamp()), 0), sender.clock())
        _store(sender, hour, after)
        report += Report(read=1, confirmed=int(after.state == "confirmed"), resent=int(after.version > hour.version))
    return report


def _store(sender: Sender, was: Hour, is_now: Hour) -> bool:
    """Write the sender's columns; False if the hour is frozen, and stays as it is.

    A version is raised, never set: the sink may have raised it in the meantime.
    """
    values = {field.name: getattr(is_now, field.name) for field in fields(Hour)}
    done = sender.connection.execute(_NOTE, {**values, "raised": is_now.version - was.version})
    return bool(done.rowcount)


def ring_old_hours(connection: Connection, now: datetime) -> int:
    """Ring for every hour that is not certain at Stripe 30 days later: past 35 it goes there only by hand; how many."""
    rows = connection.execute(
        "SELECT organization_id, customer_id, hour, units, coalesce(last_error, state) FROM meter_hours"
        " WHERE (state IN ('pending', 'unconfirmed') OR sent_version < version) AND state <> 'frozen' AND hour <= %s"
        " ORDER BY hour, customer_id",
        (now - protocol.OLD,),
    ).fetchall()
    with connection.transaction():
        for organization_id, customer, hour, units, said in rows:
            subject = f"{customer} {hour:%Y-%m-%dT%H}Z"
            text = f"{units} units of {subject} are not certain at Stripe after 30 days: {said}"
            alarms.raise_alarm(connection, alarms.Alarm("hour_old", subject, text, organization_id), now)
        alarms.clear_others(connection, "hour_old", [f"{row[1]} {row[2]:%Y-%m-%dT%H}Z" for row in rows], now)
    return len(rows)


def waiting(connection: Connection, now: datetime) -> tuple[int, datetime | None]:
    """How many hours that are over are not certain at Stripe yet, and the oldest of them."""
    row = connection.execute(
        "SELECT count(*), min(hour) FROM meter_hours WHERE (state IN ('pending', 'unconfirmed')"
        " OR sent_version < version) AND state <> 'frozen' AND hour <= %s - interval '1 hour'",
        (now,),
    ).fetchone()
    return (0, None) if row is None else (row[0], row[1])
