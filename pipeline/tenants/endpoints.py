"""Where an organization's alerts go. Connections are of role driftlock_api, in autocommit mode.

A secret is sealed before it is written, given out once (a webhook's) or never (Slack's address, PagerDuty's key), and the role
can't read it back.
"""

import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args
from uuid import UUID, uuid4

import psycopg

from billing import actions, outbox
from billing.outbox import Letter
from billing.periods import milliseconds
from billing.tenant import tenant
from pipeline.accounts import texts
from pipeline.accounts.errors import Conflict, Invalid, NotFound
from pipeline.alerts import signature
from pipeline.alerts.addresses import Blocked, destination
from pipeline.alerts.formats import PAGERDUTY_URL
from pipeline.alerts.sealed import NONCE_BYTES, keys_of, seal
from schemas.notices import EndpointTest
from schemas.outbound import CHOSEN
from schemas.settings import Settings

Connection = psycopg.Connection[Any]
Kind = Literal["email", "webhook", "slack", "pagerduty"]

MOST_ENDPOINTS = 50
LONGEST_OVERLAP = timedelta(days=30)
_ROUTING_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")
_COLUMNS = "id, name, kind, shown, event_types, created_by, created_at, disabled_at, disabled_why, failing_since"


@dataclass(frozen=True)
class Sealing:
    """What secrets are sealed with; `keys` empty: endpoints with a secret can't be made here."""

    keys: tuple[bytes, ...]
    allow_loopback: bool = False
    random: Callable[[int], bytes] = secrets.token_bytes


def sealing(settings: Settings) -> Sealing:
    """What secrets are sealed with, as the settings say. `SettingsError`."""
    return Sealing(keys_of(settings), settings.alerts_allow_loopback)


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as it is listed: never its secret. `shown`: its address, or as much of it as is no secret.

    `event_types`: of usage and billing. `failing_since`: of failures in a row. `disabled_at`: nothing is sent to it.
    """

    id: UUID
    name: str
    kind: Kind
    shown: str
    event_types: tuple[str, ...]
    created_by: str
    created_at: datetime
    disabled_at: datetime | None
    disabled_why: str | None
    failing_since: datetime | None


@dataclass(frozen=True)
class NewEndpoint:
    """An endpoint with the secret that its webhooks are signed with, which is shown this once; None for other kinds."""

    endpoint: Endpoint
    secret: str | None


@dataclass(frozen=True)
class Address:
    """Where to. `target`: an e-mail address or a URL, for PagerDuty empty for its own; `routing_key`: PagerDuty's."""

    kind: Kind
    target: str
    routing_key: str = ""


def list_endpoints(connection: Connection, organization_id: UUID) -> list[Endpoint]:
    """All endpoints that were not removed, the oldest first."""
    with tenant(connection, organization_id):
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM alert_endpoints WHERE organization_id = %s AND deleted_at IS NULL"  # noqa: S608
            " ORDER BY created_at, id",
            (organization_id,),
        )
        return [_endpoint(row) for row in rows]


def get_endpoint(connection: Connection, organization_id: UUID, endpoint_id: UUID) -> Endpoint:
    """One endpoint. `NotFound`."""
    with tenant(connection, organization_id):
        return _get(connection, organization_id, endpoint_id)


def create_endpoint(
    connection: Connection,
    organization_id: UUID,
    name: str,
    address: Address,
    event_types: Collection[str],
    *,
    sealing: Sealing,
    by: str,
    at: datetime,
) -> NewEndpoint:
    """A new endpoint. `Invalid` where nothing may be sent, or over 50 of them; `Conflict` where no secret can be kept."""
    name, wanted = texts.line(name, "name", 100), _event_types(event_types)
    if address.kind not in get_args(Kind):
        raise Invalid(f"kind must be one of {', '.join(get_args(Kind))}")
    with tenant(connection, organization_id):
        shown, secret, given = _reached(connection, organization_id, address, sealing)
        if secret is not None and not sealing.keys:
            raise Conflict("this installation keeps no secrets of endpoints yet: set ALERTS_SECRET_KEY")
        _require_room(connection, organization_id)
        id_ = uuid4()
        connection.execute(
            "INSERT INTO alert_endpoints (organization_id, id, name, kind, shown, event_types, created_at, created_by)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (organization_id, id_, name, address.kind, shown, list(wanted), at, by),
        )
        if secret is not None:
            _store(connection, organization_id, id_, 1, secret, sealing, at)
        made = _get(connection, organization_id, id_)
        _record(connection, organization_id, by, "endpoint.create", made, at)
        return NewEndpoint(made, given)


