"""One pass over the outbox: claim a row, mail it, mark it, until none is due. One transaction a row.

The row stays locked while its mail is sent, and is marked after the server took it: at least once, never skipped.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.headerregistry import Address
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg

from billing.actions import INSTALLATION
from pipeline.alerts.message import message, sender_of
from pipeline.alerts.transport import MailDeferred, MailRefused, Transport, transport
from pipeline.alerts.wording import MAILED, Words, words
from pipeline.crash import crash_point
from schemas.models import BadMessage
from schemas.settings import Settings

Connection = psycopg.Connection[Any]
Outcome = Literal["delivered", "deferred", "refused", "no_address", "broken"]

MOST_ATTEMPTS = 20
FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=6)
WITHOUT_ADDRESS = timedelta(hours=1)

_CLAIM = """
SELECT o.id, o.kind, o.payload, o.created_at, o.attempts, coalesce(g.name, ''),
    CASE WHEN o.organization_id = %(installation)s THEN %(operator)s::text ELSE g.billing_email END
FROM outbox o LEFT JOIN organizations g ON g.id = o.organization_id
WHERE o.delivered_at IS NULL AND o.kind = ANY(%(kinds)s) AND o.attempts < %(most)s
    AND (o.next_attempt_at IS NULL OR o.next_attempt_at <= %(now)s)
ORDER BY o.created_at, o.id LIMIT 1 FOR UPDATE OF o SKIP LOCKED
"""


@dataclass(frozen=True)
class Row:
    """A claimed row of the outbox."""

    id: UUID
    kind: str
    payload: object
    created_at: datetime
    attempts: int
    organization: str
    to: str | None


@dataclass(frozen=True)
class Mailing:
    """How mails are made and leave."""

    settings: Settings
    sender: Address
    transport: Transport

    def send(self, words: Words, *, id_: UUID, organization: str, to: str, at: datetime) -> None:
        """Mail some words; the same `id_` gives the same Message-ID. `MailRefused`, `MailDeferred`."""
        made = message(
            words,
            outbox_id=id_,
            organization=organization,
            to=to,
            sender=self.sender,
            at=at,
            console_url=self.settings.console_url,
        )
        self.transport.send(made)


def mailing(settings: Settings) -> Mailing:
    """The mailing of the settings. `SettingsError` where there is none, or mails or a secret would go out in the open."""
    return Mailing(settings, sender_of(settings.mail_from), transport(settings))


def delay(attempts: int, rng: random.Random) -> timedelta:
    """How long to wait after so many attempts: doubling, with up to a quarter less so that senders don't march in step."""
    most = min(LONGEST_DELAY, FIRST_DELAY * (1 << min(attempts - 1, 20)))
    return most - most * rng.randrange(250) // 1_000


def deliver_due(
    connection: Connection, to: Mailing, clock: Callable[[], datetime], rng: random.Random
) -> dict[Outcome, int]:
    """Mail what is due, the oldest first; how many rows had which outcome. Ends early where the server does not answer.

    `connection` is in autocommit mode, as driftlock_alerts.
    """
    done: dict[Outcome, int] = {}
    try:
        while (outcome := _deliver_one(connection, to, clock(), rng)) is not None:
            done[outcome] = done.get(outcome, 0) + 1
            if outcome == "deferred":
                break
    finally:
        to.transport.close()
    return done


def _deliver_one(connection: Connection, to: Mailing, now: datetime, rng: random.Random) -> Outcome | None:
    with connection.transaction():
        asked = {"kinds": list(MAILED), "most": MOST_ATTEMPTS, "now": now}
        whose = {"installation": INSTALLATION, "operator": to.settings.operator_email or None}
        found = connection.execute(_CLAIM, {**asked, **whose}).fetchone()
        if found is None:
            return None
        row = _addressed(Row(*found))
        outcome, said = _try(to, row)
        crash_point("alerts:sent-before-mark")
        _mark(connection, row, outcome, said, now, rng)
    return outcome


def _addressed(row: Row) -> Row:
    """A notice to a person goes to that person, any other to the organization's address."""
    given = row.payload.get("to") if isinstance(row.payload, dict) else None
    return replace(row, to=given) if isinstance(given, str) and given else row


def _try(to: Mailing, row: Row) -> tuple[Outcome, str]:
    if row.to is None:
        return (
            "no_address",
            "no address: `driftlock billing email` sets an organization's, OPERATOR_EMAIL that of alarms",
        )
    try:
        told = words(row.kind, orjson.dumps(row.payload))
        to.send(told, id_=row.id, organization=row.organization, to=row.to, at=row.created_at)
    except BadMessage as error:
        return "broken", f"its payload does not fit its kind: {error}"
    except MailRefused as error:
        return "refused", f"the server refuses it: {error}"
    except MailDeferred as error:
        return "deferred", f"the server does not answer: {error}"
    return "delivered", ""


def _mark(connection: Connection, row: Row, outcome: Outcome, said: str, now: datetime, rng: random.Random) -> None:
    attempts = {"no_address": row.attempts, "broken": MOST_ATTEMPTS}.get(outcome, row.attempts + 1)
    later = {"delivered": None, "broken": None, "no_address": now + WITHOUT_ADDRESS}
    connection.execute(
        "UPDATE outbox SET delivered_at = %s, attempts = %s, next_attempt_at = %s, last_error = %s WHERE id = %s",
        (
            now if outcome == "delivered" else None,
            attempts,
            later[outcome] if outcome in later else now + delay(attempts, rng),
            said or None,
            row.id,
        ),
    )


def hurry(connection: Connection) -> int:
    """Make every mail due that waits for a later attempt; how many."""
    done = connection.execute(
        "UPDATE outbox SET next_attempt_at = NULL WHERE delivered_at IS NULL AND next_attempt_at IS NOT NULL"
        " AND kind = ANY(%(kinds)s) AND attempts < %(most)s",
        {"most": MOST_ATTEMPTS, "kinds": list(MAILED)},
    )
    return done.rowcount


@dataclass(frozen=True)
class Backlog:
    """Rows that wait for their mail, the oldest of them, and those that are given up."""

    waiting: int
    oldest: datetime | None
    dead: int


def backlog(connection: Connection) -> Backlog:
    """What is not delivered."""
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE attempts < %(most)s), min(created_at) FILTER (WHERE attempts < %(most)s),"
        " count(*) FILTER (WHERE attempts >= %(most)s) FROM outbox WHERE delivered_at IS NULL AND kind = ANY(%(kinds)s)",
        {"most": MOST_ATTEMPTS, "kinds": list(MAILED)},
    ).fetchone()
    return Backlog(*row) if row else Backlog(0, None, 0)
