"""Invoices (docs.stripe.com/api/invoices): the next one as a preview, one when a period begins, and credit notes.

Flat prices are billed in advance, metered ones in arrears; a graduated price gives a line for each tier that holds units.
A line is rounded to whole cents, half up. An invoice is a draft for an hour, then paid, unless the customer's
metadata says `fake_card: declined`.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from pipeline.embedded.stripe_fake import collection, events, meters
from pipeline.embedded.stripe_fake import params as p
from pipeline.embedded.stripe_fake.errors import invalid, missing_parameter
from pipeline.embedded.stripe_fake.sandbox import Object, Sandbox

DRAFT_SECONDS = 3600
PREVIEW = p.fields(optional={"subscription": p.text(), "customer": p.text()})
LIST = p.fields(
    optional={
        **p.PAGE,
        "customer": p.text(),
        "subscription": p.text(),
        "status": p.one_of("draft", "open", "paid", "uncollectible", "void"),
        "created": events.TIMES,
    }
)
UPDATE = p.fields(optional={"auto_advance": p.flag, "metadata": p.metadata, "description": p.text(1500)})
CREDIT = p.fields(
    {"invoice": p.text()},
    {
        "amount": p.whole(1),
        "memo": p.text(),
        "metadata": p.metadata,
        "reason": p.one_of("duplicate", "fraudulent", "order_change", "product_unsatisfactory"),
    },
)
CREDITS = p.fields(optional={**p.PAGE, "customer": p.text(), "invoice": p.text()})


def graduated(tiers: list[Object], units: int) -> list[tuple[int, int]]:
    """(units in the tier, whole cents) of each tier that holds units; of the first one always."""
    lines: list[tuple[int, int]] = []
    below = 0
    for tier in tiers:
        top = units if tier["up_to"] is None else min(units, tier["up_to"])
        here = max(0, top - below)
        if here or not lines:
            flat = Decimal(tier["flat_amount_decimal"] or 0) if here else Decimal(0)
            lines.append((here, cents(Decimal(tier["unit_amount_decimal"] or 0) * here + flat)))
        below = max(below, top)
    return lines


def cents(exact: Decimal) -> int:
    """Whole cents, half up."""
    return int(exact.to_integral_value(ROUND_HALF_UP))


def _line(box: Sandbox, item: Object, units: int, amount: int, period: tuple[int, int]) -> Object:
    price = item["price"]
    return {
        "id": box.new_id("il"),
        "object": "line_item",
        "amount": amount,
        "subtotal": amount,
        "currency": "usd",
        "description": f"{units} x {price['nickname'] or price['lookup_key'] or price['product']}",
        "discounts": [],
        "livemode": False,
        "metadata": {},
        "period": {"start": period[0], "end": period[1]},
        "pricing": {
            "type": "price_details",
            "price_details": {"price": price["id"], "product": price["product"]},
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": units,
        "taxes": [],
    }


def _in_advance(box: Sandbox, items: list[Object], period: tuple[int, int] | None = None) -> list[Object]:
    lines = []
    for item in items:
        if item["price"]["recurring"]["usage_type"] == "licensed":
            exact = Decimal(item["price"]["unit_amount_decimal"]) * item["quantity"]
            when = period or (item["current_period_start"], item["current_period_end"])
            lines.append(_line(box, item, item["quantity"], cents(exact), when))
    return lines


def _in_arrears(box: Sandbox, customer: str, items: list[Object]) -> list[Object]:
    lines = []
    for item in items:
        if item["price"]["recurring"]["usage_type"] != "metered":
            continue
        price = box.get("price", item["price"]["id"])
        meter = box.get(meters.KIND, price["recurring"]["meter"])
        period = (item["current_period_start"], item["current_period_end"])
        units = sum(meters.units_by_window(box, meter, customer, *period).values())
        if "tiers" in price:
            parts = graduated(price["tiers"], units)
        else:
            parts = [(units, cents(Decimal(price["unit_amount_decimal"]) * units))]
        lines += [_line(box, item, here, amount, period) for here, amount in parts]
    return lines


def _invoice(of: Object, lines: list[Object], reason: str, period: tuple[int, int]) -> Object:
    total = sum(line["amount"] for line in lines)
    return {
        "amount_due": total,
        "amount_paid": 0,
        "amount_remaining": total,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "currency": "usd",
        "customer": of["customer"],
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "lines": {"object": "list", "has_more": False, "url": "/v1/invoices/lines", "data": lines},
        "metadata": {},
        "next_payment_attempt": None,
        "number": None,
        "parent": {"type": "subscription_details", "subscription_details": {"subscription": of["id"], "metadata": {}}},
        "period_start": period[0],
        "period_end": period[1],
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": total,
        "total": total,
    }


def preview(box: Sandbox, given: dict[str, Any]) -> Object:
    """The next invoice of a subscription: usage of this period so far, and the next period's flat prices."""
    if "subscription" not in given:
        raise invalid("subscription", "The fake previews the invoice of a subscription.", "parameter_missing")
    of = box.get("subscription", given["subscription"], "subscription")
    first = of["items"]["data"][0]
    lines = _in_arrears(box, of["customer"], of["items"]["data"])
    if not of["cancel_at_period_end"]:
        start = first["current_period_end"]
        lines += _in_advance(box, of["items"]["data"], (start, start + start - first["current_period_start"]))
    period = (first["current_period_start"], first["current_period_end"])
    made = _invoice(of, lines, "upcoming", period)
    return {"id": box.new_id("upcoming_in"), "object": "invoice", "created": box.clock.now(), "livemode": False, **made}


