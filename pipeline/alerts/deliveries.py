"""One pass over the deliveries to endpoints: claim one, send it, keep the attempt and its outcome. One transaction a delivery.

A delivery stays locked while it is sent and is marked after the answer: at least once, with the same id at every attempt.
An endpoint that fails is asked again after 10 s, 20 s, ... up to an hour, for one delivery at a time: so what waits for it
holds nobody else up, and goes out as soon as it answers.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg

from billing import outbox
from billing.outbox import Letter
from billing.periods import milliseconds
from pipeline.alerts import formats, signature
from pipeline.alerts.addresses import Blocked
from pipeline.alerts.delivery import Mailing
from pipeline.alerts.outgoing import NotAnswered, Outbound, Reply
from pipeline.alerts.sealed import NotSealedHere, unseal
from pipeline.alerts.transport import MailDeferred, MailRefused
from pipeline.alerts.wording import words
from pipeline.crash import crash_point
from schemas.models import BadMessage
from schemas.notices import KINDS, EndpointDisabled

Connection = psycopg.Connection[Any]
Outcome = Literal["delivered", "failed", "dead"]

FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=10), timedelta(hours=1)
GONE = 410
_MOST_SAID = 300

_CLAIM = """
SELECT d.organization_id, d.id, d.endpoint_id, d.outbox_id, d.kind, d.attempts, d.gives_up_at, o.payload, o.created_at,
    e.kind, e.shown, e.name, e.failures, e.failing_since, g.name
FROM alert_deliveries d
JOIN alert_endpoints e ON e.organization_id = d.organization_id AND e.id = d.endpoint_id
JOIN outbox o ON o.id = d.outbox_id JOIN organizations g ON g.id = d.organization_id
WHERE d.state = 'pending' AND d.next_attempt_at <= %(now)s AND e.deleted_at IS NULL AND e.disabled_at IS NULL
    AND (e.next_attempt_at IS NULL OR e.next_attempt_at <= %(now)s) AND (%(mails)s OR e.kind <> 'email')
    AND NOT EXISTS (SELECT FROM alert_deliveries b WHERE b.state = 'pending' AND b.endpoint_id = d.endpoint_id
        AND b.subject = d.subject AND b.seq < d.seq)
ORDER BY d.next_attempt_at, d.seq LIMIT 1 FOR UPDATE OF d SKIP LOCKED
"""

_BURY = """
UPDATE alert_deliveries SET state = 'dead', last_error = 'the endpoint was disabled or removed' WHERE id IN (
    SELECT d.id FROM alert_deliveries d JOIN alert_endpoints e ON e.organization_id = d.organization_id AND e.id = d.endpoint_id
    WHERE d.state = 'pending' AND (e.deleted_at IS NOT NULL OR e.disabled_at IS NOT NULL) FOR UPDATE OF d SKIP LOCKED)
"""


@dataclass(frozen=True)
class Senders:
    """How deliveries leave. `mailing` None: e-mails wait. `disable_after`: so long without a success, and an endpoint is."""

    outbound: Outbound
    mailing: Mailing | None
    keys: tuple[bytes, ...]
    console_url: str
    disable_after: timedelta
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Due:
    """A claimed delivery with its endpoint."""

    organization_id: UUID
    id: UUID
    endpoint_id: UUID
    outbox_id: UUID
    kind: str
    attempts: int
    gives_up_at: datetime
    payload: object
    created_at: datetime
    endpoint_kind: str
    shown: str
    endpoint: str
    failures: int
    failing_since: datetime | None
    organization: str


@dataclass(frozen=True)
class Attempt:
    """What came of an attempt. `ours`: it failed here, which is not the endpoint's fault; `hopeless`: no other will do better."""

    ok: bool
    said: str
    status: int | None = None
    retry_after: timedelta = timedelta()
    ours: bool = False
    hopeless: bool = False


def delay(attempts: int, rng: random.Random) -> timedelta:
    """How long to wait after so many failures: doubling, with up to a quarter less so that senders don't march in step."""
    most = min(LONGEST_DELAY, FIRST_DELAY * (1 << min(max(attempts - 1, 0), 20)))
    return most - most * rng.randrange(250) // 1_000


