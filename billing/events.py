"""Events of Stripe as they are stored: put in by the receiver or from Stripe's list, taken out by the applier.

| state | what |
|---|---|
| stored | waits to be applied; `next_attempt_at` where it could not be |
| applied | its object's present state is in our tables |
| ignored | it says nothing that we keep |
| dead | it could not be applied five times: rings until `driftlock stripe events retry` |
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from schemas.errors import DriftlockError

Connection = psycopg.Connection[Any]
Source = Literal["webhook", "list"]

ATTEMPTS = 5
FIRST_WAIT = timedelta(minutes=1)
FACTOR = 4


class BadEvent(DriftlockError):
    """The body is no event of Stripe."""


class WrongMode(DriftlockError):
    """The event is of the other mode (test, live) than this database: refused."""


@dataclass(frozen=True)
class Event:
    """What an event says of itself; the object in its body is a picture of the past and is never applied."""

    id: str
    type: str
    livemode: bool
    object_id: str | None
    created_at: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Stored:
    """An event that waits, as the applier and `driftlock stripe events list` see it."""

    id: str
    type: str
    object_id: str | None
    created_at: datetime
    received_at: datetime
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None
    state: str


def parse(body: bytes) -> Event:
    """The event of a webhook's verified body, with its object in it or thin; `BadEvent` says what is wrong with it."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadEvent(f"the body is no JSON: {error}") from None
    if not isinstance(said, dict):
        raise BadEvent("the body is no JSON object")
    return read(said)


def read(said: Mapping[str, Any]) -> Event:
    """The same of an event that was listed."""
    event_id, kind, livemode, created = (said.get(name) for name in ("id", "type", "livemode", "created"))
    if not (isinstance(event_id, str) and 0 < len(event_id) <= 255 and event_id.isprintable()):
        raise BadEvent("id: must be a text of 1 to 255 characters")
    if not (isinstance(kind, str) and 0 < len(kind) <= 255 and kind.isprintable()):
        raise BadEvent("type: must be a text of 1 to 255 characters")
    if not isinstance(livemode, bool):
        raise BadEvent("livemode: must be true or false")
    object_id = _object_id(said)
    if "\\u0000" in orjson.dumps(said).decode():
        raise BadEvent("the body holds a NUL, which PostgreSQL does not store")
    return Event(event_id, kind, livemode, object_id, _time(created), said)


def _object_id(said: Mapping[str, Any]) -> str | None:
    data = said.get("data")
    thing = (data.get("object") if isinstance(data, Mapping) else None) or said.get("related_object")
    found = thing.get("id") if isinstance(thing, Mapping) else None
    return found if isinstance(found, str) and len(found) <= 255 else None


def _time(created: object) -> datetime:
    """Seconds since 1970, or RFC 3339 in thin events."""
    try:
        if isinstance(created, int) and not isinstance(created, bool) and 0 <= created < 1 << 34:
            return datetime.fromtimestamp(created, UTC)
        if isinstance(created, str):
            made = datetime.fromisoformat(created)
            return made if made.tzinfo else made.replace(tzinfo=UTC)
    except ValueError:
        pass
    raise BadEvent("created: must be a time")


def store(connection: Connection, event: Event, now: datetime, source: Source = "webhook") -> bool:
    """Keep an event; False if it is known. `WrongMode` if it is of the other mode than the database."""
    try:
        done = connection.execute(
            "INSERT INTO stripe_events (id, type, livemode, object_id, body, created_at, received_at, source)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (
                event.id,
                event.type,
                event.livemode,
                event.object_id,
                Jsonb(event.body, dumps=orjson.dumps),
                event.created_at,
                now,
                source,
            ),
        )
    except psycopg.errors.ForeignKeyViolation:
        raise WrongMode from None
    return bool(done.rowcount)


_COLUMNS = "id, type, object_id, created_at, received_at, attempts, next_attempt_at, last_error, state"


def take(connection: Connection, now: datetime) -> Stored | None:
    """Lock the next event that is due until the transaction ends, or None. Other appliers pass it by."""
    with connection.cursor(row_factory=class_row(Stored)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM stripe_events WHERE state = 'stored'"  # noqa: S608 names of our own
            " AND (next_attempt_at IS NULL OR next_attempt_at <= %s) ORDER BY received_at, created_at, id LIMIT 1"
            " FOR UPDATE SKIP LOCKED",
            (now,),
        ).fetchone()


def mark(connection: Connection, event_id: str, state: Literal["applied", "ignored"], now: datetime) -> None:
    """It is done with."""
    connection.execute(
        "UPDATE stripe_events SET state = %s, applied_at = %s, next_attempt_at = NULL, last_error = NULL WHERE id = %s",
        (state, now, event_id),
    )


def failed(connection: Connection, event: Stored, said: str, now: datetime, rng: random.Random) -> bool:
    """It could not be applied: later again, or dead after the fifth time; whether it is dead."""
    attempts = event.attempts + 1
    dead = attempts >= ATTEMPTS
    wait = FIRST_WAIT * FACTOR**event.attempts * rng.randint(50, 100) // 100
    connection.execute(
        "UPDATE stripe_events SET attempts = %s, state = %s, next_attempt_at = %s, last_error = %s WHERE id = %s",
        (attempts, "dead" if dead else "stored", None if dead else now + wait, said, event.id),
    )
    return dead


def postpone(connection: Connection, event: Stored, said: str, until: datetime) -> None:
    """Stripe did not answer: that is no fault of the event and no attempt of it."""
    connection.execute(
        "UPDATE stripe_events SET next_attempt_at = %s, last_error = %s WHERE id = %s", (until, said, event.id)
    )


def listed(connection: Connection, states: tuple[str, ...], limit: int) -> list[Stored]:
    """Events in some states, the newest first."""
    with connection.cursor(row_factory=class_row(Stored)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM stripe_events WHERE state = ANY(%s) ORDER BY received_at DESC, id LIMIT %s",  # noqa: S608
            (list(states), limit),
        ).fetchall()


def retry(connection: Connection, event_ids: tuple[str, ...]) -> list[str]:
    """Let dead events (these, or all) be applied again from the first attempt on; which."""
    rows = connection.execute(
        "UPDATE stripe_events SET state = 'stored', attempts = 0, next_attempt_at = NULL WHERE state = 'dead'"
        " AND (%s OR id = ANY(%s)) RETURNING id",
        (not event_ids, list(event_ids)),
    ).fetchall()
    return sorted(found for (found,) in rows)


def waiting(connection: Connection) -> tuple[int, datetime | None, int]:
    """How many events wait, since when the oldest does, and how many are dead."""
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE state = 'stored'), min(received_at) FILTER (WHERE state = 'stored'),"
        " count(*) FILTER (WHERE state = 'dead') FROM stripe_events WHERE state IN ('stored', 'dead')"
    ).fetchone()
    return (0, None, 0) if row is None else (row[0], row[1], row[2])
