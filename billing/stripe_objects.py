"""What Stripe shows at present: subscriptions, invoices, checkout sessions, events. Reads only, times in seconds since 1970."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar

from billing.stripe_gateway import Connection, StripeMissing, named
from schemas.errors import DriftlockError

Shown = TypeVar("Shown")

ENDED = frozenset({"canceled", "incomplete_expired"})
"""Statuses of a subscription that is over for good."""
DRAFT = "draft"
HOLD = "driftlock_hold"
"""Key of an invoice's metadata: the draft is held by us."""
REJECTIONS = frozenset({"v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"})
"""Types of thin events that tell of meter events taken and rejected later; the second names no meter."""


class UnknownShape(DriftlockError):
    """Stripe shows an object without what it always had: of an API version that is not ours, or by mistake."""


@dataclass(frozen=True)
class Subscription:
    """A subscription as Stripe shows it now, the period half open. `organization_id` is what its metadata says, or ''."""

    id: str
    customer: str
    status: str
    anchor: int
    period_start: int
    period_end: int
    prices: tuple[str, ...]
    items: tuple[str, ...] = ()
    started_at: int = 0
    ended_at: int | None = None
    trial_end: int | None = None
    cancel_at_period_end: bool = False
    schedule: str | None = None
    organization_id: str = ""
    livemode: bool = False


@dataclass(frozen=True)
class Invoice:
    """An invoice as Stripe shows it now; amounts in whole cents. `attempts` were made to collect it."""

    id: str
    customer: str
    subscription: str | None
    status: str
    currency: str
    total: int
    due: int
    created: int
    period_start: int
    period_end: int
    number: str | None = None
    billing_reason: str | None = None
    attempts: int = 0
    attempted: bool = False
    auto_advance: bool = False
    finalized_at: int | None = None
    paid_at: int | None = None
    next_attempt_at: int | None = None
    hosted_url: str | None = None
    pdf_url: str | None = None
    held: bool = False
    livemode: bool = False


@dataclass(frozen=True)
class Session:
    """A checkout session. `organization_id` is its client_reference_id, or ''."""

    id: str
    status: str
    customer: str | None
    subscription: str | None
    organization_id: str
    url: str | None = None
    livemode: bool = False


@dataclass(frozen=True)
class Customer:
    """A customer; `deleted` ones keep their id for ever. `organization_id` is what the metadata says, or ''."""

    id: str
    organization_id: str
    deleted: bool = False


@dataclass(frozen=True)
class Rejection:
    """Meter events that Stripe took and rejected later: how many, why, and the identifiers that it names as samples."""

    meter: str
    count: int
    said: str
    identifiers: tuple[str, ...]


def _readable(read: Callable[[Any], Shown]) -> Callable[[Any], Shown]:
    """`UnknownShape`, in one line, where `read` misses something in the library's object: it is retried, dead, and rings."""

    @wraps(read)
    def checked(of: Any) -> Shown:
        try:
            return read(of)
        except (LookupError, AttributeError, TypeError, ValueError) as error:
            said = f"{type(error).__name__} {error}".splitlines()[0]
            raise UnknownShape(f"Stripe shows {getattr(of, 'id', 'an object')} in an unknown shape: {said}") from error

    return checked


def _id(of: Any) -> str | None:
    return None if of is None else of if isinstance(of, str) else str(of.id)


def _said(of: Any, key: str) -> str:
    """What an object's metadata says, or ''."""
    return str(of.metadata[key] or "") if of.metadata and key in of.metadata else ""


def _meta(of: Any) -> str:
    return _said(of, "organization_id")


@_readable
def subscription(of: Any) -> Subscription:
    """Our view of the library's object."""
    items = of["items"].data
    return Subscription(
        of.id,
        _id(of.customer) or "",
        of.status,
        of.billing_cycle_anchor,
        min(item.current_period_start for item in items),
        max(item.current_period_end for item in items),
        tuple(item.price.id for item in items),
        items=tuple(item.id for item in items),
        started_at=of.start_date,
        ended_at=of.ended_at,
        trial_end=of.trial_end,
        cancel_at_period_end=of.cancel_at_period_end,
        schedule=_id(of.schedule),
        organization_id=_meta(of),
        livemode=of.livemode,
    )


def read_subscription(at: Connection, subscription_id: str) -> Subscription:
    """A subscription as it is now; a canceled one is still there. `StripeMissing` if there never was one."""
    with named():
        return subscription(at.client.v1.subscriptions.retrieve(subscription_id))