def deliver_due(
    connection: Connection,
    senders: Senders,
    clock: Callable[[], datetime],
    rng: random.Random,
    stopping: Callable[[], bool] = lambda: False,
) -> dict[Outcome, int]:
    """Send what is due until nothing is; how many attempts had which outcome.

    `connection` is in autocommit mode, as driftlock_alerts.
    """
    done: dict[Outcome, int] = {}
    connection.execute(_BURY)
    try:
        while not stopping() and (outcome := _deliver_one(connection, senders, clock, rng)) is not None:
            done[outcome] = done.get(outcome, 0) + 1
    finally:
        if senders.mailing is not None:
            senders.mailing.transport.close()
    return done


def _deliver_one(
    connection: Connection, senders: Senders, clock: Callable[[], datetime], rng: random.Random
) -> Outcome | None:
    with connection.transaction():
        now = clock()
        found = connection.execute(_CLAIM, {"now": now, "mails": senders.mailing is not None}).fetchone()
        if found is None:
            return None
        due = Due(*found)
        began = senders.monotonic()
        attempt = _attempt(connection, senders, due, now)
        took = round((senders.monotonic() - began) * 1000)
        crash_point("alerts:posted-before-mark")
        outcome = _mark(connection, due, attempt, now, took, rng)
        _judge(connection, senders, due, attempt, now, rng)
    return outcome


def _attempt(connection: Connection, senders: Senders, due: Due, now: datetime) -> Attempt:
    try:
        if due.endpoint_kind == "email":
            return _mail(senders, due)
        return _answered(_post(connection, senders, due, now))
    except BadMessage as error:
        return Attempt(ok=False, said=f"its payload does not fit its kind: {error}", ours=True, hopeless=True)
    except NotSealedHere as error:
        return Attempt(ok=False, said=str(error), ours=True)
    except (Blocked, NotAnswered) as error:
        return Attempt(ok=False, said=str(error))


def _mail(senders: Senders, due: Due) -> Attempt:
    if senders.mailing is None:  # not claimed then
        return Attempt(ok=False, said="no e-mails are sent here", ours=True)
    told = words(due.kind, orjson.dumps(due.payload))
    try:
        senders.mailing.send(told, id_=due.id, organization=due.organization, to=due.shown, at=due.created_at)
    except MailRefused as error:
        return Attempt(ok=False, said=f"the mail server refuses it: {error}")
    except MailDeferred as error:
        return Attempt(ok=False, said=f"our mail server does not answer: {error}", ours=True)
    return Attempt(ok=True, said="taken by the mail server")


def _post(connection: Connection, senders: Senders, due: Due, now: datetime) -> Reply:
    given = orjson.dumps(due.payload)
    notice = KINDS[due.kind].from_bytes(given)
    secrets = _secrets(connection, senders, due, now)
    headers = {"Content-Type": "application/json"}
    url = due.shown
    if due.endpoint_kind == "webhook":
        body = formats.webhook(due.kind, notice)
        headers |= signature.headers(formats.message_id(due.outbox_id), int(now.timestamp()), body, secrets)
    elif due.endpoint_kind == "slack":
        url, body = secrets[0].decode(), formats.slack(words(due.kind, given), senders.console_url)
    else:
        told, key = words(due.kind, given), secrets[0].decode()
        body = formats.pagerduty(due.kind, notice, told, key, due.outbox_id, senders.console_url)
    return senders.outbound.post(url, headers, body)


def _secrets(connection: Connection, senders: Senders, due: Due, now: datetime) -> list[bytes]:
    """The secrets that are good, the newest first. `NotSealedHere`."""
    rows = connection.execute(
        "SELECT sealed FROM alert_secrets WHERE organization_id = %s AND endpoint_id = %s"
        " AND (ends_at IS NULL OR ends_at > %s) ORDER BY version DESC",
        (due.organization_id, due.endpoint_id, now),
    ).fetchall()
    if not rows:
        raise NotSealedHere("the endpoint has no secret")
    return [unseal(senders.keys, due.organization_id, due.endpoint_id, sealed) for (sealed,) in rows]


def _answered(reply: Reply) -> Attempt:
    text = "".join(c if c.isprintable() else " " for c in reply.body.decode("utf-8", "replace"))
    said = " ".join(text.split())[:_MOST_SAID]
    asked = reply.headers.get("retry-after", "")
    wait = timedelta(seconds=int(asked)) if asked.isascii() and asked.isdigit() and len(asked) < 7 else timedelta()
    return Attempt(ok=200 <= reply.status < 300, said=said, status=reply.status, retry_after=min(wait, LONGEST_DELAY))