def closing(of: Object, at: int) -> list[Object]:
    """The items of a period that ends at `at`, to be given to `bill` once the subscription has moved on."""
    return [{**item, "current_period_end": at} for item in of["items"]["data"]]


def bill(box: Sandbox, of: Object, at: int, reason: str, closed: list[Object], *, opens: bool = True) -> Object:
    """The invoice made at `at`: usage of the closed period, and the flat prices of the one that opens. A draft at first."""
    period = (closed[0]["current_period_start"], at) if closed else (at, at)
    advance = _in_advance(box, of["items"]["data"]) if opens else []
    made = box.add("invoice", "in", _invoice(of, advance, reason, period))
    made["created"] = at
    box.drafts[made["id"]] = closed
    box.due_at = 0
    _refresh(box, made)
    events.record(box, "invoice.created", made)
    return made


def _refresh(box: Sandbox, draft: Object) -> None:
    """A draft's metered lines follow the usage, until it is final."""
    advance = [line for line in draft["lines"]["data"] if line["id"] not in draft.get("metered", [])]
    arrears = _in_arrears(box, draft["customer"], box.drafts[draft["id"]])
    draft["metered"] = [line["id"] for line in arrears]
    draft["lines"]["data"] = arrears + advance
    total = sum(line["amount"] for line in draft["lines"]["data"])
    draft.update(amount_due=total, amount_remaining=total, subtotal=total, total=total)


def settle(box: Sandbox, now: int) -> int:
    """Finalize and collect the drafts older than an hour; when the next one will be."""
    for invoice_id in list(box.drafts):
        draft = box.get("invoice", invoice_id)
        if now - draft["created"] < DRAFT_SECONDS or not draft["auto_advance"]:
            continue
        _refresh(box, draft)
        del box.drafts[invoice_id]
        del draft["metered"]
        draft.update(status="open", number=f"FAKE-{len(box.objects['invoice']):06d}")
        draft["status_transitions"]["finalized_at"] = now
        url = f"https://invoice.stripe.example/i/{invoice_id}"
        draft.update(hosted_invoice_url=url, invoice_pdf=f"{url}/pdf")
        events.record(box, "invoice.finalized", draft)
        collection.attempt(box, draft, now)
    drafts = [box.get("invoice", one) for one in box.drafts]
    waiting = [draft["created"] + DRAFT_SECONDS for draft in drafts if draft["auto_advance"]]
    return min(*waiting, collection.retry(box, now)) if waiting else collection.retry(box, now)


def update(box: Sandbox, invoice_id: str, given: dict[str, Any]) -> Object:
    """Change an invoice: hold a draft (`auto_advance=false`) or let it go on; a final one may be changed so too."""
    invoice = box.get("invoice", invoice_id)
    if "auto_advance" in given and invoice["status"] not in ("draft", "open"):
        raise invalid("auto_advance", "Only draft and open invoices can be advanced automatically.")
    invoice["metadata"] = {k: v for k, v in {**invoice["metadata"], **given.pop("metadata", {})}.items() if v}
    invoice.update(given)
    box.due_at = 0
    events.record(box, "invoice.updated", invoice)
    return shown(box, invoice)


def retrieve(box: Sandbox, invoice_id: str) -> Object:
    """One invoice."""
    return shown(box, box.get("invoice", invoice_id))


def shown(box: Sandbox, invoice: Object) -> Object:
    """An invoice as it is answered; a draft with its usage so far."""
    if invoice["id"] in box.drafts:
        _refresh(box, invoice)
    return {key: value for key, value in invoice.items() if key != "metered"}


def listing(box: Sandbox, given: dict[str, Any]) -> Object:
    """Invoices, newest first."""
    found = [
        shown(box, one)
        for one in box.all("invoice")
        if given.get("customer") in (None, one["customer"])
        and events.within(given.get("created", {}), one["created"])
        and given.get("status") in (None, one["status"])
        and given.get("subscription") in (None, one["parent"]["subscription_details"]["subscription"])
    ]
    return p.page(found, given, "/v1/invoices")


def credit(box: Sandbox, given: dict[str, Any]) -> Object:
    """A credit note on a final invoice, up to what was not yet credited."""
    invoice = box.get("invoice", given["invoice"], "invoice")
    if invoice["status"] not in ("open", "paid"):
        raise invalid("invoice", "A credit note needs an open or paid invoice.")
    if "amount" not in given:
        raise missing_parameter("amount")
    before = sum(note["amount"] for note in box.all("credit_note") if note["invoice"] == invoice["id"])
    if before + given["amount"] > invoice["total"]:
        raise invalid("amount", "The credit notes of an invoice can't exceed its total.")
    content = {"memo": None, "metadata": {}, "reason": None, **given, "customer": invoice["customer"]}
    made = box.add("credit_note", "cn", {**content, "currency": "usd", "status": "issued", "total": given["amount"]})
    events.record(box, "credit_note.created", made)
    return made


def list_credits(box: Sandbox, given: dict[str, Any]) -> Object:
    """Credit notes, newest first."""
    found = [
        note
        for note in box.all("credit_note")
        if given.get("invoice") in (None, note["invoice"]) and given.get("customer") in (None, note["customer"])
    ]
    return p.page(found, given, "/v1/credit_notes")
