"""The protocol of one hour's total at Stripe, pure: what a row of `meter_hours` becomes before, after and between requests.

A request is noted before it is sent. So whatever happens to us in between, the next sender sees a note without an
answer, and treats the hour as after a time-out: Stripe may have applied the request, may apply it later (even after a
newer one), or never. Such an hour is `unconfirmed` until Stripe's summary equalled our total in two reads ten minutes
apart; when it differs, the total is sent again as a new version, which overwrites whatever won.
"""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

State = Literal["pending", "sent", "unconfirmed", "confirmed", "frozen"]
Outcome = Literal["accepted", "exists", "busy", "unanswered", "refused"]
"""What became of a request: accepted; its identifier was known; not applied (429); nobody knows; refused for good."""

HOUR = timedelta(hours=1)
OLDEST = timedelta(days=35) - HOUR
"""Stripe takes events of the last 35 days; an hour's margin, so that none is refused on its way."""
OLD = timedelta(days=30)
FIRST_READ = timedelta(minutes=1)
BETWEEN_READS = timedelta(minutes=10)
AFTER_REFUSAL = timedelta(hours=1)
BACKOFF_SECONDS = 2.0
BACKOFF_MOST_SECONDS = 900.0
IDENTIFIER_LENGTH = 100
LAST_SECOND = 59


@dataclass(frozen=True)
class Hour:
    """A row of `meter_hours`: `units` and `version` are the ledger's, the rest is the sender's."""

    organization_id: UUID
    customer_id: str
    hour: datetime
    units: int
    version: int
    sent_version: int = 0
    sent_units: int | None = None
    sent_identifier: str | None = None
    sent_at: datetime | None = None
    state: State = "pending"
    agreed_at: datetime | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    last_error: str | None = None


def identifier(hour: Hour, meter_id: str, epoch: int, version: int) -> str:
    """`customer:meter:hour:epoch.version`, at most 100 characters: the same for the same total, never for another."""
    made = f"{hour.customer_id}:{meter_id}:{hour.hour.astimezone(UTC):%Y%m%dT%H}:{epoch}.{version}"
    if len(made) > IDENTIFIER_LENGTH:
        raise ValueError(
            f"an identifier of a meter event is {len(made)} characters long, Stripe takes {IDENTIFIER_LENGTH}"
        )
    return made


def sender_lock(customer_id: str) -> str:
    """The name of the advisory lock of who sends, or freezes, a customer's hours."""
    return f"driftlock meter {customer_id}"


def timestamp(hour: Hour) -> int:
    """Seconds since 1970 of the event: a newer version is never older, whichever way Stripe means "most recent"."""
    return int(hour.hour.timestamp()) + min(hour.version, LAST_SECOND)


def is_due(hour: Hour, now: datetime) -> bool:
    """Whether its total is to be sent now."""
    return (
        hour.state != "frozen"
        and hour.sent_version < hour.version
        and hour.hour + HOUR <= now
        and (hour.next_attempt_at is None or hour.next_attempt_at <= now)
    )


def is_unread(hour: Hour, now: datetime) -> bool:
    """Whether Stripe's summary of it is to be read now."""
    return (
        hour.state == "unconfirmed"
        and hour.sent_version == hour.version
        and (hour.next_attempt_at is None or hour.next_attempt_at <= now)
    )


def needs_no_request(hour: Hour) -> bool:
    """Nothing billable in it and nothing ever sent: Stripe's total is 0 already."""
    return hour.units == 0 and hour.sent_identifier is None


def without_request(hour: Hour, now: datetime) -> Hour:
    """The hour after nothing had to be sent."""
    return replace(hour, state="sent", sent_version=hour.version, sent_units=0, sent_at=now)


def before_send(hour: Hour, meter_id: str, epoch: int, now: datetime) -> Hour:
    """The note of the request that follows: its identifier and units. In doubt if an earlier note has no answer."""
    unanswered = hour.sent_identifier is not None and hour.sent_identifier != identifier(
        hour, meter_id, epoch, hour.sent_version
    )
    return replace(
        hour,
        state="unconfirmed" if unanswered else hour.state,
        sent_identifier=identifier(hour, meter_id, epoch, hour.version),
        sent_units=hour.units,
        sent_at=now,
        agreed_at=None,
        attempts=hour.attempts + 1,
    )


def after_send(before: Hour, noted: Hour, outcome: Outcome, said: str, now: datetime, rng: random.Random) -> Hour:
    """The hour after a request: `before` it was noted, `noted`, and what became of it. `rng` spreads the next attempt."""
    if outcome == "exists":
        same = before.sent_identifier == noted.sent_identifier and before.sent_units == noted.sent_units
        if same:
            return _acknowledged(noted, now)
        # Under this identifier Stripe holds a total that we did not note: never a success, whatever it is.
        return new_version(noted, now, f"sent again as a new version: {said}")
    if outcome == "accepted":
        return _acknowledged(noted, now)
    later = replace(noted, next_attempt_at=now + backoff(noted.attempts, rng), last_error=said)
    if outcome == "unanswered":
        return replace(later, state="unconfirmed")
    # Certainly not applied: the note goes, so that it does not read as a doubt.
    certain = replace(
        later, sent_identifier=before.sent_identifier, sent_units=before.sent_units, sent_at=before.sent_at
    )
    return certain if outcome == "busy" else replace(certain, next_attempt_at=now + AFTER_REFUSAL)


def _acknowledged(noted: Hour, now: datetime) -> Hour:
    return replace(
        noted,
        state="unconfirmed" if noted.state == "unconfirmed" else "sent",
        sent_version=noted.version,
        sent_at=now,
        attempts=0,
        next_attempt_at=now + FIRST_READ if noted.state == "unconfirmed" else None,
        last_error=None,
    )


def after_read(hour: Hour, units: int, now: datetime) -> Hour:
    """An unconfirmed hour after Stripe's summary said `units`: confirmed, to be read again, or a new version to send."""
    if units == hour.units:
        if hour.agreed_at is None:
            return replace(hour, agreed_at=now, next_attempt_at=now + BETWEEN_READS)
        if now - hour.agreed_at < BETWEEN_READS:
            return replace(hour, next_attempt_at=hour.agreed_at + BETWEEN_READS)
        return replace(hour, state="confirmed", next_attempt_at=None, last_error=None)
    settled_at = (hour.sent_at or now) + BETWEEN_READS
    if hour.agreed_at is None and now < settled_at:
        return replace(hour, next_attempt_at=settled_at)  # summaries lag: not yet a difference
    return new_version(hour, now, f"sent again as a new version: Stripe shows {units}, the ledger {hour.units}")


def new_version(hour: Hour, now: datetime, said: str) -> Hour:
    """The same total under a new identifier and a newer second, due at once, in doubt until it was read twice."""
    return replace(
        hour, version=hour.version + 1, state="unconfirmed", agreed_at=None, next_attempt_at=now, last_error=said
    )


def backoff(attempts: int, rng: random.Random) -> timedelta:
    """How long to wait after so many failures: doubling from 2 s to 15 minutes, a random half of it."""
    most = min(BACKOFF_MOST_SECONDS, BACKOFF_SECONDS * 2.0 ** min(attempts - 1, 30))
    return timedelta(seconds=most * (0.5 + rng.random() / 2))
