"""The applier: an event says that an object changed, its present state is fetched and stored, effect and mark together.

| failure | consequence |
|---|---|
| crash before the commit | neither effect nor mark: the event is taken again |
| crash after it | both: it is not taken again |
| the same event twice, or an older one later | the present state is fetched again: the same rows |
| two appliers, one object | a lock by the object's id is held from before the fetch to the commit: an older picture never wins |
| Stripe does not answer, or says 429 | the event waits and loses no attempt; the pass ends |
| a sender has the hours of the customer that another is to replace | the event waits and loses no attempt |
| its customer is not linked yet, its price is unknown, Stripe or a table refuses | later again, five times, then dead: rings |
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import psycopg

from billing import customers, dunning, events, invoices, ledger, subscriptions
from billing import stripe_gateway as gateway
from billing import stripe_objects as objects
from billing.alarms import Alarm, clear, raise_alarm
from billing.customers import NotLinked
from billing.events import Stored
from billing.stripe_prices import UnknownPrice
from schemas.errors import DriftlockError

Connection = psycopg.Connection[Any]
Clock = Callable[[], datetime]
CrashPoint = Callable[[str], None]

STRIPE_IS_BACK = timedelta(seconds=30)


class RefusedSubscription(DriftlockError):
    """A subscription at Stripe that can't be booked here."""

    def __init__(self, subscription_id: str, error: DriftlockError) -> None:
        super().__init__(f"subscription {subscription_id}: {error}")
        self.subscription_id = subscription_id
        self.kind = "unknown_price" if isinstance(error, UnknownPrice) else "customer_conflict"


@dataclass(frozen=True)
class Applier:
    """What applying needs. The connection is in autocommit mode, as role driftlock_webhook."""

    connection: Connection
    stripe: gateway.Connection
    clock: Clock
    rng: random.Random
    crash: CrashPoint = lambda _name: None


@dataclass(frozen=True)
class Done:
    """What became of an event. `down`: Stripe did not answer, it waits."""

    event: Stored
    became: Literal["applied", "ignored", "retried", "dead", "down"]
    said: str = ""


def require_mode(connection: Connection, stripe: gateway.Connection) -> None:
    """`LiveModeMismatch` where the key's mode is not the database's."""
    row = connection.execute("SELECT livemode FROM installation").fetchone()
    if row is None or row[0] != stripe.livemode:
        raise gateway.LiveModeMismatch


def apply_next(applier: Applier) -> Done | None:
    """Apply the next event that is due, in one transaction; None if there is none."""
    connection, now = applier.connection, applier.clock()
    with connection.transaction():
        event = events.take(connection, now)
        if event is None:
            return None
        done = _attempt(applier, event, now)
        applier.crash("webhooks:after-effect-before-commit")
    applier.crash("webhooks:after-commit")
    return done


def _attempt(applier: Applier, event: Stored, now: datetime) -> Done:
    connection = applier.connection
    kind = objects.kind_of(event.type)
    if not kind or (event.object_id is None and kind != "rejection"):
        events.mark(connection, event.id, "ignored", now)
        return Done(event, "ignored")
    try:
        with connection.transaction():  # a savepoint: a failure leaves nothing but its note
            _apply(applier, kind, event, now)
            applier.crash("webhooks:after-effect-before-mark")
            events.mark(connection, event.id, "applied", now)
            clear(connection, "event_dead", event.id, now)
    except (gateway.StripeUnanswered, gateway.StripeBusy) as error:
        events.postpone(connection, event, str(error), now + STRIPE_IS_BACK)
        return Done(event, "down", str(error))
    except customers.HoursInFlight as error:
        events.postpone(connection, event, str(error), now + STRIPE_IS_BACK)
        return Done(event, "retried", str(error))
    except (DriftlockError, psycopg.errors.DataError, psycopg.errors.IntegrityError) as error:
        if isinstance(error, gateway.LiveModeMismatch):
            raise
        return _failed(connection, event, error, now, applier.rng)
    return Done(event, "applied")


def _failed(connection: Connection, event: Stored, error: Exception, now: datetime, rng: random.Random) -> Done:
    said = " ".join(str(error).split())[:500]
    if isinstance(error, RefusedSubscription):
        # Rings from the first time on: somebody pays for what is not booked here.
        raise_alarm(connection, Alarm(error.kind, error.subscription_id, said), now)
    dead = events.failed(connection, event, said, now, rng)
    if dead:
        raise_alarm(connection, Alarm("event_dead", event.id, f"{event.type} {event.object_id}: {said}"), now)
    return Done(event, "dead" if dead else "retried", said)


def _apply(applier: Applier, kind: objects.Kind, event: Stored, now: datetime) -> None:
    object_id = event.object_id or ""
    if kind == "subscription":
        apply_subscription(applier, object_id, now)
    elif kind == "session":
        _apply_session(applier, object_id, now)
    elif kind == "invoice":
        apply_invoice(applier, object_id, now, failed=event.type == "invoice.payment_failed")
    else:
        _apply_rejection(applier, event.id, now)


def _lock_object(connection: Connection, object_id: str) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (f"driftlock stripe {object_id}",))


