"""The mirror of Stripe's invoices, its present state each time; a payment that failed is told, a differing draft held."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from billing import alarms, announce
from billing.dunning import Standing
from billing.periods import milliseconds
from billing.stripe_gateway import Connection as Stripe
from billing.stripe_objects import DRAFT, Invoice
from billing.stripe_orders import hold_invoice
from schemas.notices import BillingPaymentFailed

Connection = psycopg.Connection[Any]


def at(seconds: int | None) -> datetime | None:
    """The time of Stripe's seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def mirror(connection: Connection, organization_id: UUID, invoice: Invoice, now: datetime) -> None:
    """Store an invoice as it was just fetched; whether it is held is what Stripe says."""
    held = invoice.held and invoice.status == DRAFT
    connection.execute(
        "INSERT INTO invoices_mirror AS i (id, organization_id, customer_id, subscription_id, livemode, number, status,"
        " currency, total_cents, amount_due_cents, period_start, period_end, hosted_url, fetched_at, billing_reason,"
        " created_at, finalized_at, paid_at, next_payment_attempt, attempt_count, pdf_url, held_at, held_for)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET number = excluded.number, status = excluded.status,"
        " total_cents = excluded.total_cents, amount_due_cents = excluded.amount_due_cents,"
        " period_start = excluded.period_start, period_end = excluded.period_end, hosted_url = excluded.hosted_url,"
        " fetched_at = excluded.fetched_at, finalized_at = excluded.finalized_at, paid_at = excluded.paid_at,"
        " next_payment_attempt = excluded.next_payment_attempt, attempt_count = excluded.attempt_count,"
        " pdf_url = excluded.pdf_url,"
        " held_at = CASE WHEN excluded.held_at IS NULL THEN NULL ELSE coalesce(i.held_at, excluded.held_at) END,"
        " held_for = CASE WHEN excluded.held_at IS NULL THEN NULL ELSE coalesce(i.held_for, excluded.held_for) END",
        (
            invoice.id,
            organization_id,
            invoice.customer,
            invoice.subscription,
            invoice.livemode,
            invoice.number,
            invoice.status,
            invoice.currency,
            invoice.total,
            invoice.due,
            at(invoice.period_start),
            at(invoice.period_end),
            invoice.hosted_url,
            now,
            invoice.billing_reason,
            at(invoice.created),
            at(invoice.finalized_at),
            at(invoice.paid_at),
            at(invoice.next_attempt_at),
            invoice.attempts,
            invoice.pdf_url,
            now if held else None,
            "held at Stripe" if held else None,
        ),
    )


def gone(connection: Connection, invoice_id: str, now: datetime) -> None:
    """A draft that Stripe has no more: it was deleted there, and is void here."""
    connection.execute(
        "UPDATE invoices_mirror SET status = 'void', fetched_at = %s WHERE id = %s AND status = 'draft'",
        (now, invoice_id),
    )


def tell_failure(
    connection: Connection, organization_id: UUID, invoice: Invoice, standing: Standing, now: datetime
) -> None:
    """Tell, once for each invoice, that its payment failed, if it is still to be paid."""
    if invoice.status != "open" or not invoice.due:
        return
    notice = BillingPaymentFailed(
        organization_id=organization_id,
        at=milliseconds(now),
        invoice_id=invoice.id,
        amount_due_cents=invoice.due,
        currency=invoice.currency,
        attempt=invoice.attempts,
        next_attempt_at=None if invoice.next_attempt_at is None else invoice.next_attempt_at * 1000,
        grace_until=milliseconds(standing.deadline_at) if standing.state == "grace" and standing.deadline_at else None,
        hosted_url=invoice.hosted_url,
    )
    announce.tell(connection, f"payment_failed/{invoice.id}", notice)


def hold_if_differing(
    connection: Connection, stripe: Stripe, organization_id: UUID, invoice: Invoice, now: datetime
) -> bool:
    """Hold a draft that closes a period, where ledger and Stripe differ for its organization; whether it is held now.

    A draft is final after an hour, sooner than the next reconciling may come: so a difference of any age holds it.
    """
    if invoice.status != DRAFT or invoice.billing_reason in (None, "manual", "subscription_create"):
        return False
    open_ = alarms.open_for(connection, organization_id, ("difference",), only_ringing=False)
    return bool(open_) and hold(connection, stripe, organization_id, invoice.id, open_[0], now)


def hold(
    connection: Connection,
    stripe: Stripe,
    organization_id: UUID,
    invoice_id: str,
    why: str,
    now: datetime,
    crash: Callable[[str], None] = lambda _name: None,
) -> bool:
    """Keep a draft from becoming final, for a reason; False if it is final already.

    Held and not stored (we died): Stripe's own event of that change, or the resync, stores it.
    """
    if not hold_invoice(stripe, invoice_id, hold=True):
        return False
    crash("reconcile:after-hold-before-mark")
    done = connection.execute(
        "UPDATE invoices_mirror SET held_at = %s, held_for = %s, released_at = NULL WHERE id = %s AND held_at IS NULL",
        (now, why, invoice_id),
    )
    if done.rowcount:
        said = {"invoice_id": invoice_id, "why": why}
        announce.acted(connection, organization_id, "driftlock", "invoice.hold", None, said, now)
    return True


def release(connection: Connection, stripe: Stripe, organization_id: UUID, invoice_id: str, now: datetime) -> None:
    """Let a held draft become final."""
    hold_invoice(stripe, invoice_id, hold=False)
    connection.execute(
        "UPDATE invoices_mirror SET held_at = NULL, held_for = NULL, released_at = %s WHERE id = %s", (now, invoice_id)
    )
    announce.acted(connection, organization_id, "driftlock", "invoice.release", {"invoice_id": invoice_id}, None, now)


def held(connection: Connection) -> list[tuple[UUID, str, datetime]]:
    """Organization, invoice and since when, of each draft that is held."""
    return connection.execute(
        "SELECT organization_id, id, held_at FROM invoices_mirror WHERE held_at IS NOT NULL ORDER BY held_at, id"
    ).fetchall()


@dataclass(frozen=True)
class Mirrored:
    """An invoice as the tenant is shown it; amounts in whole cents."""

    id: str
    number: str | None
    status: str
    currency: str
    total_cents: int
    amount_due_cents: int
    period_start: datetime
    period_end: datetime
    created_at: datetime | None
    paid_at: datetime | None
    next_payment_attempt: datetime | None
    attempt_count: int
    hosted_url: str | None
    pdf_url: str | None


def of_organization(connection: Connection, organization_id: UUID, limit: int = 100) -> list[Mirrored]:
    """The mirrored invoices of an organization, the newest first, in its tenant's transaction."""
    with connection.cursor(row_factory=class_row(Mirrored)) as cursor:
        return cursor.execute(
            "SELECT id, number, status, currency, total_cents, amount_due_cents, period_start, period_end, created_at,"
            " paid_at, next_payment_attempt, attempt_count, hosted_url, pdf_url FROM invoices_mirror"
            " WHERE organization_id = %s ORDER BY created_at DESC NULLS LAST, id LIMIT %s",
            (organization_id, limit),
        ).fetchall()
