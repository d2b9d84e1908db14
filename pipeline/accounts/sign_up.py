"""Sign-up and e-mail verification. Connections are of role driftlock_accounts, in autocommit mode.

Nothing but an attempt is kept until the link in the e-mail is followed; then user, organization and membership are made
together. An attempt says nothing about whether the e-mail has an account: who owns the mailbox is told there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from billing import outbox
from billing.accounts import create_organization
from billing.outbox import Letter
from billing.periods import milliseconds
from billing.tenant import tenant
from pipeline.accounts import texts, throttle
from pipeline.accounts.errors import BadToken
from pipeline.accounts.passwords import hashed, mails
from pipeline.accounts.secret import digest, new_token
from schemas.notices import AccountExists, AccountVerify

Connection = psycopg.Connection[Any]

VERIFY_FOR = timedelta(hours=24)


@dataclass(frozen=True)
class Verified:
    """A new user with the organization that it owns."""

    user_id: UUID
    organization_id: UUID
    email: str


def sign_up(
    connection: Connection,
    *,
    email: str,
    password: str,
    name: str,
    organization: str,
    now: datetime,
    address: str = "",
) -> None:
    """Mail a link that finishes the sign-up. The same answer whether the e-mail has an account or not.

    `Invalid` for an e-mail, a password or a name that can't be one; `TooManyAttempts`. `address`: the peer's IP.
    """
    email, name = texts.email(email), texts.line(name, "name", 100)
    organization = texts.line(organization, "organization", 100)
    texts.password(password)
    throttle.count(connection, mails(email, address), now)
    kept = hashed(password)
    token, organization_id = new_token(), uuid4()
    with connection.transaction():
        known = connection.execute("SELECT 1 FROM users WHERE email = %s", (email,)).fetchone() is not None
        # Written for a known e-mail too, so that both take as long; its token is told nobody.
        connection.execute(
            "INSERT INTO sign_ups (token_hash, email, name, password_hash, organization_id, organization_name,"
            " created_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (digest(token), email, name, kept, organization_id, organization, now, now + VERIFY_FOR),
        )
        said: dict[str, Any] = {"organization_id": organization_id, "at": milliseconds(now), "to": email}
        notice = AccountExists(token="", **said) if known else AccountVerify(token=token, **said)
        outbox.put(connection, [Letter(f"sign-up/{organization_id}", notice)])


def verify_email(connection: Connection, token: str, now: datetime) -> Verified:
    """Finish a sign-up: user, organization on plan developer, role owner. `BadToken`.

    Then tell workers: `pipeline.accounts.announce.organization(producer, organization_id)`; again changes nothing.
    """
    found = connection.execute(
        "SELECT organization_id FROM sign_ups WHERE token_hash = %s", (digest(token),)
    ).fetchone()
    if found is None:
        raise BadToken(_WRONG)
    organization_id: UUID = found[0]
    with tenant(connection, organization_id):
        row = connection.execute(
            "UPDATE sign_ups SET used_at = %(now)s WHERE token_hash = %(hash)s AND used_at IS NULL"
            " AND expires_at > %(now)s RETURNING email, name, password_hash, organization_name",
            {"now": now, "hash": digest(token)},
        ).fetchone()
        if row is None:
            raise BadToken(_WRONG)
        email, name, kept, organization = row
        user_id = uuid4()
        made = connection.execute(
            "INSERT INTO users (id, email, name, password_hash, created_at, password_changed_at)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (email) DO NOTHING",
            (user_id, email, name, kept, now, now),
        )
        if not made.rowcount:
            raise BadToken("this e-mail was confirmed by another link: log in")
        create_organization(connection, organization_id, organization, now)
        connection.execute("UPDATE organizations SET billing_email = %s WHERE id = %s", (email, organization_id))
        connection.execute(
            "INSERT INTO memberships (organization_id, user_id, role, since) VALUES (%s, %s, 'owner', %s)",
            (organization_id, user_id, now),
        )
    return Verified(user_id, organization_id, email)


_WRONG = "this link was used, has expired or is wrong: sign up again"