def change_endpoint(
    connection: Connection,
    organization_id: UUID,
    endpoint_id: UUID,
    *,
    name: str | None = None,
    event_types: Collection[str] | None = None,
    enabled: bool | None = None,
    by: str,
    at: datetime,
) -> Endpoint:
    """Change what is given; enabled: its failures are forgotten. `NotFound`, `Invalid`."""
    with tenant(connection, organization_id):
        before = _get(connection, organization_id, endpoint_id)
        now_name = before.name if name is None else texts.line(name, "name", 100)
        wanted = before.event_types if event_types is None else _event_types(event_types)
        where = (organization_id, endpoint_id)
        connection.execute(
            "UPDATE alert_endpoints SET name = %s, event_types = %s WHERE organization_id = %s AND id = %s",
            (now_name, list(wanted), *where),
        )
        if enabled:
            connection.execute(
                "UPDATE alert_endpoints SET disabled_at = NULL, disabled_why = NULL, failures = 0, failing_since = NULL,"
                " next_attempt_at = NULL WHERE organization_id = %s AND id = %s",
                where,
            )
        elif enabled is False and before.disabled_at is None:
            connection.execute(
                "UPDATE alert_endpoints SET disabled_at = %s, disabled_why = 'by a member'"
                " WHERE organization_id = %s AND id = %s",
                (at, *where),
            )
        after = _get(connection, organization_id, endpoint_id)
        _record(connection, organization_id, by, "endpoint.change", after, at)
        return after


def rotate_secret(
    connection: Connection,
    organization_id: UUID,
    endpoint_id: UUID,
    *,
    overlap: timedelta,
    sealing: Sealing,
    by: str,
    at: datetime,
) -> NewEndpoint:
    """A new secret of a webhook; until `overlap` (0 to 30 days) is over requests are signed with the one before too.

    `NotFound`, `Invalid`, `Conflict`.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise Invalid(f"overlap must be 0 seconds to {LONGEST_OVERLAP.days} days")
    with tenant(connection, organization_id):
        found = _get(connection, organization_id, endpoint_id)
        if found.kind != "webhook":
            raise Invalid("only a webhook has a secret that is rotated: make another endpoint")
        if not sealing.keys:
            raise Conflict("this installation keeps no secrets of endpoints yet: set ALERTS_SECRET_KEY")
        _lock(connection, organization_id)
        row = connection.execute(
            "SELECT max(version) FROM alert_secrets WHERE organization_id = %s AND endpoint_id = %s",
            (organization_id, endpoint_id),
        ).fetchone()
        connection.execute(
            "UPDATE alert_secrets SET ends_at = least(ends_at, %s) WHERE organization_id = %s AND endpoint_id = %s",
            (at + overlap, organization_id, endpoint_id),
        )
        secret = sealing.random(signature.SECRET_BYTES)
        _store(connection, organization_id, endpoint_id, (row[0] if row else 0) + 1, secret, sealing, at)
        _record(connection, organization_id, by, "endpoint.rotate", found, at)
        return NewEndpoint(found, signature.shown(secret))


def remove_endpoint(connection: Connection, organization_id: UUID, endpoint_id: UUID, *, by: str, at: datetime) -> None:
    """Remove an endpoint: what waits for it is not sent. `NotFound`."""
    with tenant(connection, organization_id):
        found = _get(connection, organization_id, endpoint_id)
        connection.execute(
            "UPDATE alert_endpoints SET deleted_at = %s WHERE organization_id = %s AND id = %s",
            (at, organization_id, endpoint_id),
        )
        connection.execute(
            "UPDATE alert_secrets SET ends_at = least(ends_at, %s) WHERE organization_id = %s AND endpoint_id = %s",
            (at, organization_id, endpoint_id),
        )
        _record(connection, organization_id, by, "endpoint.remove", found, at)


def try_endpoint(connection: Connection, organization_id: UUID, endpoint_id: UUID, *, at: datetime) -> Endpoint:
    """Send a test, as an alert is sent: the log of deliveries says how it went. `NotFound`, `Conflict` where it is disabled."""
    with tenant(connection, organization_id):
        found = _get(connection, organization_id, endpoint_id)
        if found.disabled_at is not None:
            raise Conflict("the endpoint is disabled: enable it first")
        notice = EndpointTest(
            organization_id=organization_id, at=milliseconds(at), endpoint_id=endpoint_id, name=found.name
        )
        outbox.put(connection, [Letter(f"endpoint/{endpoint_id}/test/{uuid4()}", notice)])
        at_once(connection, organization_id, endpoint_id)
        return found


def at_once(connection: Connection, organization_id: UUID, endpoint_id: UUID) -> None:
    """Ask an endpoint that failed again now, within the caller's tenant()."""
    connection.execute(
        "UPDATE alert_endpoints SET next_attempt_at = NULL WHERE organization_id = %s AND id = %s",
        (organization_id, endpoint_id),
    )


