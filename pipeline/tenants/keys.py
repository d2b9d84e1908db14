"""API keys `dlk_<id>.<secret>`. Connections are of role driftlock_api, in autocommit mode, but for `authenticate`."""

import hmac
import re
import secrets
from base64 import b32encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from billing import actions
from billing.tenant import tenant
from pipeline.accounts import texts
from pipeline.accounts.errors import BadToken, Invalid, NotFound
from pipeline.accounts.roles import KEY_SCOPES, Principal, Scope
from pipeline.accounts.secret import digest, new_token

Connection = psycopg.Connection[Any]

MOST_KEYS = 100
LONGEST_OVERLAP = timedelta(days=30)
_TEXT = re.compile(r"dlk_([a-z2-7]{16})\.([A-Za-z0-9_-]{43})")
_ID = re.compile(r"[a-z2-7]{16}")
_COLUMNS = "id, name, scopes, created_by, created_at, last_used_at, ends_at, revoked_at, replaces"
_NOTED = timedelta(minutes=1)


@dataclass(frozen=True)
class Key:
    """A key as it is listed: never its secret. `ends_at`: a rotated key goes on until then."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    created_by: str
    created_at: datetime
    last_used_at: datetime | None
    ends_at: datetime | None
    revoked_at: datetime | None
    replaces: str | None


@dataclass(frozen=True)
class NewKey:
    """A key with its text, which is shown this once."""

    key: Key
    text: str


def list_keys(connection: Connection, organization_id: UUID) -> list[Key]:
    """All keys, the newest first, revoked ones too."""
    with tenant(connection, organization_id):
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM api_keys WHERE organization_id = %s ORDER BY created_at DESC, id",  # noqa: S608
            (organization_id,),
        )
        return [_key(row) for row in rows]


def create_key(
    connection: Connection, organization_id: UUID, name: str, scopes: Collection[Scope], *, by: str, at: datetime
) -> NewKey:
    """A new key. `Invalid`: no name, no or unknown scope, or over 100 good keys."""
    name = texts.line(name, "name", 100)
    wanted = tuple(scope for scope in KEY_SCOPES if scope in scopes)
    if not wanted or len(wanted) != len(set(scopes)):
        raise Invalid(f"scopes must be some of {', '.join(KEY_SCOPES)}")
    with tenant(connection, organization_id):
        made = _make(connection, organization_id, name, wanted, None, by, at)
        _record(connection, organization_id, by, "key.create", made.key, at)
        return made


def rotate_key(
    connection: Connection, organization_id: UUID, key_id: str, *, overlap: timedelta, by: str, at: datetime
) -> NewKey:
    """A new key with the name and scopes of another, which ends after `overlap` (0 to 30 days). `NotFound`, `Invalid`."""
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise Invalid(f"overlap must be 0 seconds to {LONGEST_OVERLAP.days} days")
    with tenant(connection, organization_id):
        old = _get(connection, organization_id, key_id)
        if old.revoked_at is not None or (old.ends_at is not None and old.ends_at <= at):
            raise Invalid("that key has ended: create another")
        made = _make(connection, organization_id, old.name, old.scopes, old.id, by, at)
        connection.execute(
            "UPDATE api_keys SET ends_at = least(ends_at, %s) WHERE organization_id = %s AND id = %s",
            (at + overlap, organization_id, key_id),
        )
        _record(connection, organization_id, by, "key.rotate", made.key, at)
        return made


def revoke_key(connection: Connection, organization_id: UUID, key_id: str, *, by: str, at: datetime) -> Key:
    """Revoke a key: refused everywhere within 2 seconds. Again changes nothing. `NotFound`."""
    with tenant(connection, organization_id):
        old = _get(connection, organization_id, key_id)
        if old.revoked_at is None:
            connection.execute(
                "UPDATE api_keys SET revoked_at = %s WHERE organization_id = %s AND id = %s",
                (at, organization_id, key_id),
            )
            _record(connection, organization_id, by, "key.revoke", old, at)
        return _get(connection, organization_id, key_id)


def authenticate(connection: Connection, text: str, now: datetime) -> Principal:
    """Who a key is, noting its use once a minute. `BadToken`. The connection is of role driftlock_accounts."""
    said = _TEXT.fullmatch(text)
    row = None
    if said is not None:
        row = connection.execute(
            "SELECT k.organization_id, k.secret_hash, k.scopes, k.last_used_at FROM api_keys k"
            " JOIN organizations o ON o.id = k.organization_id AND o.active"
            " WHERE k.id = %s AND k.revoked_at IS NULL AND (k.ends_at IS NULL OR k.ends_at > %s)",
            (said[1], now),
        ).fetchone()
    if said is None or row is None or not hmac.compare_digest(row[1], digest(said[2])):
        raise BadToken("the API key is wrong, or has ended")
    if row[3] is None or now - row[3] >= _NOTED:
        connection.execute("UPDATE api_keys SET last_used_at = %s WHERE id = %s", (now, said[1]))
    return Principal(row[0], f"key/{said[1]}", frozenset(row[2]), key_id=said[1])


def standing(connection: Connection, principal: Principal, now: datetime) -> Principal:
    """A key's principal as it is now. `BadToken` once it has ended. The connection is of role driftlock_accounts."""
    row = connection.execute(
        "SELECT 1 FROM api_keys k JOIN organizations o ON o.id = k.organization_id AND o.active"
        " WHERE k.id = %s AND k.revoked_at IS NULL AND (k.ends_at IS NULL OR k.ends_at > %s)",
        (principal.key_id, now),
    ).fetchone()
    if row is None:
        raise BadToken("the API key has ended")
    return principal


def _key(row: tuple[Any, ...]) -> Key:
    return Key(row[0], row[1], tuple(row[2]), *row[3:])


def _get(connection: Connection, organization_id: UUID, key_id: str) -> Key:
    row = (
        connection.execute(
            f"SELECT {_COLUMNS} FROM api_keys WHERE organization_id = %s AND id = %s",  # noqa: S608
            (organization_id, key_id),
        ).fetchone()
        if _ID.fullmatch(key_id)
        else None
    )
    if row is None:
        raise NotFound("there is no such key")
    return _key(row)


def _make(
    connection: Connection,
    organization_id: UUID,
    name: str,
    scopes: tuple[Scope, ...],
    replaces: str | None,
    by: str,
    at: datetime,
) -> NewKey:
    connection.execute("SELECT 1 FROM organizations WHERE id = %s FOR NO KEY UPDATE", (organization_id,))
    row = connection.execute(
        "SELECT count(*) FROM api_keys WHERE organization_id = %s AND revoked_at IS NULL"
        " AND (ends_at IS NULL OR ends_at > %s)",
        (organization_id, at),
    ).fetchone()
    if row is not None and row[0] >= MOST_KEYS:
        raise Invalid(f"an organization has at most {MOST_KEYS} good keys: revoke one")
    key_id, secret = b32encode(secrets.token_bytes(10)).decode().lower(), new_token()
    connection.execute(
        "INSERT INTO api_keys (id, organization_id, secret_hash, name, scopes, created_by, created_at, replaces)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (key_id, organization_id, digest(secret), name, list(scopes), by, at, replaces),
    )
    return NewKey(_get(connection, organization_id, key_id), f"dlk_{key_id}.{secret}")


def _record(connection: Connection, organization_id: UUID, by: str, action: str, key: Key, at: datetime) -> None:
    after = {"id": key.id, "scopes": list(key.scopes), "replaces": key.replaces}
    actions.record(connection, organization_id, actor=by, action=action, before=None, after=after, at=at)