def apply_subscription(applier: Applier, subscription_id: str, now: datetime, hint: str = "") -> UUID:
    """Fetch a subscription and store it, its customer's link, its periods and what follows for access; whose it is.

    `hint`: the organization that the checkout session named. The caller has a transaction. `RefusedSubscription` where its
    price is of no plan, or its organization has another live one.
    """
    connection, stripe = applier.connection, applier.stripe
    _lock_object(connection, subscription_id)
    found = objects.read_subscription(stripe, subscription_id)
    applier.crash("webhooks:after-fetch")
    _check_mode(stripe, found.livemode)
    try:
        try:
            link = _keep(connection, stripe, found, hint, now)
        except customers.CustomerConflict as conflict:
            if not conflict.other:
                raise
            # What is known of the other one may be old: it is fetched too, and if it has ended, this one takes its place.
            apply_subscription(applier, conflict.other, now)
            link = _keep(connection, stripe, found, hint, now)
    except (UnknownPrice, customers.CustomerConflict) as error:
        raise RefusedSubscription(subscription_id, error) from error
    clear(connection, "customer_conflict", subscription_id, now)
    dunning.refresh(connection, link.organization_id, now)
    return link.organization_id


def _keep(
    connection: Connection, stripe: gateway.Connection, found: objects.Subscription, hint: str, now: datetime
) -> customers.Link:
    # Asks Stripe first: what follows locks the organization's books, and the usage sink would wait for Stripe.
    plans = subscriptions.plans_of(connection, stripe, found, now)
    began_at = invoices.at(found.started_at) or now
    link = customers.resolve(connection, stripe, found.customer, found.organization_id or hint, began_at, now)
    subscriptions.keep(connection, link, found, plans, now)
    return link


def _apply_session(applier: Applier, session_id: str, now: datetime) -> None:
    _lock_object(applier.connection, session_id)
    found = objects.read_session(applier.stripe, session_id)
    _check_mode(applier.stripe, found.livemode)
    if found.status == "complete" and found.subscription is not None:
        apply_subscription(applier, found.subscription, now, found.organization_id)


def apply_invoice(applier: Applier, invoice_id: str, now: datetime, *, failed: bool = False) -> None:
    """Fetch an invoice and mirror it; tell a payment that `failed`; derive access anew. The caller has a transaction."""
    connection, stripe = applier.connection, applier.stripe
    _lock_object(connection, invoice_id)
    try:
        found = objects.read_invoice(stripe, invoice_id)
    except gateway.StripeMissing:
        invoices.gone(connection, invoice_id, now)
        return
    applier.crash("webhooks:after-fetch")
    _check_mode(stripe, found.livemode)
    link = customers.find(connection, found.customer)
    known = connection.execute("SELECT 1 FROM subscriptions WHERE id = %s", (found.subscription,)).fetchone()
    if link is None or (found.subscription is not None and not known):
        if found.subscription is None:
            raise NotLinked(f"invoice {invoice_id}: customer {found.customer} is not linked")
        # Its subscription was never seen: that comes first, so that the order of the events does not matter.
        organization_id = apply_subscription(applier, found.subscription, now)
    else:
        organization_id = link.organization_id
    ledger.lock(connection, [organization_id])
    invoices.mirror(connection, organization_id, found, now)
    standing = dunning.refresh(connection, organization_id, now)
    if failed:
        invoices.tell_failure(connection, organization_id, found, standing, now)
    invoices.hold_if_differing(connection, stripe, organization_id, found, now)


def _apply_rejection(applier: Applier, event_id: str, now: datetime) -> None:
    """Totals that Stripe took and rejected later: it rings, and each named hour is read back and sent again."""
    connection = applier.connection
    found = objects.read_rejection(applier.stripe, event_id)
    hours = connection.execute(
        "UPDATE meter_hours SET state = 'unconfirmed', agreed_at = NULL, next_attempt_at = %s, last_error = %s"
        " WHERE sent_identifier = ANY(%s) AND state <> 'frozen' RETURNING organization_id, customer_id, hour",
        (now, f"rejected later: {found.said}"[:500], list(found.identifiers)),
    ).fetchall()
    organization_id = hours[0][0] if len({row[0] for row in hours}) == 1 else None
    named = ", ".join(f"{customer} {hour:%Y-%m-%dT%H}Z" for _, customer, hour in sorted(hours)) or "no hour of ours"
    said = f"{found.count} meter events rejected: {found.said} ({named})"
    raise_alarm(connection, Alarm("meter_rejected", found.meter or event_id, said, organization_id), now)


def _check_mode(stripe: gateway.Connection, livemode: bool) -> None:
    if livemode != stripe.livemode:
        raise gateway.LiveModeMismatch


def tick(applier: Applier) -> int:
    """What the clock brings without an event: graces that are over, trials that end; how many graces ended."""
    connection, now = applier.connection, applier.clock()
    over = dunning.overdue(connection, now)
    for organization_id in over:
        with connection.transaction():
            ledger.lock(connection, [organization_id])
            dunning.refresh(connection, organization_id, now)
            applier.crash("webhooks:after-dunning-before-commit")
    with connection.transaction():
        subscriptions.announce_trial_ends(connection, now)
    return len(over)
