"""Anomalies of an organization: pages, one, its status. Connections are of role driftlock_api, in autocommit mode."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing.credits import TakenBack
from schemas.models import Severity

Connection = psycopg.Connection[Any]
Status = Literal["open", "acknowledged", "resolved", "false_positive"]


@dataclass(frozen=True)
class Filter:
    """Which anomalies; empty means all. `since` is in, `until` is out. `text` is looked for in the sentence and the event."""

    since: datetime | None = None
    until: datetime | None = None
    severities: tuple[Severity, ...] = ()
    statuses: tuple[Status, ...] = ()
    streams: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Listed:
    """An anomaly as a list shows it. `surprisal` in 2^-16 bit. `status_version` 0: never set."""

    id: UUID
    created_at: datetime
    last_at: datetime
    stream: str
    event_type: str
    kind: str
    severity: Severity
    count: int
    open: bool
    calibrated: bool
    surprisal: int
    sentence: str
    status: Status
    status_version: int
    revision: int


@dataclass(frozen=True)
class Page:
    """Anomalies, the newest first, and the cursor of the next page; None at the end."""

    items: tuple[Listed, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Change:
    """An entry of a status's history."""

    version: int
    status: Status
    changed_by: str
    changed_at: datetime
    note: str


@dataclass(frozen=True)
class Found:
    """A whole anomaly. `explanation`, `metrics`, `channels`: as schemas.models.Anomaly has them. `etag` names its status."""

    listed: Listed
    etag: str
    extrapolated: bool
    reference_n: int
    score_bits: int
    channels: dict[str, int]
    explanation: dict[str, Any]
    metrics: dict[str, Any]
    first_event_id: UUID
    detector_version: str
    trace: str | None
    history: tuple[Change, ...]


@dataclass(frozen=True)
class Set:
    """The anomaly after its status was set, and what became of the credit where it is now a false positive."""

    anomaly: Found
    credit: TakenBack | None


def list_anomalies(
    connection: Connection, organization_id: UUID, wanted: Filter, *, cursor: str | None = None, limit: int = 50
) -> Page:
    """A page; `limit` 1 to 500. New anomalies move no later page. `Invalid` for a cursor of ours that it is not."""
    raise NotImplementedError


def get_anomaly(connection: Connection, organization_id: UUID, anomaly_id: UUID) -> Found:
    """One anomaly with its history. `NotFound`."""
    raise NotImplementedError


def set_status(
    connection: Connection,
    organization_id: UUID,
    anomaly_id: UUID,
    status: Status,
    *,
    by: str,
    note: str = "",
    if_match: str | None,
    at: datetime,
    credit_limit_percent: int,
) -> Set:
    """Set the status; false_positive credits the bill. `if_match`: an etag, or None for any version.

    `NotFound`, `PreconditionFailed`, `Invalid`.
    """
    raise NotImplementedError