def list_subscriptions(at: Connection) -> Iterator[Subscription]:
    """Every subscription, ended ones too, newest first."""
    with named():
        listed = at.client.v1.subscriptions.list({"status": "all", "limit": 100})
        for found in listed.auto_paging_iter():
            yield subscription(found)


@_readable
def _invoice(of: Any) -> Invoice:
    parent = of.parent.subscription_details if of.parent else None
    return Invoice(
        of.id or "",
        _id(of.customer) or "",
        _id(parent.subscription) if parent else None,
        of.status or "",
        of.currency,
        of.total,
        of.amount_due,
        of.created,
        of.period_start,
        of.period_end,
        number=of.number,
        billing_reason=of.billing_reason,
        attempts=of.attempt_count,
        attempted=of.attempted,
        auto_advance=bool(of.auto_advance),
        finalized_at=of.status_transitions.finalized_at,
        paid_at=of.status_transitions.paid_at,
        next_attempt_at=of.next_payment_attempt,
        hosted_url=of.hosted_invoice_url,
        pdf_url=of.invoice_pdf,
        held=_said(of, HOLD) == "true" and not of.auto_advance,
        livemode=of.livemode,
    )


def read_invoice(at: Connection, invoice_id: str) -> Invoice:
    """An invoice as it is now; `StripeMissing` for a draft that was deleted."""
    with named():
        return _invoice(at.client.v1.invoices.retrieve(invoice_id))


def list_invoices(at: Connection, customer: str, since: int = 0) -> Iterator[Invoice]:
    """The invoices of a customer made since then, newest first."""
    with named():
        listed = at.client.v1.invoices.list({"customer": customer, "created": {"gte": since}, "limit": 100})
        for found in listed.auto_paging_iter():
            yield _invoice(found)


def read_session(at: Connection, session_id: str) -> Session:
    """A checkout session as it is now."""
    with named():
        return session(at.client.v1.checkout.sessions.retrieve(session_id))


@_readable
def session(of: Any) -> Session:
    """Our view of the library's object."""
    return Session(
        of.id,
        of.status or "",
        _id(of.customer),
        _id(of.subscription),
        of.client_reference_id or "",
        url=of.url,
        livemode=of.livemode,
    )


def read_customer(at: Connection, customer_id: str) -> Customer:
    """A customer; a deleted one is told as such."""
    with named():
        found = at.client.v1.customers.retrieve(customer_id)
    if getattr(found, "deleted", False):
        return Customer(customer_id, "", deleted=True)
    return Customer(customer_id, _meta(found))


def list_events(at: Connection, since: int) -> Iterator[Mapping[str, Any]]:
    """Events made since then (Stripe keeps 30 days), newest first: what each says of itself, and its object's id."""
    with named():
        for event in at.client.v1.events.list({"created": {"gte": since}, "limit": 100}).auto_paging_iter():
            shown = event.data.object
            thing = {"id": shown["id"], "object": shown["object"]} if "id" in shown else {}
            head = {"id": event.id, "object": "event", "type": event.type, "livemode": event.livemode}
            yield {**head, "created": event.created, "data": {"object": thing}}


def read_rejection(at: Connection, event_id: str) -> Rejection:
    """What an event of `REJECTIONS` reports: its webhook carries only the event's id."""
    with named():
        event = at.client.v2.core.events.retrieve(event_id).to_dict()
    data, reason = event.get("data") or {}, (event.get("data") or {}).get("reason") or {}
    samples = [
        sample
        for kind in reason.get("error_types") or ()
        for sample in kind.get("sample_errors") or ()
        if (sample.get("request") or {}).get("identifier")
    ]
    codes = sorted({str(kind.get("code")) for kind in reason.get("error_types") or ()})
    return Rejection(
        str((event.get("related_object") or {}).get("id") or ""),
        int(reason.get("error_count") or 0),
        f"{', '.join(codes) or 'no code'}: {data.get('developer_message_summary') or 'no summary'}",
        tuple(str(sample["request"]["identifier"]) for sample in samples),
    )


Kind = Literal["subscription", "invoice", "session", "rejection", ""]


def kind_of(event_type: str) -> Kind:
    """What kind of object an event says has changed; '' for one that changes nothing here."""
    if event_type.startswith("customer.subscription."):
        return "subscription"
    if event_type.startswith("invoice.") and event_type != "invoice.upcoming":  # that one is of no invoice yet
        return "invoice"
    if event_type == "checkout.session.completed":
        return "session"
    return "rejection" if event_type in REJECTIONS else ""


def exists(at: Connection, customer: str) -> bool:
    """Whether a customer is there and not deleted."""
    try:
        return not read_customer(at, customer).deleted
    except StripeMissing:
        return False