def _reached(
    connection: Connection, organization_id: UUID, address: Address, sealing: Sealing
) -> tuple[str, bytes | None, str | None]:
    """(what may be shown, what is sealed, what is given out) of an address. `Invalid`."""
    if address.kind == "email":
        return _known_address(connection, organization_id, texts.email(address.target)), None, None
    url = address.target.strip() or (PAGERDUTY_URL if address.kind == "pagerduty" else "")
    try:
        to = destination(url, allow_loopback=sealing.allow_loopback)
    except Blocked as error:
        raise Invalid(f"target: {error}") from error
    if address.kind == "slack":
        return f"{to.scheme}://{to.host}/…", url.encode(), None
    if address.kind == "pagerduty":
        if not _ROUTING_KEY.fullmatch(address.routing_key):
            raise Invalid("routing_key must be the integration key that PagerDuty shows")
        return url, address.routing_key.encode(), None
    secret = sealing.random(signature.SECRET_BYTES)
    return url, secret, signature.shown(secret)


def _known_address(connection: Connection, organization_id: UUID, address: str) -> str:
    """Only to who agreed to hear of this organization: nobody gets mails because somebody typed his address."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM users u JOIN memberships m ON m.user_id = u.id AND m.organization_id = %(organization)s"
        " AND m.ended_at IS NULL WHERE u.email = %(email)s)"
        " OR EXISTS (SELECT FROM organizations WHERE id = %(organization)s AND lower(billing_email) = %(email)s)",
        {"organization": organization_id, "email": address},
    ).fetchone()
    if row is None or not row[0]:
        raise Invalid("target must be a member's e-mail address, or the one for usage and money")
    return address


def _event_types(given: Collection[str]) -> tuple[str, ...]:
    wanted = tuple(kind for kind in CHOSEN if kind in given)
    if len(wanted) != len(set(given)):
        raise Invalid(f"event_types must be some of {', '.join(CHOSEN)}; anomalies come by rules")
    return wanted


def _lock(connection: Connection, organization_id: UUID) -> None:
    connection.execute("SELECT 1 FROM organizations WHERE id = %s FOR NO KEY UPDATE", (organization_id,))


def _require_room(connection: Connection, organization_id: UUID) -> None:
    _lock(connection, organization_id)
    row = connection.execute(
        "SELECT count(*) FROM alert_endpoints WHERE organization_id = %s AND deleted_at IS NULL", (organization_id,)
    ).fetchone()
    if row is not None and row[0] >= MOST_ENDPOINTS:
        raise Invalid(f"an organization has at most {MOST_ENDPOINTS} endpoints: remove one")


def _store(
    connection: Connection,
    organization_id: UUID,
    endpoint_id: UUID,
    version: int,
    secret: bytes,
    sealing: Sealing,
    at: datetime,
) -> None:
    sealed = seal(sealing.keys, organization_id, endpoint_id, secret, sealing.random(NONCE_BYTES))
    connection.execute(
        "INSERT INTO alert_secrets (organization_id, endpoint_id, version, sealed, created_at) VALUES (%s, %s, %s, %s, %s)",
        (organization_id, endpoint_id, version, sealed, at),
    )


def _endpoint(row: tuple[Any, ...]) -> Endpoint:
    id_, name, kind, shown, event_types, *rest = row
    return Endpoint(id_, name, kind, shown, tuple(event_types), *rest)


def _get(connection: Connection, organization_id: UUID, endpoint_id: UUID) -> Endpoint:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM alert_endpoints WHERE organization_id = %s AND id = %s AND deleted_at IS NULL",  # noqa: S608
        (organization_id, endpoint_id),
    ).fetchone()
    if row is None:
        raise NotFound("there is no such endpoint")
    return _endpoint(row)


def _record(
    connection: Connection, organization_id: UUID, by: str, action: str, endpoint: Endpoint, at: datetime
) -> None:
    after = {
        "id": str(endpoint.id),
        "name": endpoint.name,
        "kind": endpoint.kind,
        "to": endpoint.shown,
        "event_types": list(endpoint.event_types),
        "enabled": endpoint.disabled_at is None,
    }
    actions.record(connection, organization_id, actor=by, action=action, before=None, after=after, at=at)
