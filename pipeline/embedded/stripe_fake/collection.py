"""Collecting final invoices: an attempt at once, three more after 3, 5 and 7 days, as a customer's card says.

A customer whose metadata says `fake_card: declined` does not pay; its subscription is past_due while an invoice is open,
and active again once all are paid (docs.stripe.com/billing/collection-method, docs.stripe.com/billing/subscriptions/overview).
"""

from pipeline.embedded.stripe_fake import events
from pipeline.embedded.stripe_fake.errors import invalid
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

DAY = 86_400
RETRIES = (3 * DAY, 5 * DAY, 7 * DAY)
"""When an open invoice is tried again, after its first attempt."""
NEVER = 1 << 60


def attempt(box: Sandbox, invoice: Object, at: int) -> bool:
    """Try to collect an open invoice; whether it is paid now."""
    customer = box.find("customer", invoice["customer"])
    declined = customer is None or customer["metadata"].get("fake_card") == "declined"
    invoice["attempt_count"] += 1
    invoice["attempted"] = True
    if invoice["total"] and declined:
        tried = invoice["attempt_count"] - 1
        first = invoice["status_transitions"]["finalized_at"]
        invoice["next_payment_attempt"] = first + RETRIES[tried] if tried < len(RETRIES) else None
        events.record(box, "invoice.payment_failed", invoice)
        _stand(box, invoice, "past_due")
        return False
    invoice["status_transitions"]["paid_at"] = at
    paid = {"amount_paid": invoice["total"], "amount_remaining": 0, "next_payment_attempt": None}
    invoice.update(status="paid", auto_advance=False, **paid)
    events.record(box, "invoice.paid", invoice)
    if not _owed(box, invoice):
        _stand(box, invoice, "active")
    return True


def _owed(box: Sandbox, paid: Object) -> bool:
    return any(
        one["status"] == "open" and one["attempted"] and one["parent"] == paid["parent"] for one in box.all("invoice")
    )


def _stand(box: Sandbox, invoice: Object, status: str) -> None:
    """Move its subscription to past_due or back."""
    of = box.find("subscription", invoice["parent"]["subscription_details"]["subscription"])
    if of is not None and of["status"] in ("active", "past_due") and of["status"] != status:
        of["status"] = status
        events.record(box, "customer.subscription.updated", of)


def retry(box: Sandbox, now: int) -> int:
    """Make the attempts that are due; when the next one will be."""
    soonest = NEVER
    for invoice in list(box.objects.get("invoice", {}).values()):
        while invoice["status"] == "open" and (due := invoice.get("next_payment_attempt")) is not None:
            if due > now:
                soonest = min(soonest, due)
                break
            attempt(box, invoice, due)
    return soonest


def pay(box: Sandbox, invoice_id: str) -> Object:
    """Collect an open invoice now, as the customer's own payment does; a declined card is refused."""
    invoice = box.get("invoice", invoice_id)
    if invoice["status"] != "open":
        raise invalid("invoice", f"Invoice is {invoice['status']}, not open.")
    if not attempt(box, invoice, box.clock.now()):
        raise invalid("invoice", "Your card was declined.", "card_declined")
    return invoice
