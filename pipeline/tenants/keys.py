"""API keys `dlk_<id>.<secret>`. Connections are of role driftlock_api, in autocommit mode, but for `authenticate`."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from pipeline.accounts.roles import Principal, Scope

Connection = psycopg.Connection[Any]


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
    raise NotImplementedError


def create_key(
    connection: Connection, organization_id: UUID, name: str, scopes: Collection[Scope], *, by: str, at: datetime
) -> NewKey:
    """A new key. `Invalid`: no name, no or unknown scope, or over 100 good keys."""
    raise NotImplementedError


def rotate_key(
    connection: Connection, organization_id: UUID, key_id: str, *, overlap: timedelta, by: str, at: datetime
) -> NewKey:
    """A new key with the name and scopes of another, which ends after `overlap` (0 to 30 days). `NotFound`, `Invalid`."""
    raise NotImplementedError


def revoke_key(connection: Connection, organization_id: UUID, key_id: str, *, by: str, at: datetime) -> Key:
    """Revoke a key: refused everywhere within 2 seconds. Again changes nothing. `NotFound`."""
    raise NotImplementedError


def authenticate(connection: Connection, text: str, now: datetime) -> Principal:
    """Who a key is, noting its use once a minute. `BadToken`. The connection is of role driftlock_accounts."""
    raise NotImplementedError