def _mark(
    connection: Connection, due: Due, attempt: Attempt, now: datetime, took_ms: int, rng: random.Random
) -> Outcome:
    number = due.attempts + 1
    connection.execute(
        "INSERT INTO alert_attempts (organization_id, delivery_id, number, at, took_ms, status, said)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (due.organization_id, due.id, number, now, max(0, took_ms), attempt.status, attempt.said),
    )
    outcome: Outcome = "delivered" if attempt.ok else "failed"
    if not attempt.ok and (now >= due.gives_up_at or attempt.hopeless):
        outcome = "dead"
    again = min(now + max(delay(number, rng), attempt.retry_after), max(due.gives_up_at, now))
    connection.execute(
        "UPDATE alert_deliveries SET state = %s, attempts = %s, next_attempt_at = %s, delivered_at = %s, last_error = %s"
        " WHERE organization_id = %s AND id = %s",
        (
            {"failed": "pending"}.get(outcome, outcome),
            number,
            again,
            now if attempt.ok else None,
            None if attempt.ok else f"{attempt.status or ''} {attempt.said}".strip() or "no success",
            due.organization_id,
            due.id,
        ),
    )
    return outcome


def _judge(
    connection: Connection, senders: Senders, due: Due, attempt: Attempt, now: datetime, rng: random.Random
) -> None:
    """What an attempt says of its endpoint: well again, asked later, or disabled with a notice."""
    where = (due.organization_id, due.endpoint_id)
    if attempt.ok:
        if due.failures:
            connection.execute(
                "UPDATE alert_endpoints SET failures = 0, failing_since = NULL, next_attempt_at = NULL"
                " WHERE organization_id = %s AND id = %s",
                where,
            )
        return
    if attempt.ours:
        return
    since = due.failing_since or now
    later = now + max(delay(due.failures + 1, rng), attempt.retry_after)
    connection.execute(
        "UPDATE alert_endpoints SET failures = failures + 1, failing_since = coalesce(failing_since, %s),"
        " next_attempt_at = greatest(next_attempt_at, %s) WHERE organization_id = %s AND id = %s",
        (since, later, *where),
    )
    if attempt.status != GONE and now - since < senders.disable_after:
        return
    why = (
        "410: it says that it is gone"
        if attempt.status == GONE
        else f"it took nothing since {since:%Y-%m-%d %H:%M} UTC"
    )
    disabled = connection.execute(
        "UPDATE alert_endpoints SET disabled_at = %s, disabled_why = %s"
        " WHERE organization_id = %s AND id = %s AND disabled_at IS NULL",
        (now, why, *where),
    )
    if disabled.rowcount:
        notice = EndpointDisabled(
            organization_id=due.organization_id,
            at=milliseconds(now),
            endpoint_id=due.endpoint_id,
            name=due.endpoint,
            failing_since=milliseconds(since),
            said=f"{attempt.status or ''} {attempt.said}".strip(),
        )
        outbox.put(connection, [Letter(f"endpoint/{due.endpoint_id}/disabled/{milliseconds(now)}", notice)])


def prune(connection: Connection) -> int:
    """Remove a portion of what was settled over 30 days ago, with its attempts; how many deliveries. The database's own clock."""
    done = connection.execute(
        "DELETE FROM alert_deliveries WHERE (organization_id, id) IN (SELECT organization_id, id FROM alert_deliveries"
        " WHERE state <> 'pending' AND created_at < now() - interval '30 days' ORDER BY created_at LIMIT 1000"
        " FOR UPDATE SKIP LOCKED)"
    )
    return done.rowcount


@dataclass(frozen=True)
class Waiting:
    """Deliveries that wait, the oldest of them, and those that were given up."""

    pending: int
    oldest: datetime | None
    dead: int


def waiting(connection: Connection) -> Waiting:
    """What is not delivered."""
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE state = 'pending'), min(created_at) FILTER (WHERE state = 'pending'),"
        " count(*) FILTER (WHERE state = 'dead') FROM alert_deliveries WHERE state <> 'delivered'"
    ).fetchone()
    return Waiting(*row) if row else Waiting(0, None, 0)
