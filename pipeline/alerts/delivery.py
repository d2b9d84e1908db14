"""One pass over the outbox: claim a row, mail it, mark it, until none is due. One transaction a row.

The row stays locked while its mail is sent, and is marked after the server took it: at least once, never skipped.
"""

import random
import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.headerregistry import Address
from typing import Any, Literal
from uuid import UUID

import orjson
import psycopg

from billing.actions import INSTALLATION
from pipeline.alerts.message import message, sender_of
from pipeline.alerts.wording import MAILED, words
from pipeline.crash import crash_point
from schemas.errors import SettingsError
from schemas.models import BadMessage
from schemas.settings import Settings

Connection = psycopg.Connection[Any]
Outcome = Literal["delivered", "deferred", "refused", "no_address", "broken"]

MOST_ATTEMPTS = 20
FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=6)
WITHOUT_ADDRESS = timedelta(hours=1)
SERVER_SECONDS = 30.0

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


@dataclass
class Server:
    """The SMTP server of the settings; one connection, made when it is needed."""

    settings: Settings
    sender: Address
    _open: smtplib.SMTP | None = field(default=None, repr=False)

    def send(self, row: Row) -> None:
        """Mail a row. Raises what smtplib raises, and `BadMessage`."""
        made = message(
            words(row.kind, orjson.dumps(row.payload)),
            outbox_id=row.id,
            organization=row.organization,
            to=row.to or "",
            sender=self.sender,
            at=row.created_at,
            console_url=self.settings.console_url,
        )
        self._connected().send_message(made)

    def _connected(self) -> smtplib.SMTP:
        if self._open is None:
            self._open = _connect(self.settings)
        return self._open

    def close(self) -> None:
        """End the connection; the next mail makes another."""
        if self._open is not None:
            with suppress(smtplib.SMTPException, OSError):
                self._open.quit()
            self._open = None


def server(settings: Settings) -> Server:
    """The server of the settings. `SettingsError` where mails or a password would go out in the open."""
    if not settings.smtp_host:
        raise SettingsError("SMTP_HOST is not set: the server that takes our e-mails")
    loopback = settings.smtp_host in {"localhost", "127.0.0.1", "::1"}
    if settings.smtp_security == "none" and not loopback:
        raise SettingsError("SMTP_SECURITY=none is for a server on loopback only: use starttls or tls")
    return Server(settings, sender_of(settings.mail_from))


def _connect(settings: Settings) -> smtplib.SMTP:
    address = (settings.smtp_host, settings.smtp_port)
    if settings.smtp_security == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            *address, timeout=SERVER_SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = smtplib.SMTP(*address, timeout=SERVER_SECONDS)
        if settings.smtp_security == "starttls":
            connection.starttls(context=ssl.create_default_context())
    password = settings.smtp_password.get_secret_value()
    if settings.smtp_username:
        connection.login(settings.smtp_username, password)
    return connection


def delay(attempts: int, rng: random.Random) -> timedelta:
    """How long to wait after so many attempts: doubling, with up to a quarter less so that senders don't march in step."""
    most = min(LONGEST_DELAY, FIRST_DELAY * (1 << min(attempts - 1, 20)))
    return most - most * rng.randrange(250) // 1_000


def deliver_due(
    connection: Connection, to: Server, clock: Callable[[], datetime], rng: random.Random
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
        to.close()
    return done


def _deliver_one(connection: Connection, to: Server, now: datetime, rng: random.Random) -> Outcome | None:
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


def _try(to: Server, row: Row) -> tuple[Outcome, str]:
    if row.to is None:
        return (
            "no_address",
            "no address: `driftlock billing email` sets an organization's, OPERATOR_EMAIL that of alarms",
        )
    try:
        to.send(row)
    except BadMessage as error:
        return "broken", f"its payload does not fit its kind: {error}"
    except (
        smtplib.SMTPRecipientsRefused,
        smtplib.SMTPSenderRefused,
        smtplib.SMTPDataError,
        smtplib.SMTPNotSupportedError,
    ) as error:
        to.close()  # the next mail begins in a fresh session
        return "refused", f"the server refuses it: {_line(error)}"
    except (smtplib.SMTPException, OSError) as error:
        to.close()
        return "deferred", f"the server does not answer: {_line(error)}"
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


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


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
