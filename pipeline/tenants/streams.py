"""Streams of an organization and their settings. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class StreamSettings:
    """What a tenant set for a stream; None: as the organization says."""

    sensitivity: Decimal | None = None
    entity_field: str | None = None
    paused: bool = False
    maintenance_until: datetime | None = None


@dataclass(frozen=True)
class Stream:
    """A stream that is known: by an anomaly, or by settings. `reference_n`: scores of its reference as of its last anomaly.

    `calibrated` None: no anomaly yet, nothing is known of its warm-up.
    """

    name: str
    settings: StreamSettings
    version: int
    anomalies: int
    last_anomaly_at: datetime | None
    reference_n: int | None
    calibrated: bool | None


@dataclass(frozen=True)
class StreamPage:
    """Streams by name; the cursor is the last name, None at the end."""

    items: tuple[Stream, ...]
    next_cursor: str | None


def list_streams(
    connection: Connection, organization_id: UUID, *, cursor: str | None = None, limit: int = 100
) -> StreamPage:
    """A page of streams by name."""
    raise NotImplementedError


def get_stream(connection: Connection, organization_id: UUID, stream: str) -> Stream:
    """One stream. `NotFound`."""
    raise NotImplementedError


def set_stream(
    connection: Connection,
    organization_id: UUID,
    stream: str,
    wanted: StreamSettings,
    *,
    by: str,
    if_version: int | None,
    at: datetime,
) -> Stream:
    """Set all settings of a stream. `if_version`: the version it must have, None for any. `PreconditionFailed`, `Invalid`."""
    raise NotImplementedError
